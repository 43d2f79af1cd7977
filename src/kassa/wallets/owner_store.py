"""Whose addresses are, with what it can be checked by: the SQL."""

from collections.abc import Collection, Sequence
from typing import Any

from asyncpg import Record
from asyncpg.pool import Pool

from kassa.core.ids import AddressId
from kassa.db.pool import Tx
from kassa.wallets.model import Given, Owner, Place

_OWNER = """
select a.id, a.network, a.script, a.store_id, a.invoice_id, a.address, a.index, a.seal, k.descriptor,
    coalesce(a.customer_id, a.watched_for) as customer_id, coalesce(i.store_id, c.store_id) as owners_store
from addresses a left join keychains k on k.id = a.keychain_id left join invoices i on i.id = a.invoice_id
    left join customers c on c.id = coalesce(a.customer_id, a.watched_for)
"""


async def owners(tx: "Tx | Pool[Any]", network: str, scripts: Sequence[bytes]) -> list[Owner]:
    """Return who owns the addresses among `scripts`, compared whole: a matching search key proves nothing."""
    rows = await tx.fetch(f"{_OWNER} where a.network = $1 and a.script = any($2::bytea[])", network, scripts)
    return await _found_owners(tx, rows)


async def owners_of(tx: Tx, addresses: Collection[AddressId]) -> list[Owner]:
    """Return who owns addresses."""
    return await _found_owners(tx, await tx.fetch(f"{_OWNER} where a.id = any($1::text[])", list(addresses)))


async def _found_owners(tx: "Tx | Pool[Any]", rows: Sequence[Record]) -> list[Owner]:
    given: dict[str, list[Given]] = {row["store_id"]: [] for row in rows if row["store_id"] is not None}
    if given:
        for wallet in await tx.fetch(
            "select id, store_id, network, seal from wallets where store_id = any($1::text[])", list(given)
        ):
            given[wallet["store_id"]].append(Given(*wallet.values()))
    return [_found_owner(row, tuple(given.get(row["store_id"], ()))) for row in rows]


def _found_owner(row: Record, given: tuple[Given, ...]) -> Owner:
    place = None if row["descriptor"] is None else Place(row["descriptor"], row["index"], row["seal"])
    whose = row["store_id"], row["invoice_id"], row["customer_id"]
    found = AddressId(row["id"]), row["network"], row["script"]
    return Owner(*found, *whose, row["address"], place, row["owners_store"], given)
