"""E44: no pattern of ours takes long over a text that somebody made for it."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from tests.pace import within

SOURCE = Path(__file__).parent.parent.parent / "src"
METHODS = {"match", "fullmatch", "search", "findall", "finditer", "sub", "split"}
NOT_FOR_STRANGERS = {
    "kassa.api.incoming._PLACE",  # reads what msgspec says: wherever it quotes a stranger it ends as the pattern wants
}
LENGTH, SECONDS = 8_000, 0.15
"""What is linear takes a hundredth of that; what is quadratic takes seconds."""
PIECES = (
    "a", "A", "é", "0", "1", "_", "-", ".", "/", " ", ", ", "\t", "<", "[", "(", "'", '"', "`", "a.", "a ", "a,", "a@",
    "0/", "/0'", "://", "a://", "abcd_", "aprv", "xprv1", "Ltpv", "0x", "0x0,", "<1;", "bearer ", "?key=", "key=",
    "token_", " - at `", "rate", "response", "%0", "&a=", "<a ", "wsh(sortedmulti(1,",
)  # fmt: skip
"""A stranger's text is one of these, over and over, and then what no pattern ends in."""


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]", str]]:
    """Yield every pattern that is compiled in the source, by its name, and each way in which it is used there."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    for path, tree in trees.items():
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if any(ast.unparse(call) == "re.compile" for call in ast.walk(node.value)):
                    where = [tree] if name.startswith("_") else trees.values()
                    used = {method for each in where for method in methods(each, name)}
                    found = getattr(import_module(module), name)
                    for pattern in [found] if isinstance(found, re.Pattern) else [p for p, *_ in found]:
                        for method in sorted(used or {"sub"}):  # the same order in every process, as xdist wants
                            yield f"{module}.{name}", pattern, method


def methods(tree: ast.Module, name: str) -> set[str]:
    """Return the methods by which a module uses what has a name."""
    uses = [use for use in ast.walk(tree) if isinstance(use, ast.Attribute)]
    return {use.attr for use in uses if ast.unparse(use.value).split(".")[-1] == name} & METHODS


PATTERNS = [each for each in patterns() if each[0] not in NOT_FOR_STRANGERS]


@pytest.mark.parametrize(("name", "pattern", "method"), PATTERNS, ids=[f"{name} {how}" for name, _, how in PATTERNS])
def test_e44_no_text_holds_a_pattern_up(name: str, pattern: "re.Pattern[Any]", method: str) -> None:
    ask = getattr(pattern, method)
    for piece in PIECES:
        text: Any = piece * (LENGTH // len(piece)) + "\x00"
        text = text.encode() if isinstance(pattern.pattern, bytes) else text
        began = process_time()
        answer = ask(text[:0], text) if method == "sub" else ask(text)
        if method == "finditer":
            list(answer)
        assert within(process_time() - began, SECONDS), (name, piece)


def test_e44_the_patterns_that_strangers_meet_are_among_those() -> None:
    names = {name for name, _, _ in PATTERNS}
    assert len(names) > 60
    assert {"kassa.chains.keys._WORDS", "kassa.people.rules._EMAIL", "kassa.core.money._AMOUNT"} <= names
