"""The audit log of the store: who did what that matters to its safety."""

import re
from collections.abc import Iterator
from typing import Any

import kassa.people.store as people
from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-9.]+(Z|\+00:00)\Z")
_FIXED = ("object", "id", "store_id", "created_at")


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("kind", "cursor") if visit.query.get(name)}
    found = await visit.ask("list_acts", query=asked)
    acts = [(act, list(_changes(act["before"] or {}, act["after"] or {}))) for act in found["data"]]
    async with visit.house.database.pool.acquire() as connection:
        called = await people.names(connection, [act["actor"] for act in found["data"]])
    return Screen("audit.html", {"list": found, "acts": acts, "called": called})


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str, str]]:  # JSON
    """Name what an act changed, with its old and new value; what never changes is left out."""
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = _text(before.get(name)), _text(after.get(name))
        if old != new and name not in _FIXED:
            yield name.replace("_", " "), old, new


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return ", ".join(f"{name.replace('_', ' ')} {_text(each)}" for name, each in value.items())
        case str() if _TIME.match(value):
            return f"{value[:16].replace('T', ' ')} UTC"
    return "" if value is None else str(value)


PAGES: tuple[Page, ...] = (Page(path="audit", title="Audit log", access="audit:read", show=_list, nav="Safety"),)
ACTIONS: tuple[Action, ...] = ()
