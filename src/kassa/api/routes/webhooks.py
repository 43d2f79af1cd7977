"""Webhook endpoints, their tests and the log of their deliveries."""

import secrets
from typing import Any

from msgspec import UNSET

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import page, read_cursor
from kassa.api.texts import moment
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import DeliveryId, WebhookId, is_id
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.webhooks import store as webhooks
from kassa.webhooks.model import Change
from kassa.webhooks.resource import delivery_resource, endpoint_resource
from kassa.webhooks.rules import check_filters, check_secret, check_url, make_secret

_SECRET_BYTES = 32


async def _create(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    order: shapes.WebhookOrder = call.body
    secret = make_secret(secrets.token_bytes(_SECRET_BYTES)) if order.secret is None else check_secret(order.secret)
    url, filters = check_url(order.url, private=_private(call)), check_filters(order.events)
    made = await flow.create_endpoint(tx, call.actor, call.store.id, url, filters, Secret(secret), call.now)
    return endpoint_resource(made) | {"secret": secret}


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    before = read_cursor("whk", query.cursor)
    found = await webhooks.list_endpoints(
        tx, call.store.id, None if before is None else WebhookId(before), query.limit + 1
    )
    return page([endpoint_resource(endpoint) for endpoint in found], query.limit)


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return endpoint_resource(await webhooks.get_endpoint(tx, call.store.id, WebhookId(call.id)))


async def _change(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    asked: shapes.WebhookChange = call.body
    change = Change(
        url=None if asked.url is UNSET else check_url(asked.url, private=_private(call)),
        events=None if asked.events is UNSET else check_filters(asked.events),
        secret=None if asked.secret is UNSET else Secret(check_secret(asked.secret)),
        disabled=None if asked.disabled is UNSET else asked.disabled,
    )
    changed = await flow.update_endpoint(tx, call.actor, call.store.id, WebhookId(call.id), change, call.now)
    return endpoint_resource(changed)


async def _delete(tx: Tx, call: Call) -> None:
    await flow.delete_endpoint(tx, call.actor, call.store.id, WebhookId(call.id), call.now)


async def _test(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    delivery = await webhooks.write_test_event(tx, call.store.id, WebhookId(call.id), call.now)
    return delivery_resource(await webhooks.get_delivery(tx, call.store.id, delivery))


async def _deliveries(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.PageQuery = call.query
    cursor = read_cursor("dlv", query.cursor)
    before = None if cursor is None else DeliveryId(cursor)
    found = await webhooks.list_deliveries(tx, call.store.id, WebhookId(call.id), before, query.limit + 1)
    return page([delivery_resource(delivery) for delivery in found], query.limit)


async def _some(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.DeliveryQuery = call.query
    if [query.invoice_id, query.state, query.search].count(None) != 2:
        raise Invalid(FieldFault("invoice_id", "give either this, state=failed or search"))
    if query.invoice_id is not None and not is_id("inv", query.invoice_id):
        raise Invalid(FieldFault("invoice_id", "is not the id of an invoice (inv_…)"))
    if query.created_after is not None and query.state is None:
        raise Invalid(FieldFault("created_after", "goes with state=failed"))
    cursor = read_cursor("dlv", query.cursor)
    before = None if cursor is None else DeliveryId(cursor)
    if query.search is not None:
        sought = await flow.find_deliveries(tx, call.house, call.store, query.search)
        found = await webhooks.list_found(tx, call.store.id, sought, before, query.limit + 1)
    elif query.invoice_id is None:
        after = moment("created_after", query.created_after)
        found = await webhooks.list_failed(tx, call.store.id, after, before, query.limit + 1)
    else:
        found = await webhooks.list_of_invoice(tx, call.store.id, query.invoice_id, before, query.limit + 1)
    return page([delivery_resource(delivery) for delivery in found], query.limit)


async def _retry(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return delivery_resource(await webhooks.retry_delivery(tx, call.store.id, DeliveryId(call.id), call.now))


def _private(call: Call) -> bool:
    return call.house.settings.webhooks.allow_private_addresses


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/webhooks", name="create_webhook",
        summary="Add a receiver of events; this answer alone carries its secret",
        access="webhooks:write", body=shapes.WebhookOrder, work=_create, result=shapes.NewWebhook, status=201,
        repeatable=True, example={"url": "https://shop.example/hook", "events": ["invoice.*"]},
    ),
    Endpoint(
        method="GET", path="/v1/webhooks", name="list_webhooks", summary="List receivers, newest first",
        access="webhooks:read", query=shapes.PageQuery, work=_list, result=shapes.Page[shapes.Webhook],
    ),
    Endpoint(
        method="GET", path="/v1/webhooks/{id}", name="get_webhook", summary="Read a receiver",
        access="webhooks:read", id_of="whk", work=_read, result=shapes.Webhook,
    ),
    Endpoint(
        method="PATCH", path="/v1/webhooks/{id}", name="change_webhook",
        summary="Change a receiver; a secret that is replaced stays valid for a day",
        access="webhooks:write", id_of="whk", body=shapes.WebhookChange, work=_change, result=shapes.Webhook,
    ),
    Endpoint(
        method="DELETE", path="/v1/webhooks/{id}", name="delete_webhook", summary="Delete a receiver; its log stays",
        access="webhooks:write", id_of="whk", work=_delete, result=None, status=204,
    ),
    Endpoint(
        method="POST", path="/v1/webhooks/{id}/test", name="test_webhook", summary="Send a webhook.test event there",
        access="webhooks:write", id_of="whk", work=_test, result=shapes.Delivery, status=201, repeatable=True,
    ),
    Endpoint(
        method="GET", path="/v1/webhooks/{id}/deliveries", name="list_deliveries",
        summary="List deliveries with every attempt and the next one, newest first",
        access="webhooks:read", id_of="whk", query=shapes.PageQuery, work=_deliveries,
        result=shapes.Page[shapes.Delivery],
    ),
    Endpoint(
        method="GET", path="/v1/deliveries", name="list_invoice_deliveries",
        summary="List what was sent about an invoice, to its own webhook_url too, was given up, or is looked for",
        access="webhooks:read", query=shapes.DeliveryQuery, work=_some, result=shapes.Page[shapes.Delivery],
    ),
    Endpoint(
        method="POST", path="/v1/deliveries/{id}/retry", name="retry_delivery", summary="Send a delivery again at once",
        access="webhooks:write", id_of="dlv", work=_retry, result=shapes.Delivery, repeatable=True,
    ),
)  # fmt: skip
