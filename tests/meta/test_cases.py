"""The cases of the catalogue of faults that the documentation says are tried are those that tests are named by."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def named() -> set[str]:
    """Return the cases that tests are named by: one of `test_e15_e40_…` is of two."""
    found = set[str]()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for cases in re.findall(r"^ *(?:async )?def test_((?:[a-go][0-9]+_)+)", path.read_text("utf-8"), re.MULTILINE):
            found.update(cases.upper().split("_")[:-1])
    return found


def test_each_case_that_is_said_to_be_tried_has_a_test_and_each_that_has_one_is_listed() -> None:
    listed = (ROOT / "docs" / "testing.md").read_text("utf-8").partition("## The cases that are tried")[2]
    cases = re.findall(r"\b([A-GO][0-9]+)\b", listed.partition("\n## ")[0])
    assert sorted(cases) == sorted(named())
