"""What documents and messages tell people to type can be typed: each command and option that they name exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kassa.cli import app

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src").rglob("*.py")),
    *sorted(path for path in (ROOT / "ops").rglob("*") if path.is_file() and path.suffix != ".pyc"),
]
_SPAN = re.compile(r"`(kassa(?: [^`]+)?)`|(?:^ {4,}|^Exec\w*=|\$ )(?:\S*/)?(kassa [^#\n]+)", re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command line that a text names."""
    for found in _SPAN.finditer(text):
        line = (
            (found[1] or found[2])
            .partition(" | ")[0]
            .replace("[", " ")
            .replace("]", " ")
            .replace("|", " ")
            .replace("…", " ")
        )
        try:
            yield shlex.split(line)
        except ValueError:  # a quotation mark of the sentence around it
            yield line.split()


def unknown(words: list[str]) -> str | None:
    """Return what of a command line Kassa does not know."""
    here: Any = typer.main.get_command(app)  # a command of the click that typer brings
    for word in words[1:]:
        if hasattr(here, "commands") and not word.startswith("-"):
            below = here.commands.get(word)
            if below is None:
                return f"{' '.join(words)}: there is no {word}"
            here = below
        elif word.startswith("--") and word != "--help":
            known = {name for each in here.params for name in (*each.opts, *each.secondary_opts)}
            if word.partition("=")[0].rstrip(".,;:)") not in known:
                return f"{' '.join(words)}: it has no {word}"
    return None


def test_every_command_that_is_named_exists() -> None:
    for path in DOCUMENTS:
        assert [wrong for words in commands(path.read_text("utf-8")) if (wrong := unknown(words))] == [], path


@pytest.mark.parametrize("line", ["kassa backups", "kassa backup --too x", "kassa alert shut alt_1"])
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    assert unknown(line.split()) is not None


def test_documents_name_many_commands() -> None:
    assert sum(len(list(commands(path.read_text("utf-8")))) for path in DOCUMENTS) > 100
