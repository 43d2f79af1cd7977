"""Customers: find them, see what they have and every movement of it, write off what they owe."""

from typing import Any

from kassa import flow
from kassa.core.errors import FieldFault, Invalid
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.typed import amounts
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("search", "reference", "cursor") if visit.query.get(name)}
    found = await visit.ask("list_customers", query=asked | {"expand": "balances"})
    for customer in found["data"]:
        customer["held"] = [one for one in customer["balances"] if _is_more(one["available"], one["pending"])]
        customer["owing"] = any(one["owed"] != one["written_off"] for one in customer["balances"])
    return Screen("customers.html", {"list": found})


def _is_more(*amounts: str) -> bool:
    return any(amount.strip("0.") for amount in amounts)


async def _one(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    balances = (await visit.ask("list_customer_balances", visit.id))["data"]
    return Screen(
        "customer.html",
        {
            "owing": [(one["asset"], one["asset"]) for one in balances if one["owed"] != one["written_off"]],
            "values": visit.form.values,
            "faults": visit.faults,
            "customer": await visit.ask("get_customer", visit.id),
            "assets": [one["id"] for one in (await visit.ask("list_assets"))["data"] if one["accepted"]],
            "balances": balances,
            "statement": await visit.ask("get_customer_statement", visit.id, query=asked),
            "invoices": await visit.ask("list_invoices", query={"customer_id": visit.id, "limit": "10"}),
            "address": None,
        },
    )


async def _give(visit: Visit) -> Screen:
    given = await visit.ask("issue_deposit_address", visit.id, body={"asset": visit.form.get("asset")})
    shown = (await _one(visit)).shown
    return Screen("customer.html", {**shown, "address": given})


async def _see_loss(visit: Visit) -> Screen:
    """Show what would be a loss: nothing is written yet."""
    asked = _write_off(visit)
    async with visit.house.database.transaction() as tx:
        told = await flow.preview_write_off(tx, visit.store, visit.id, asked["asset"], asked["amount"])
    # The amount that was shown is the one that is meant, also if more is owed by then.
    return Screen("write-off.html", {"told": told, "note": asked["note"]})


async def _lose(visit: Visit) -> Go:
    await visit.ask("write_off_customer", visit.id, body=_write_off(visit))
    return Go(f"customers/{visit.id}", "written_off")


def _write_off(visit: Visit) -> dict[str, Any]:  # JSON
    given = {name: visit.form.get(name).strip() for name in _WRITE_OFF}
    if not given["note"]:
        raise Invalid(FieldFault("note", "say why: it is kept"))
    return given | {"amount": None} | amounts(visit.form, ("amount",), given["asset"])


async def _create(visit: Visit) -> Go:
    body = {name: text for name in ("reference", "name") if (text := visit.form.get(name).strip())}
    made = await visit.ask("create_customer", body=body)
    return Go(f"customers/{made['id']}", "customer_made")


_WRITE_OFF = ("asset", "amount", "note")
PAGES: tuple[Page, ...] = (
    Page(path="customers", title="Customers", access="customers:read", show=_list, nav="Business"),
    Page(path="customers/{id}", title="Customer", access="customers:read", show=_one, id_of="cus"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="customers", access="customers:write", act=_create, form="customers", fields=("reference", "name")
    ),
    Action(
        path="customers/{id}",
        access="customers:write",
        act=_give,
        form="customers/{id}",
        id_of="cus",
        fields=("asset",),
    ),
    Action(
        path="customers/{id}/loss", access="customers:decide", act=_see_loss, form="customers/{id}", id_of="cus",
        fields=_WRITE_OFF, fresh=True,
    ),
    Action(
        path="customers/{id}/write-off", access="customers:decide", act=_lose, form="customers/{id}", id_of="cus",
        fields=_WRITE_OFF, fresh=True,
    ),
)  # fmt: skip
