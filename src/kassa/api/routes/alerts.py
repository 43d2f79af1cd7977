"""Alerts: list, read, acknowledge, close. A store sees its own and those of the networks it uses."""

from typing import Any

from kassa import flow
from kassa.alerts import store as alerts
from kassa.alerts.model import Verdict
from kassa.alerts.resource import alert_resource
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import line
from kassa.db.pool import Tx


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.AlertQuery = call.query
    before, kind = read_cursor("alt", query.cursor), line("kind", query.kind)
    filters = alerts.Filters(None if query.status is None else query.status == "open", kind, query.severity)
    found = await alerts.page(tx, call.store.id, filters, before, query.limit + 1)
    return page([alert_resource(alert) for alert in found], query.limit)


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return alert_resource(await alerts.get(tx, call.store.id, call.id))


async def _acknowledge(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    order: shapes.AlertNote = call.body
    return await _decide(tx, call, Verdict.ACKNOWLEDGED, order.note)


async def _close(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    order: shapes.AlertClosing = call.body
    return await _decide(tx, call, Verdict.UNDONE if order.undo else Verdict.CLOSED, order.note)


async def _decide(tx: Tx, call: Call, verdict: Verdict, note: str) -> dict[str, Any]:  # JSON
    line("note", note)
    alert = await flow.decide_alert(tx, call.house, call.store.id, call.id, verdict, call.actor, note, call.now)
    return alert_resource(alert)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/alerts", name="list_alerts", summary="List alerts, newest first",
        access="alerts:read", query=shapes.AlertQuery, work=_list, result=shapes.Page[shapes.Alert],
    ),
    Endpoint(
        method="GET", path="/v1/alerts/{id}", name="get_alert", summary="Read an alert",
        access="alerts:read", id_of="alt", work=_read, result=shapes.Alert,
    ),
    Endpoint(
        method="POST", path="/v1/alerts/{id}/acknowledge", name="acknowledge_alert",
        summary="Say that somebody looks after an alert of the store; it stays open", access="alerts:write",
        id_of="alt", body=shapes.AlertNote, work=_acknowledge, result=shapes.Alert, repeatable=True, conflicts=True,
        example={"note": "calling the customer"},
    ),
    Endpoint(
        method="POST", path="/v1/alerts/{id}/close", name="close_alert",
        summary="Close an alert of the store, and undo what was done by itself if told so", access="alerts:write",
        id_of="alt", body=shapes.AlertClosing, work=_close, result=shapes.Alert, repeatable=True, conflicts=True,
        example={"note": "the customer paid again", "undo": True},
    ),
)  # fmt: skip
