"""The audit log of the store: who did what that matters to its safety."""

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("kind", "cursor") if visit.query.get(name)}
    return Screen("audit.html", {"list": await visit.ask("list_acts", query=asked)})


PAGES: tuple[Page, ...] = (Page(path="audit", title="Audit log", access="audit:read", show=_list, nav="Safety"),)
ACTIONS: tuple[Action, ...] = ()
