"""Payments: all that came, and one of them."""

from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {"cursor": visit.query["cursor"]} if visit.query.get("cursor") else {}
    return Screen("payments.html", {"list": await visit.ask("list_payments", query=asked)})


async def _one(visit: Visit) -> Screen:
    return Screen("payment.html", {"payment": await visit.ask("get_payment", visit.id)})


PAGES: tuple[Page, ...] = (
    Page(path="payments", title="Payments", access="payments:read", show=_list, nav="Business"),
    Page(path="payments/{id}", title="Payment", access="payments:read", show=_one, id_of="pay"),
)
ACTIONS: tuple[Action, ...] = ()
