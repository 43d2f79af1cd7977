"""Invoices: find them, see all that happened to one, decide on it, make one by hand."""

from typing import Any

import kassa.payments.store as payments
import kassa.people.store as people
from kassa.core.errors import FieldFault, Invalid, NotFound
from kassa.core.ids import is_id
from kassa.dashboard.days import days
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.typed import amounts
from kassa.dashboard.visit import Visit

_FILTERS = ("search", "status", "flag", "decision", "payment_link_id", "customer_id", "cursor")
_TEXTS = ("reference", "description", "redirect_url")
_TIMES = (("900", "15 minutes"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "7 days"))


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in _FILTERS if visit.query.get(name)}
    try:
        found = await visit.ask("list_invoices", query=asked | days(visit.query))
    except Invalid as error:
        visit.faults = {fault.field: fault.message for fault in error.faults}
        return Screen("invoices.html", {"list": {"data": [], "next_cursor": None}}, 422)
    return Screen("invoices.html", {"list": found})


async def _one(visit: Visit) -> Screen:
    invoice = await visit.ask("get_invoice", visit.id)
    timeline = await visit.ask("get_invoice_timeline", visit.id, query={"limit": "100"} | _place(visit))
    deliveries = None
    if visit.may("webhooks:read"):
        asked = {"invoice_id": visit.id} | ({"cursor": c} if (c := visit.query.get("deliveries")) else {})
        deliveries = await visit.ask("list_invoice_deliveries", query=asked)
    makers = [item[item["kind"]].get("by") for item in timeline["data"]]
    async with visit.house.database.pool.acquire() as connection:
        called = await people.names(connection, [maker for maker in makers if maker])
        finality = await payments.finality(connection, [payment["id"] for payment in invoice["payments"]])
    return Screen(
        "invoice.html",
        {
            "invoice": invoice,
            "timeline": timeline,
            "deliveries": deliveries,
            "called": called,
            "finality": finality,
            "title": f"Invoice {invoice['reference'] or ''}".strip(),
            "decidable": visit.may("invoices:write") and visit.may("invoices:decide"),
        },
    )


def _place(visit: Visit) -> dict[str, str]:
    return {"cursor": visit.query["cursor"]} if visit.query.get("cursor") else {}


async def _mark(visit: Visit) -> Go:
    await visit.ask("mark_invoice", visit.id, body={"as": visit.form.get("as")})
    return Go(f"invoices/{visit.id}", "marked")


async def _resend(visit: Visit) -> Go:
    delivery = visit.form.get("delivery_id")
    if not is_id("dlv", delivery):
        raise Invalid(FieldFault("delivery_id", "is no delivery"))
    await visit.ask("retry_delivery", delivery)
    return Go(f"invoices/{visit.id}", "resent")


async def _new(visit: Visit) -> Screen:
    assets = [asset for asset in (await visit.ask("list_assets"))["data"] if asset["accepted"]]
    chosen = visit.form.many.get("payment_options", [asset["id"] for asset in assets])
    return Screen("invoice-new.html", {"assets": assets, "times": _TIMES, "chosen": chosen})


async def _create(visit: Visit) -> Go:
    form = visit.form
    body: dict[str, Any] = {name: form.get(name) for name in _TEXTS if form.get(name)}
    if not form.get("expires_in").isdecimal():
        raise Invalid(FieldFault("expires_in", "must be a number of seconds"))
    body["expires_in"] = int(form.get("expires_in")[:9])
    body["currency"] = form.get("currency").strip().upper() or visit.store.currency
    body |= amounts(form, ("amount",), body["currency"])
    if "amount" not in body:
        raise Invalid(FieldFault("amount", "say how much"))
    body["payment_options"] = form.many["payment_options"]
    if not body["payment_options"]:
        raise Invalid(FieldFault("payment_options", "choose one at least"))
    if customer := form.get("customer").strip():
        body["customer_id"] = await _customer(visit, customer)
    if metadata := _metadata(form.get("metadata")):
        body["metadata"] = metadata
    made = await visit.ask("create_invoice", body=body)
    return Go(f"invoices/{made['id']}", "created")


async def _customer(visit: Visit, text: str) -> str:
    """Return the id of the customer of an id or reference; raises `Invalid`."""
    unknown = Invalid(FieldFault("customer", "is no customer's id or reference"))
    try:
        if is_id("cus", text):
            return str((await visit.ask("get_customer", text))["id"])
        found = (await visit.ask("list_customers", query={"reference": text}))["data"]
    except (Invalid, NotFound):
        raise unknown from None
    if not found:
        raise unknown
    return str(found[0]["id"])


def _metadata(text: str) -> dict[str, str]:
    """Read lines such as `table = 7`; raises `Invalid`."""
    read: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = (part.strip() for part in line.partition("="))
        if not (name or sign):
            continue
        if not (name and sign):
            raise Invalid(FieldFault("metadata", f"{line[:60]!r} is not a line such as: table = 7"))
        if name in read:
            raise Invalid(FieldFault("metadata", f"{name[:60]!r} is given twice"))
        read[name] = value
    return read


PAGES: tuple[Page, ...] = (
    Page(path="invoices", title="Invoices", access="invoices:read", show=_list, nav="Business", live=True),
    Page(path="invoices/new", title="New invoice", access="invoices:write", show=_new),
    Page(path="invoices/{id}", title="Invoice", access="invoices:read", show=_one, id_of="inv", live=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="invoices/new", access="invoices:write", act=_create, form="invoices/new",
        fields=(*_TEXTS, "amount", "currency", "customer", "metadata", "expires_in"), many=("payment_options",),
    ),
    Action(
        path="invoices/{id}/mark", access="invoices:decide", act=_mark, form="invoices/{id}", fields=("as",),
        id_of="inv", fresh=True,
    ),
    Action(
        path="invoices/{id}/resend", access="webhooks:write", act=_resend, form="invoices/{id}",
        fields=("delivery_id",), id_of="inv",
    ),
)  # fmt: skip
