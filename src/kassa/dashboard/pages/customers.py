"""Customers: find them, see what they have and every movement of it."""

from secrets import token_hex

from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("reference", "cursor") if visit.query.get(name)}
    once = visit.form.get("once") or token_hex(8)
    return Screen("customers.html", {"list": await visit.ask("list_customers", query=asked), "once": once})


async def _one(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    return Screen(
        "customer.html",
        {
            "customer": await visit.ask("get_customer", visit.id),
            "assets": [one["id"] for one in (await visit.ask("list_assets"))["data"] if one["accepted"]],
            "balances": (await visit.ask("list_customer_balances", visit.id))["data"],
            "statement": await visit.ask("get_customer_statement", visit.id, query=asked),
            "invoices": await visit.ask("list_invoices", query={"customer_id": visit.id, "limit": "10"}),
            "address": None,
        },
    )


async def _give(visit: Visit) -> Screen:
    given = await visit.ask("issue_deposit_address", visit.id, body={"asset": visit.form.get("asset")})
    shown = (await _one(visit)).shown
    return Screen("customer.html", {**shown, "address": given})


async def _create(visit: Visit) -> Go:
    body = {name: text for name in ("reference", "name") if (text := visit.form.get(name).strip())}
    made = await visit.ask("create_customer", body=body, once=visit.form.get("once"))
    return Go(f"customers/{made['id']}", "customer_made")


PAGES: tuple[Page, ...] = (
    Page(path="customers", title="Customers", access="customers:read", show=_list, nav="Business"),
    Page(path="customers/{id}", title="Customer", access="customers:read", show=_one, id_of="cus"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="customers", access="customers:write", act=_create, form="customers", fields=("reference", "name", "once")
    ),
    Action(
        path="customers/{id}",
        access="customers:write",
        act=_give,
        form="customers/{id}",
        id_of="cus",
        fields=("asset",),
    ),
)
