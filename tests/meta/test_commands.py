"""What documents and messages tell people to type can be typed: each command exists and is given all that it needs."""

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from kassa.cli import app

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(path for path in (ROOT / "ops").rglob("*") if path.is_file() and path.suffix != ".pyc"),
]
RECORDS = ROOT / "docs" / "adr"
PROGRAMS = sorted((ROOT / "src").rglob("*.py"))
PAGES = sorted((ROOT / "src").rglob("*.html"))
_SPAN = re.compile(
    r"(?:`|<code[^>]*>)(?:[^`\s]*/)?(kassa(?: [^`<]+)?)(?:`|</code>)"
    r"|(?:^ {4,}|^Exec\w*=|(?<=\n)(?=kassa )|\$ )(?:\S*/)?(kassa [^#\n]+)",
    re.MULTILINE,
)
_PUT_IN = re.compile(r"(?:\$\([^)]*\)|\{\{.*?\}\}|(?<=[\w\"'])…)|(--[\w-]+ )…")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command line that a text names, with X for what people put in."""
    for found in _SPAN.finditer(text):
        line = _PUT_IN.sub(lambda put: f"{put[1] or ''}X", (found[1] or found[2]).partition(" | ")[0])
        line = re.sub(r"[\[\]|…]", " ", line)
        try:
            words = shlex.split(line)
        except ValueError:  # a quotation mark of the sentence around it
            words = line.split()
        yield [word.rstrip(".,;:)") for word in words]


def messages(program: str) -> Iterator[str]:
    """Yield the texts that a program shows, with X for what it puts in."""
    tree = ast.parse(program)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    remarks = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (parts | remarks):
            yield node.value


def remarks(program: str) -> Iterator[str]:
    """Yield the docstrings and comments of a program."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@cache
def _kassa() -> Any:  # a command of the click that typer brings
    return typer.main.get_command(app)


def read(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that a line names and the words that it is given; for one that is not there None."""
    here, given = _kassa(), words[1:]
    while given and hasattr(here, "commands") and not given[0].startswith("-") and given[0] != "X":
        here, given = here.commands.get(given[0]), given[1:]
    return here, given


def wrong(words: list[str]) -> str | None:
    """Return why a command line would be refused; it is read as typer reads it, and not run."""
    command, given = read(words)
    if command is None:
        return f"{' '.join(words)}: there is no such command"
    if hasattr(command, "commands") or "--help" in given:
        return None
    try:
        options, more, _ = command.make_parser(command.context_class(command)).parse_args(given)
    except TyperException as fault:
        return f"{' '.join(words)}: {fault}"
    lacking = [
        each.opts[0]
        for each in command.params
        if each.required and not isinstance(options.get(each.name), str | tuple | list)
    ]
    if lacking or more:
        return f"{' '.join(words)}: it lacks {lacking}, and has {more} too many"
    return None


def only_named(words: list[str]) -> bool:
    """Tell whether a text only speaks of a command: its name alone."""
    return not read(words)[1]


def refused(text: str, *, named: bool = False) -> list[str]:
    """Return what is wrong with the command lines of a text; `named`: it may speak of a command by its name alone."""
    found = [words for words in commands(text) if read(words)[0] is None or not (named and only_named(words))]
    return [why for words in found if (why := wrong(words)) is not None]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_message_can_be_typed(path: Path) -> None:
    program = path.read_text("utf-8")
    assert [why for text in messages(program) for why in refused(text)] == []
    assert [why for text in remarks(program) for why in refused(text, named=True)] == []


def test_every_command_of_a_page_can_be_typed() -> None:
    assert [why for path in PAGES for why in refused(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_can_be_typed(path: Path) -> None:
    """A document may speak of a command by its name once it shows it whole; a record of a decision need not."""
    text = path.read_text("utf-8")
    assert refused(text, named=True) == []
    if RECORDS not in path.parents:
        whole = {id(read(words)[0]) for words in commands(text) if wrong(words) is None}
        assert [why for words in commands(text) if (why := wrong(words)) and id(read(words)[0]) not in whole] == []


@pytest.mark.parametrize(
    "line",
    [
        "kassa backups",
        "kassa alert shut alt_1",
        "kassa backup --to x --too x",
        "kassa address-key renew",
        "kassa alert close alt_1 --undo",
        "kassa network resume --depth 1",
        "kassa thaw asset USDC",
        "kassa asset thaw USDC now",
        "kassa user link --email",
    ],
)
def test_a_command_that_would_be_refused_is_found(line: str) -> None:
    assert wrong(line.split()) is not None


@pytest.mark.parametrize("line", ["kassa doctor", "kassa asset thaw USDC", "kassa address-key renew --reason X"])
def test_a_command_that_would_be_run_is_not(line: str) -> None:
    assert wrong(line.split()) is None


def test_texts_that_are_put_together_are_read_whole() -> None:
    program = (
        'def f(x):\n    """Run `kassa backup`."""\n'
        '    return f"run `kassa alert"\\\n        f" close {x}`"  # `kassa up`\n'
    )
    assert [words for text in messages(program) for words in commands(text)] == [["kassa", "alert", "close", "X"]]
    assert [words for text in remarks(program) for words in commands(text)] == [["kassa", "backup"], ["kassa", "up"]]


def test_documents_and_messages_name_many_commands() -> None:
    assert sum(len(list(commands(path.read_text("utf-8")))) for path in DOCUMENTS) > 150
    assert sum(len(list(commands(text))) for path in PROGRAMS for text in messages(path.read_text("utf-8"))) > 40
