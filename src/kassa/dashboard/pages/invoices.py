"""Invoices: find them, see all that happened to one, decide on it, make one by hand."""

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit

_FILTERS = ("status", "reference", "cursor")


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in _FILTERS if visit.query.get(name)}
    return Screen("invoices.html", {"list": await visit.ask("list_invoices", query=asked)})


PAGES: tuple[Page, ...] = (Page(path="invoices", title="Invoices", access="invoices:read", show=_list, nav="Business"),)
ACTIONS: tuple[Action, ...] = ()
