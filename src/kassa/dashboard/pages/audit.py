"""The audit log of the store: who did what that matters to its safety."""

from collections.abc import Iterator
from typing import Any

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit

_FIXED = ("object", "id", "store_id", "created_at")


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("kind", "cursor") if visit.query.get(name)}
    found = await visit.ask("list_acts", query=asked)
    acts = [(act, list(_changes(act["before"] or {}, act["after"] or {}))) for act in found["data"]]
    return Screen("audit.html", {"list": found, "acts": acts})


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str, str]]:  # JSON
    """Name what an act changed, with its old and new value; what never changes is left out."""
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = _text(before.get(name)), _text(after.get(name))
        if old != new and name not in _FIXED:
            yield name.replace("_", " "), old, new


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


PAGES: tuple[Page, ...] = (Page(path="audit", title="Audit log", access="audit:read", show=_list, nav="Safety"),)
ACTIONS: tuple[Action, ...] = ()
