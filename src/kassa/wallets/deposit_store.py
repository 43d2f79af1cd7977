"""Customers' deposit addresses: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg.pool import Pool

import kassa.wallets.sharing_store as sharing
from kassa.core.ids import AddressId, CustomerId, StoreId
from kassa.db.pool import Tx
from kassa.wallets.model import NewAddress, Place


@dataclass(frozen=True, slots=True)
class Deposited:
    """A customer's deposit address on one network, and the descriptor that it comes from."""

    id: AddressId
    address: str
    index: int
    created_at: datetime
    seal: bytes | None
    descriptor: str


@dataclass(frozen=True, slots=True)
class DepositPlace:
    """A customer's deposit address, with what it can be checked by."""

    id: AddressId
    network: str
    store_id: StoreId
    customer_id: CustomerId
    address: str
    place: Place


async def deposit_index(tx: "Tx | Pool[Any]", customer_id: CustomerId, keychain_id: int) -> int | None:
    """Return the index of a customer's deposit addresses of a keychain."""
    found: int | None = await tx.fetchval(
        "select index from addresses where customer_id = $1 and keychain_id = $2 limit 1", customer_id, keychain_id
    )
    return found


async def has_deposit(tx: "Tx | Pool[Any]", customer_id: CustomerId, network: str, keychain_id: int) -> bool:
    """Tell whether a customer has a deposit address on a network, or one of a keychain on another network of it."""
    found = await tx.fetchval(
        "select true from addresses where customer_id = $1 and (network = $2 or keychain_id = $3) limit 1",
        customer_id,
        network,
        keychain_id,
    )
    return found is not None


async def put_deposit(
    tx: Tx, store_id: str, customer_id: CustomerId, addresses: Sequence[NewAddress], now: datetime
) -> None:
    """Write a customer's deposit addresses, where they have none yet. Hold the customer's lock.

    One that is watched for them already becomes theirs.
    """
    if addresses:
        await sharing.claim(tx, customer_id, addresses[0].keychain_id, [each.network for each in addresses])
    await tx.executemany(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, customer_id,
               created_at, seal)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           on conflict do nothing""",
        [
            (a.id, a.network, a.script, a.text, a.key, a.keychain_id, a.index, store_id, customer_id, now, a.seal)
            for a in addresses
        ],
    )


async def deposit_address(tx: Tx, customer_id: CustomerId, network: str) -> Deposited:
    """Return a customer's deposit address on a network, which there must be."""
    row = await tx.fetchrow(
        "select a.id, a.address, a.index, a.created_at, a.seal, k.descriptor"
        " from addresses a join keychains k on k.id = a.keychain_id where a.customer_id = $1 and a.network = $2",
        customer_id,
        network,
    )
    return Deposited(**row)


async def deposits_after(tx: Tx, after: str, limit: int) -> list[DepositPlace]:
    """Return customers' deposit addresses of every store, in the order of their ids, from after one."""
    rows = await tx.fetch(
        "select a.id, a.network, a.store_id, a.customer_id, a.address, a.index, a.seal, a.script, a.watch_key,"
        " k.descriptor from addresses a join keychains k on k.id = a.keychain_id"
        " where a.customer_id is not null and a.id > $1 order by a.id limit $2",
        after,
        limit,
    )
    found = [
        (row, Place(row["descriptor"], row["index"], row["seal"], row["script"], row["watch_key"])) for row in rows
    ]
    return [DepositPlace(r["id"], r["network"], r["store_id"], r["customer_id"], r["address"], at) for r, at in found]
