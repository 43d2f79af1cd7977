"""Payment links: make one by hand, watch what comes in, change its words, close it."""

from typing import Any

from kassa.core.errors import Invalid
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.typed import amounts
from kassa.dashboard.visit import Visit

STATES = ("open", "processing", "completed", "expired", "closed")
_WORDS = ("title", "description", "reference", "redirect_url")
_AMOUNTS = ("amount", "min_amount", "max_amount")
_PRICED = ("currency", "asset")
_CHOICES = ("reusable", "show_received", "expires_on")


async def _list(visit: Visit) -> Screen:
    names = ("search", "status", "reference", "cursor")
    asked = {name: text for name in names if (text := visit.query.get(name, "").strip())}
    try:
        found = await visit.ask("list_payment_links", query=asked)
    except Invalid as error:
        visit.faults = {fault.field: fault.message for fault in error.faults}
        return Screen("links.html", {"list": {"data": [], "next_cursor": None}, "states": STATES}, 422)
    return Screen("links.html", {"list": found, "states": STATES})


async def _new(visit: Visit) -> Screen:
    assets = (await visit.ask("list_assets"))["data"]
    return Screen("link-new.html", {"assets": [one for one in assets if one["accepted"]]})


async def _create(visit: Visit) -> Go:
    form = visit.form
    body: dict[str, Any] = {name: text for name in (*_WORDS, *_PRICED) if (text := form.get(name).strip())}
    body["reusable"] = form.get("reusable") == "yes"
    if body.get("asset"):
        body.pop("currency", None)  # the asset says it
    elif body.get("currency"):
        body["currency"] = body["currency"].upper()
    body |= amounts(form, _AMOUNTS, body.get("asset") or body.get("currency") or visit.store.currency)
    if form.get("show_received"):
        body["show_received"] = form.get("show_received") == "yes"
    if form.get("expires_on"):
        body["expires_at"] = _end_of(form.get("expires_on"))
    made = await visit.ask("create_payment_link", body=body)
    return Go(f"links/{made['id']}", "link_made")


async def _one(visit: Visit) -> Screen:
    link = await visit.ask("get_payment_link", visit.id)
    asked = {"payment_link_id": visit.id, "limit": "25"} | ({"cursor": c} if (c := visit.query.get("cursor")) else {})
    return Screen("link.html", {"link": link, "invoices": await visit.ask("list_invoices", query=asked)})


async def _change(visit: Visit) -> Go:
    body: dict[str, Any] = {name: visit.form.get(name).strip() or None for name in _WORDS}
    body["title"] = visit.form.get("title").strip()
    body["show_received"] = visit.form.get("show_received") == "yes"
    await visit.ask("change_payment_link", visit.id, body=body)
    return Go(f"links/{visit.id}", "saved")


async def _close(visit: Visit) -> Go:
    closed = visit.form.get("closed") == "yes"
    await visit.ask("change_payment_link", visit.id, body={"closed": closed})
    return Go(f"links/{visit.id}", "link_closed" if closed else "link_opened")


def _end_of(day: str) -> str:
    return f"{day[:10]}T23:59:59Z"


PAGES: tuple[Page, ...] = (
    Page(path="links", title="Payment links", access="invoices:read", show=_list, nav="Business", live=True),
    Page(path="links/new", title="New payment link", access="invoices:write", show=_new),
    Page(path="links/{id}", title="Payment link", access="invoices:read", show=_one, id_of="lnk", live=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="links/new", access="invoices:write", act=_create, form="links/new",
        fields=(*_WORDS, *_AMOUNTS, *_PRICED, *_CHOICES),
    ),
    Action(
        path="links/{id}", access="invoices:write", act=_change, form="links/{id}", id_of="lnk",
        fields=(*_WORDS, "show_received"),
    ),
    Action(
        path="links/{id}/close", access="invoices:write", act=_close, form="links/{id}", id_of="lnk",
        fields=("closed",),
    ),
)  # fmt: skip
