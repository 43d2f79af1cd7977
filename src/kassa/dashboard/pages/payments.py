"""Payments: all that came, one of them, and whose the money is that has no owner."""

from collections.abc import Mapping, Sequence
from typing import Any

import kassa.payments.store as payments
from kassa import flow
from kassa.core.errors import Invalid
from kassa.core.ids import is_id
from kassa.dashboard.days import days
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit

_FILTERS = ("search", "status", "asset", "invoice_id", "cursor")
_UNOWNED = 50  # forms on a page: anybody may send what nobody asked for
_STATES = ("detected", "confirming", "settled", "replaced", "dropped", "reversed")


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in _FILTERS if visit.query.get(name)}
    assets = [asset["id"] for asset in (await visit.ask("list_assets"))["data"]]
    shown = {"assets": assets, "states": _STATES}
    try:
        found = await visit.ask("list_payments", query=asked | days(visit.query, "first_seen"))
    except Invalid as error:
        visit.faults = {fault.field: fault.message for fault in error.faults}
        return Screen("payments.html", shown | {"list": {"data": [], "next_cursor": None}}, 422)
    return Screen("payments.html", shown | {"list": found, "finality": await finality(visit, found["data"])})


async def finality(visit: Visit, shown: Sequence[Mapping[str, Any]]) -> dict[str, bool]:  # JSON
    """Return, by id, whether those of the shown payments that need finality are final."""
    async with visit.house.database.pool.acquire() as connection:
        return await payments.finality(connection, [payment["id"] for payment in shown])


async def _unowned(visit: Visit) -> Screen:
    """List it on a page of its own: what is owned is told only by reading every payment of the store."""
    visit.demand("payments:read")
    cursor = visit.query.get("cursor", "")
    first = visit.id or (cursor if is_id("pay", cursor) else None)
    async with visit.house.database.pool.acquire() as connection:
        found = await flow.unassigned(connection, visit.house, visit.store, first, _UNOWNED + 1)
    if visit.id and visit.id not in {one["payment_id"] for one in found}:
        return await _one(visit)  # the form of one whose owner was named before
    following = found[_UNOWNED]["payment_id"] if len(found) > _UNOWNED else None
    return Screen("unowned.html", {"unowned": found[:_UNOWNED], "list": {"next_cursor": following}})


async def _one(visit: Visit) -> Screen:
    payment = await visit.ask("get_payment", visit.id)
    return Screen("payment.html", {"payment": payment, "finality": await finality(visit, [payment])})


async def _assign(visit: Visit) -> Go:
    await visit.ask("assign_payment", visit.id, body={"customer_id": visit.form.get("customer_id").strip() or None})
    return Go(f"payments/{visit.id}", "assigned")


PAGES: tuple[Page, ...] = (
    Page(path="payments", title="Payments", access="payments:read", show=_list, nav="Business", live=True),
    Page(path="payments/unowned", title="Money without an owner", access="payments:read", show=_unowned),
    Page(path="payments/{id}", title="Payment", access="payments:read", show=_one, id_of="pay", live=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="payments/{id}/assign", access="payments:write", act=_assign, form="payments/unowned", id_of="pay",
        fields=("customer_id",), fresh=True,
    ),
)  # fmt: skip
