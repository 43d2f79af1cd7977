"""The first page: what needs attention, and how business goes."""

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit


async def _overview(visit: Visit) -> Screen:
    latest = await visit.ask("list_invoices", query={"limit": "8"})
    return Screen("overview.html", {"latest": latest})


PAGES: tuple[Page, ...] = (
    Page(path="overview", title="Overview", access="invoices:read", show=_overview, nav="Business"),
)
ACTIONS: tuple[Action, ...] = ()
