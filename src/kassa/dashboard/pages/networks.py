"""Networks: how far each is followed, how its node does, and what can be asked for on it."""

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    visit.demand("store:read")
    return Screen(
        "networks.html",
        {
            "networks": (await visit.ask("list_networks"))["data"],
            "assets": (await visit.ask("list_assets"))["data"],
        },
    )


PAGES: tuple[Page, ...] = (
    Page(path="networks", title="Networks", access="store:read", show=_list, nav="Technology", live=True),
)
ACTIONS: tuple[Action, ...] = ()
