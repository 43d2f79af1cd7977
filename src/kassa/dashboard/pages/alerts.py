"""Alerts: what is wrong, what was done about it by itself, and what people decide."""

from typing import Any

from kassa.alerts.rules import OPERATORS
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit


async def _list(visit: Visit) -> Screen:
    asked = {name: visit.query[name] for name in ("severity", "kind", "cursor") if visit.query.get(name)}
    status = visit.query.get("status", "open")
    asked |= {} if status == "any" else {"status": status}
    return Screen("alerts.html", {"list": await visit.ask("list_alerts", query=asked), "status": status})


async def _one(visit: Visit) -> Screen:
    alert = await visit.ask("get_alert", visit.id)
    return Screen("alert.html", {"alert": alert, "is_closed_here": alert["kind"] not in OPERATORS})


async def _acknowledge(visit: Visit) -> Go:
    await visit.ask("acknowledge_alert", visit.id, body={"note": visit.form.get("note").strip()})
    return Go(f"alerts/{visit.id}", "acknowledged")


async def _close(visit: Visit) -> Go:
    body: dict[str, Any] = {"note": visit.form.get("note").strip(), "undo": visit.form.get("undo") == "yes"}
    await visit.ask("close_alert", visit.id, body=body)
    return Go(f"alerts/{visit.id}", "alert_closed")


PAGES: tuple[Page, ...] = (
    Page(path="alerts", title="Alerts", access="alerts:read", show=_list, nav="Business", live=True),
    Page(path="alerts/{id}", title="Alert", access="alerts:read", show=_one, id_of="alt"),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="alerts/{id}/acknowledge", access="alerts:write", act=_acknowledge, form="alerts/{id}", id_of="alt",
        fields=("note",),
    ),
    Action(
        path="alerts/{id}/close", access="alerts:write", act=_close, form="alerts/{id}", id_of="alt",
        fields=("note", "undo"), fresh=True,
    ),
)  # fmt: skip
