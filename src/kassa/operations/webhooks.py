"""What an operator does about receivers of a store's events."""

import secrets
from collections.abc import Sequence
from datetime import datetime

import kassa.stores.store as stores
from kassa import flow
from kassa.core.clock import rfc3339
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.operations.acting import Told, in_transaction, operator
from kassa.settings import Settings
from kassa.webhooks.resource import endpoint_resource
from kassa.webhooks.rules import ROTATION, check_filters, check_url, make_secret
from kassa.webhooks.store import list_endpoints

_SECRET_BYTES = 32


async def add_webhook(settings: Settings, store_id: str, url: str, events: Sequence[str]) -> Told:
    """Add a receiver of a store's events; its secret is told here and never again."""
    private = settings.webhooks.allow_private_addresses
    checked, filters = check_url(url, private=private), check_filters(events or ("*",))
    secret = make_secret(secrets.token_bytes(_SECRET_BYTES))

    async def work(tx: Tx, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        endpoint = await flow.create_endpoint(tx, operator(), store.id, checked, filters, Secret(secret), now)
        return {"webhook_id": endpoint.id} | endpoint_resource(endpoint) | {"secret": secret}

    return await in_transaction(settings, work)


async def list_webhooks(settings: Settings, store_id: str) -> Told:
    """Tell a store's receivers, newest first, without their secrets."""

    async def work(tx: Tx, _now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return {"data": [endpoint_resource(each) for each in await list_endpoints(tx, store.id, limit=None)]}

    return await in_transaction(settings, work)


async def webhook_secret(settings: Settings, store_id: str, *, rotate: bool = False) -> Told:
    """Tell the secret that signs deliveries to the webhook_url of a store's invoices.

    Rotated, a new one is told; the one before it signs beside it for a day.
    """

    async def work(tx: Tx, now: datetime) -> Told:
        if rotate:
            secret = Secret(make_secret(secrets.token_bytes(_SECRET_BYTES)))
            await flow.rotate_webhook_secret(tx, operator(), store_id, secret, now + ROTATION, now)
        shown = await flow.show_webhook_secret(tx, operator(), store_id, now)
        told = {"store_id": store_id, "secret": shown.reveal()}
        return told | {"previous_secret_until": rfc3339(now + ROTATION)} if rotate else told

    return await in_transaction(settings, work)
