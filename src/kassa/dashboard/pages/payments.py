"""Payments: all that came, one of them, and whose the money is that has no owner."""

from kassa import flow
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {"cursor": visit.query["cursor"]} if visit.query.get("cursor") else {}
    found = await visit.ask("list_payments", query=asked)
    async with visit.house.database.pool.acquire() as connection:
        unowned = await flow.unassigned(connection, visit.house, visit.store)
    return Screen("payments.html", {"list": found, "unowned": unowned})


async def _one(visit: Visit) -> Screen:
    return Screen("payment.html", {"payment": await visit.ask("get_payment", visit.id)})


async def _assign(visit: Visit) -> Go:
    await visit.ask("assign_payment", visit.id, body={"customer_id": visit.form.get("customer_id").strip() or None})
    return Go(f"payments/{visit.id}", "assigned")


PAGES: tuple[Page, ...] = (
    Page(path="payments", title="Payments", access="payments:read", show=_list, nav="Business"),
    Page(path="payments/{id}", title="Payment", access="payments:read", show=_one, id_of="pay"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="payments/{id}/assign", access="payments:write", act=_assign, form="payments", id_of="pay",
        fields=("customer_id",), fresh=True,
    ),
)  # fmt: skip
