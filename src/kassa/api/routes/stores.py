"""The store that a key belongs to: read it, and change its name, its policy or its looks."""

import base64
import binascii
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET

from kassa import flow
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.invoices.policy import changed, read_percent
from kassa.stores.branding import Branding, checked_colour
from kassa.stores.origins import checked_origins
from kassa.stores.raster import cleaned
from kassa.stores.resource import store_resource
from kassa.stores.rules import MAX_SPREAD_PPM
from kassa.stores.store import change_branding, change_logo, get_store


async def _read(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    return store_resource(await get_store(tx, call.store.id))


async def _change(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    asked: shapes.StoreChange = call.body
    store = await get_store(tx, call.store.id)
    given = {} if asked.policy is UNSET else msgspec.to_builtins(asked.policy)
    policy = changed(store.policy, given, currency(store.currency))
    spread = store.spread_ppm
    if asked.spread_percent is not UNSET:
        spread = read_percent(asked.spread_percent, MAX_SPREAD_PPM, "spread_percent")
    name = store.name if asked.name is UNSET else asked.name
    await change_branding(tx, store.id, _branding(store.branding, asked))
    if asked.logo is not UNSET:
        await change_logo(tx, store.id, None if asked.logo is None else cleaned(_decoded(asked.logo)))
    changed_one = await flow.change_store(tx, call.actor, store, name, policy, spread, asked.version, call.now)
    return store_resource(changed_one)


def _branding(now: Branding, asked: shapes.StoreChange) -> Branding:
    if asked.colour is not UNSET:
        now = replace(now, colour=checked_colour(asked.colour))
    if asked.frame_ancestors is not UNSET:
        now = replace(now, frame_ancestors=checked_origins(asked.frame_ancestors, "frame_ancestors"))
    if asked.redirect_origins is not UNSET:
        now = replace(now, redirect_origins=checked_origins(asked.redirect_origins, "redirect_origins"))
    return now


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(FieldFault("logo", "must be an image in base64")) from None


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
