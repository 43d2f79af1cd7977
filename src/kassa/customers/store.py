"""Customers, what is to their credit, and their spends: the SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import msgspec
from asyncpg import Record, UniqueViolationError
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import CustomerId, InvoiceId, SpendId, StoreId
from kassa.customers.model import Balance, Customer, Spend
from kassa.db.pool import Tx
from kassa.db.rows import as_json

Purse = tuple[CustomerId, str]
"""A customer's credit in one asset."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What a purse lacks of what was spent from it, before and after a move; of the latter, what is written off."""

    before: int
    after: int
    written_off: int


async def put(tx: Tx, customer: Customer) -> None:
    """Write a new customer; raises `Conflict` (`customer_exists`) when the store has one of this reference."""
    try:
        await tx.execute(
            "insert into customers (id, store_id, reference, name, metadata, created_at)"
            " values ($1, $2, $3, $4, $5, $6)",
            customer.id, customer.store_id, customer.reference, customer.name, customer.metadata, customer.created_at,
        )  # fmt: skip
    except UniqueViolationError as repeat:
        if repeat.constraint_name != "customers_reference":
            raise
        raise Conflict("the store has a customer of this reference", code="customer_exists") from repeat


async def get(tx: "Tx | Pool[Any]", store_id: StoreId, customer_id: str) -> Customer:
    """Return a store's customer; raises `NotFound`."""
    row = await tx.fetchrow("select * from customers where store_id = $1 and id = $2", store_id, customer_id)
    if row is None:
        raise NotFound("there is no such customer in this store")
    return _customer(row)


async def known(pool: "Pool[Any]", asked: Sequence[tuple[StoreId, str]]) -> Sequence[bool]:
    """Tell of each store and id whether that is a customer of the store."""
    rows = await pool.fetch("select store_id, id from customers where id = any($1::text[])", [id_ for _, id_ in asked])
    found = {(row["store_id"], row["id"]) for row in rows}
    return [each in found for each in asked]


async def page(
    tx: Tx, store_id: StoreId, reference: str | None, found: Sequence[CustomerId] | None, before: str | None, limit: int
) -> list[Customer]:
    """Return a store's customers, newest first, those before an id; `found`: these alone."""
    rows = await tx.fetch(
        """select * from customers where store_id = $1 and ($2::text is null or reference = $2)
           and ($3::text is null or id < $3) and ($5::text[] is null or id = any($5)) order by id desc limit $4""",
        store_id,
        reference,
        before,
        limit,
        found,
    )
    return [_customer(row) for row in rows]


async def lock(tx: Tx, customers: Sequence[CustomerId]) -> None:
    """Lock customers, in id order; not against what refers to them."""
    await tx.execute("select from customers where id = any($1) order by id for no key update", sorted(customers))


async def balances(tx: Tx, customers: Collection[CustomerId]) -> dict[CustomerId, list[Balance]]:
    """Return what customers have, by asset."""
    rows = await tx.fetch(
        """select customer_id, asset, sum(available) as available, sum(pending) as pending, sum(owed) as owed,
               sum(written_off) as written_off from (
               select customer_id, asset, units as available, 0 as pending, owed, written_off from customer_balances
               where customer_id = any($1)
               union all
               select customer_id, asset, 0, units, 0, 0 from payments
               where customer_id = any($1) and status in ('detected', 'confirming')
           ) known group by customer_id, asset order by customer_id, asset""",
        list(customers),
    )
    found: dict[CustomerId, list[Balance]] = {customer: [] for customer in customers}
    for row in rows:
        found[CustomerId(row["customer_id"])].append(read_balance(row))
    return found


def read_balance(row: Record) -> Balance:
    """Return what a row with the columns of a balance says."""
    return Balance(row["asset"], *(int(row[name]) for name in ("available", "pending", "owed", "written_off")))


async def move(tx: Tx, moves: Mapping[Purse, int]) -> dict[Purse, Owed]:
    """Add units to the credit of customers, or take them back; return what each purse lacks, before and after.

    What cannot be taken because it was spent is owed, and made good by the next units that come: what is written off
    last. Rows are locked in the order of their keys.
    """
    if not moves:
        return {}
    purses = sorted(moves)
    rows = await tx.fetch(
        """insert into customer_balances as b (customer_id, asset, units, owed)
           select customer_id, asset, greatest(moved, 0), greatest(-moved, 0)
           from unnest($1::text[], $2::text[], $3::numeric[]) as m (customer_id, asset, moved) order by 1, 2
           on conflict (customer_id, asset) do update set
               units = greatest(b.units - b.owed + excluded.units - excluded.owed, 0),
               owed = greatest(b.owed - b.units - excluded.units + excluded.owed, 0),
               written_off = least(
                   b.written_off, greatest(b.owed - b.units - excluded.units + excluded.owed, 0))
           returning customer_id, asset, units, owed, written_off""",
        [customer for customer, _ in purses],
        [asset for _, asset in purses],
        [moves[purse] for purse in purses],
    )
    found = {}
    for row in rows:
        purse, owed = (CustomerId(row["customer_id"]), row["asset"]), int(row["owed"])
        found[purse] = Owed(max(0, owed - int(row["units"]) + moves[purse]), owed, int(row["written_off"]))
    return found


async def available(tx: Tx, purses: Collection[Purse]) -> dict[Purse, int]:
    """Return what there is to spend in some purses, as last committed; 0 where nothing ever came."""
    wanted = sorted(purses)
    rows = await tx.fetch(
        """select b.customer_id, b.asset, b.units from unnest($1::text[], $2::text[]) as w (customer_id, asset)
           join customer_balances b using (customer_id, asset)""",
        [customer for customer, _ in wanted],
        [asset for _, asset in wanted],
    )
    found = {(CustomerId(row["customer_id"]), row["asset"]): int(row["units"]) for row in rows}
    return {purse: found.get(purse, 0) for purse in wanted}


async def put_spends(tx: Tx, made: Sequence[Spend]) -> None:
    """Write spends; `debit` must follow in the same transaction."""
    await tx.execute(
        """insert into spends (id, store_id, customer_id, invoice_id, asset, units, rate, made_at, made_by, rate_source,
               rate_at, rate_method)
           select id, store_id, customer_id, invoice_id, asset, units, rate, made_at, made_by, rate_source, rate_at,
               rate_method
           from json_populate_recordset(null::spends, $1) order by id""",
        as_json([_spend_row(spend) for spend in made]),
    )


async def debit(tx: Tx, made: Sequence[Spend]) -> bool:
    """Take spends from their customers' credit; return False where one purse has less than all that is taken from it.

    Then some may be taken and others not: undo the transaction. Whoever spends the same credit at once waits for the
    row and then sees what is left: the sum never exceeds it. Rows are locked in the order of their keys.
    """
    taken: dict[Purse, int] = {}
    for spend in made:
        purse = spend.customer_id, spend.asset
        taken[purse] = taken.get(purse, 0) + spend.units
    purses = sorted(taken)
    done = await tx.execute(
        """with held as materialized (
               select b.customer_id, b.asset, t.units
               from unnest($1::text[], $2::text[], $3::numeric[]) as t (customer_id, asset, units)
               join customer_balances b using (customer_id, asset)
               order by b.customer_id, b.asset for no key update of b
           )
           update customer_balances b set units = b.units - held.units from held
           where b.customer_id = held.customer_id and b.asset = held.asset and b.units >= held.units""",
        [customer for customer, _ in purses],
        [asset for _, asset in purses],
        [taken[purse] for purse in purses],
    )
    return bool(done == f"UPDATE {len(purses)}")


async def spends_on(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Spend]]:
    """Return what was spent on invoices, oldest first."""
    found: dict[InvoiceId, list[Spend]] = {}
    for row in await tx.fetch("select * from spends where invoice_id = any($1) order by id", invoices):
        found.setdefault(InvoiceId(row["invoice_id"]), []).append(_spend(row))
    return found


async def spends_after(tx: Tx, invoice: str, after: tuple[datetime, int], limit: int) -> list[tuple[int, Spend]]:
    """Return what was spent on an invoice, oldest first, after a moment and number, each with its number there."""
    rows = await tx.fetch(
        """select * from (select s.*, row_number() over (order by made_at, id) as number from spends s
               where invoice_id = $1) numbered
           where (made_at, number) > ($2, $3) order by number limit $4""",
        invoice,
        *after,
        limit,
    )
    return [(row["number"], _spend(row)) for row in rows]


def _customer(row: Record) -> Customer:
    return Customer(
        CustomerId(row["id"]),
        StoreId(row["store_id"]),
        row["reference"],
        row["name"],
        row["metadata"],
        row["created_at"],
    )


def _spend_row(made: Spend) -> dict[str, object]:
    return {
        "id": made.id,
        "store_id": made.store_id,
        "customer_id": made.customer_id,
        "invoice_id": made.invoice_id,
        "asset": made.asset,
        "units": made.units,
        "rate": None if made.rate is None else str(made.rate),
        "made_at": made.made_at,
        "made_by": made.made_by,
        "rate_source": made.rate_source,
        "rate_at": made.rate_at,
        "rate_method": None if made.rate_method is None else msgspec.Raw(made.rate_method.encode()),
    }


def _spend(row: Record) -> Spend:
    return Spend(
        id=SpendId(row["id"]),
        store_id=StoreId(row["store_id"]),
        customer_id=CustomerId(row["customer_id"]),
        invoice_id=InvoiceId(row["invoice_id"]),
        asset=row["asset"],
        units=int(row["units"]),
        rate=None if row["rate"] is None else Fraction(row["rate"]),
        made_at=row["made_at"],
        made_by=row["made_by"],
        rate_source=row["rate_source"],
        rate_at=row["rate_at"],
        rate_method=row["rate_method"],
    )
