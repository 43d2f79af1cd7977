"""Webhooks: receivers, what was sent to them with every attempt, and sending it again."""

from secrets import token_bytes
from typing import Any

from kassa.core.errors import Invalid
from kassa.dashboard.days import days
from kassa.dashboard.page import Action, Go, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.webhooks.rules import make_secret


async def _list(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    return Screen("webhooks.html", {"list": await visit.ask("list_webhooks", query=asked)})


async def _create(visit: Visit) -> Screen:
    body: dict[str, Any] = {"url": visit.form.get("url").strip(), "events": _filters(visit.form.get("events"))}
    made = await visit.ask("create_webhook", body=body)
    # Shown here alone: the answer cannot be asked for again.
    return Screen("webhook-made.html", {"webhook": made})


async def _one(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    return Screen(
        "webhook.html",
        {
            "webhook": await visit.ask("get_webhook", visit.id),
            "deliveries": await visit.ask("list_deliveries", visit.id, query=asked),
        },
    )


async def _change(visit: Visit) -> Go:
    body = {"url": visit.form.get("url").strip(), "events": _filters(visit.form.get("events"))}
    await visit.ask("change_webhook", visit.id, body=body)
    return Go(f"webhooks/{visit.id}", "saved")


async def _renew(visit: Visit) -> Screen:
    secret = make_secret(token_bytes(32))
    changed = await visit.ask("change_webhook", visit.id, body={"secret": secret})
    return Screen("webhook-made.html", {"webhook": changed | {"secret": secret}})


async def _switch(visit: Visit) -> Go:
    await visit.ask("change_webhook", visit.id, body={"disabled": visit.form.get("disabled") == "yes"})
    return Go(f"webhooks/{visit.id}", "saved")


async def _delete(visit: Visit) -> Go:
    await visit.ask("delete_webhook", visit.id)
    return Go("webhooks", "webhook_gone")


async def _test(visit: Visit) -> Go:
    await visit.ask("test_webhook", visit.id)
    return Go(f"webhooks/{visit.id}", "tested")


async def _resend(visit: Visit) -> Go:
    sent = await visit.ask("retry_delivery", visit.id)
    return Go(f"webhooks/{sent['webhook_id']}" if sent["webhook_id"] else "webhooks", "resent")


async def _deliveries(visit: Visit) -> Screen:
    asked = {"cursor": cursor} if (cursor := visit.query.get("cursor")) else {}
    if text := visit.query.get("search", "").strip():
        asked |= {"search": text}
    else:
        asked |= {"state": "failed"} | days({"from": visit.query.get("from", "")})
    try:
        found = await visit.ask("list_invoice_deliveries", query=asked)
    except Invalid as error:
        visit.faults = {fault.field: fault.message for fault in error.faults}
        return Screen("deliveries.html", {"list": {"data": [], "next_cursor": None}}, 422)
    return Screen("deliveries.html", {"list": found})


def _filters(text: str) -> list[str]:
    return text.replace(",", " ").split() or ["*"]


PAGES: tuple[Page, ...] = (
    Page(path="webhooks", title="Webhooks", access="webhooks:read", show=_list, nav="Technology"),
    Page(path="deliveries", title="Deliveries", access="webhooks:read", show=_deliveries, live=True),
    Page(path="webhooks/{id}", title="Webhook", access="webhooks:read", show=_one, id_of="whk", live=True),
)
ACTIONS: tuple[Action, ...] = (
    Action(
        path="webhooks", access="webhooks:write", act=_create, form="webhooks", fields=("url", "events"), fresh=True
    ),
    Action(
        path="webhooks/{id}", access="webhooks:write", act=_change, form="webhooks/{id}", id_of="whk",
        fields=("url", "events"), fresh=True,
    ),
    Action(
        path="webhooks/{id}/switch", access="webhooks:write", act=_switch, form="webhooks/{id}", id_of="whk",
        fields=("disabled",), fresh=True,
    ),
    Action(
        path="webhooks/{id}/secret", access="webhooks:write", act=_renew, form="webhooks/{id}", id_of="whk", fresh=True
    ),
    Action(
        path="webhooks/{id}/delete", access="webhooks:write", act=_delete, form="webhooks/{id}", id_of="whk", fresh=True
    ),
    Action(path="webhooks/{id}/test", access="webhooks:write", act=_test, form="webhooks/{id}", id_of="whk"),
    Action(path="deliveries/{id}/retry", access="webhooks:write", act=_resend, form="webhooks", id_of="dlv"),
)  # fmt: skip
