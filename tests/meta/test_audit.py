"""Every kind of act that the code records is in the documents, and no other."""

import ast
import re
from pathlib import Path

from kassa.alerts.model import Verdict

ROOT = Path(__file__).parent.parent.parent
_RECORDERS = ("record", "note", "note_changed", "_tell", "_end")
_KIND = re.compile(r'"([a-z_]+\.[a-z_]+)"')


def _recorded() -> set[str]:
    """Return the kinds in the statements that record an act, or that name a kind for one."""
    found = {f"alert.{verdict}" for verdict in Verdict}
    for path in (ROOT / "src" / "kassa").rglob("*.py"):
        text = path.read_text("utf-8")
        if "kassa.audit.store" in text or "entering.note(" in text or "import note" in text:
            for node in ast.walk(ast.parse(text)):
                if (isinstance(node, ast.Call) and _name(node) in _RECORDERS) or _is_kind(node):
                    found.update(_KIND.findall(ast.unparse(node).replace("'", '"')))
    return found


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_kind(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "kind"


def _documented() -> set[str]:
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs" / "audit.md").read_text("utf-8"), re.MULTILINE)
    kinds = set()
    for row in rows:
        of = ""
        for name in re.findall(r"`([a-z_]*\.[a-z_]+)`", row):
            of = name.partition(".")[0] or of
            kinds.add(of + "." + name.partition(".")[2])
    return kinds


def test_every_kind_of_act_is_documented() -> None:
    assert _recorded() == _documented()
