"""What an operator does about stores and their keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

import kassa.stores.store as stores
from kassa import flow
from kassa.core.clock import rfc3339
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import currency, parse_amount
from kassa.db.pool import Tx
from kassa.house import House
from kassa.invoices.policy import Policy, changed
from kassa.operations.acting import Told, in_house, in_transaction, operator
from kassa.settings import Settings
from kassa.stores.model import SCOPES
from kassa.stores.model import Store as StoreValue
from kassa.stores.resource import store_resource

MAX_SHARE_PPM = 500_000


async def create_store(
    settings: Settings, name: str, prices_in: str, *, test: bool, tolerance: str, spread: str = "0%"
) -> Told:
    """Make a store with a first key for everything."""
    policy = Policy(tolerance_ppm=share_ppm("tolerance", tolerance))
    charged = share_ppm("spread", spread)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await flow.create_store(
            tx, operator(), name, prices_in, not test, now, policy=policy, spread_ppm=charged
        )
        _, text = await flow.create_key(tx, house, operator(), store, now, label="made with the store")
        return {"store_id": store.id, "api_key": text}

    return await in_house(settings, work)


async def set_spread(settings: Settings, store_id: str, spread: str) -> Told:
    """Change by how much a store lowers its rates."""
    ppm = share_ppm("spread", spread)

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.set_spread(tx, operator(), store_id, ppm, now)
        return {"store_id": store_id, "spread_ppm": ppm}

    return await in_transaction(settings, work)


async def list_stores(settings: Settings) -> Told:
    """Tell every store."""

    async def work(tx: Tx, _now: datetime) -> Told:
        return {"data": [_store(store) for store in await stores.list_stores(tx)]}

    return await in_transaction(settings, work)


async def store_policy(settings: Settings, store_id: str, given: Mapping[str, Any]) -> Told:
    """Tell a store's policy, with some of it changed for the invoices to come."""

    async def work(tx: Tx, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        policy = changed(store.policy, given, currency(store.currency))
        if policy != store.policy:
            version, spread = store.version, store.spread_ppm
            store = await flow.change_store(tx, operator(), store, store.name, policy, spread, version, now)
        return store_resource(store)

    return await in_transaction(settings, work)


async def create_key(
    settings: Settings, store_id: str, scopes: Sequence[str], label: str, allowed_from: Sequence[str]
) -> Told:
    """Make another key for a store; without scopes, one for everything; without networks, to be used from anywhere."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        key_id, text = await flow.create_key(
            tx, house, operator(), store, now, scopes=scopes or SCOPES, label=label, allowed_from=allowed_from
        )
        return {"key_id": key_id, "store_id": store.id, "api_key": text}

    return await in_house(settings, work)


async def list_keys(settings: Settings, store_id: str) -> Told:
    """Tell a store's keys, without their texts, which nobody has any more."""

    async def work(tx: Tx, _now: datetime) -> Told:
        await stores.get_store(tx, store_id)
        return {"data": [_plain(dict(row)) for row in await stores.list_keys(tx, store_id)]}

    return await in_transaction(settings, work)


async def revoke_key(settings: Settings, key_id: str) -> Told:
    """End a key at once."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.revoke_key(tx, operator(), key_id, now)
        return {"key_id": key_id, "revoked": True}

    return await in_transaction(settings, work)


async def bind_key(settings: Settings, key_id: str, networks: Sequence[str]) -> Told:
    """Let a key be used from these networks alone, or, where there are none, from anywhere."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        allowed = await flow.bind_key(tx, house, operator(), key_id, networks, now)
        return {"key_id": key_id, "allowed_from": list(allowed)}

    return await in_house(settings, work)


def share_ppm(field: str, text: str) -> int:
    """Read a share such as "0.5%" into parts per million (exact; at most half); raises `Invalid`."""
    fault = Invalid(FieldFault(field, f'{text[:20]!r} is not a share from "0%" to "50%" of at most four decimals'))
    if not text.endswith("%"):
        raise fault
    try:
        ppm = parse_amount(text[:-1], 4)
    except Invalid:
        raise fault from None
    if Fraction(ppm) > MAX_SHARE_PPM:
        raise fault
    return ppm


def _store(store: StoreValue) -> Told:
    return {
        "id": store.id,
        "name": store.name,
        "currency": store.currency,
        "livemode": store.livemode,
        "tolerance_ppm": store.policy.tolerance_ppm,
        "spread_ppm": store.spread_ppm,
        "created_at": rfc3339(store.created_at),
    }


def _plain(row: Told) -> Told:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
