"""The store that a key belongs to: read it, and change its name or its policy."""

from typing import Any

import msgspec
from msgspec import UNSET

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.invoices.policy import changed
from kassa.stores.resource import store_resource
from kassa.stores.store import get_store


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return store_resource(await get_store(tx, call.store.id))


async def _change(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    asked: shapes.StoreChange = call.body
    store = await get_store(tx, call.store.id)
    given = {} if asked.policy is UNSET else msgspec.to_builtins(asked.policy)
    policy = changed(store.policy, given, currency(store.currency))
    name = store.name if asked.name is UNSET else asked.name
    changed_one = await flow.change_store(tx, call.actor, store, name, policy, asked.version, call.now)
    return store_resource(changed_one)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/store", name="get_store", summary="Read the store of this key",
        access="store:read", work=_read, result=shapes.Store,
    ),
    Endpoint(
        method="PATCH", path="/v1/store", name="change_store",
        summary="Change the store as it was read at a version; invoices that exist keep their terms",
        access="store:write", body=shapes.StoreChange, work=_change, result=shapes.Store, conflicts=True,
        example={"version": 1, "policy": {"tolerance_percent": "0.5", "over": "credit"}},
    ),
)  # fmt: skip
