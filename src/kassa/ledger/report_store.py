"""What the books and the open invoices come to, in a few sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.model import Amount

COSTS = ("fees", "under", "losses")


@dataclass(frozen=True, slots=True)
class Sale:
    """What was sold on a day (UTC) in an asset, to invoices that stand so now. Of what was taken back, less."""

    day: date
    asset: str
    status: str
    invoices: int
    amount: Amount


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Invoices that may still be paid or are not settled yet: their prices, and what was paid of them."""

    status: str
    currency: str
    invoices: int
    price_units: int
    paid_units: int


@dataclass(frozen=True, slots=True)
class Held:
    """What stands on an account, or on those of several customers, in one asset; debit is positive."""

    account: str
    asset: str
    customers: int
    amount: Amount


async def sales(tx: Tx, store_id: StoreId, first: datetime, end: datetime) -> Sequence[Sale]:
    """Return a store's sales by the day on which they were booked (`end` is not part of it), asset and status."""
    rows = await tx.fetch(
        """select (e.booked_at at time zone 'UTC')::date as day, p.asset, coalesce(i.status, 'none') as status,
               count(distinct e.invoice_id) as invoices, -sum(p.units) as units, -sum(p.value_units) as value
           from entries e join postings p on p.entry_id = e.id left join invoices i on i.id = e.invoice_id
           where e.store_id = $1 and p.account = 'sales' and e.booked_at >= $2 and e.booked_at < $3
           group by 1, 2, 3 order by 1, 2, 3""",
        store_id,
        first,
        end,
    )
    return [
        Sale(r["day"], r["asset"], r["status"], r["invoices"], Amount(int(r["units"]), int(r["value"]))) for r in rows
    ]


async def outstanding(tx: Tx, store_id: StoreId) -> Sequence[Outstanding]:
    """Return a store's invoices that are new or processing, by status and currency."""
    rows = await tx.fetch(
        """select status, currency, count(*) as invoices, sum(amount_units) as price, sum(paid_units) as paid
           from invoices where store_id = $1 and status in ('new', 'processing') group by 1, 2 order by 1, 2""",
        store_id,
    )
    return [Outstanding(r["status"], r["currency"], r["invoices"], int(r["price"]), int(r["paid"])) for r in rows]


async def liabilities(tx: Tx, store_id: StoreId) -> Sequence[Held]:
    """Return what a store owes its customers, by asset."""
    rows = await tx.fetch(
        """select asset, count(*) filter (where units <> 0) as customers, sum(units) as units, sum(value) as value
           from (
               select p.account, p.asset, sum(p.units) as units, sum(p.value_units) as value
               from entries e join postings p on p.entry_id = e.id
               where e.store_id = $1 and p.account like 'customer:%' group by 1, 2) each group by 1 order by 1""",
        store_id,
    )
    return [
        Held("customers", r["asset"], r["customers"], Amount(int(r["units"]), int(r["value"])))
        for r in rows
        if r["units"] or r["value"]
    ]


async def receivables(tx: Tx, store_id: StoreId) -> Sequence[Held]:
    """Return what customers owe a store and nobody has written off, by asset."""
    rows = await tx.fetch(
        """select asset, count(*) filter (where units <> 0) as customers, sum(units) as units, sum(value) as value
           from (
               select e.customer_id, p.asset, sum(p.units) as units, sum(p.value_units) as value
               from entries e join postings p on p.entry_id = e.id
               where e.store_id = $1 and p.account = 'receivables' group by 1, 2) each group by 1 order by 1""",
        store_id,
    )
    return [
        Held("receivables", r["asset"], r["customers"], Amount(int(r["units"]), int(r["value"])))
        for r in rows
        if r["units"] or r["value"]
    ]


async def costs(tx: Tx, store_id: StoreId, first: datetime, end: datetime) -> Sequence[Held]:
    """Return what fees, accepted shortages and losses came to in a time (`end` is not part of it), by asset."""
    rows = await tx.fetch(
        """select p.account, p.asset, sum(p.units) as units, sum(p.value_units) as value
           from entries e join postings p on p.entry_id = e.id
           where e.store_id = $1 and p.account = any($4) and e.booked_at >= $2 and e.booked_at < $3
           group by 1, 2 having sum(p.units) <> 0 or sum(p.value_units) <> 0 order by 1, 2""",
        store_id,
        first,
        end,
        list(COSTS),
    )
    return [Held(r["account"], r["asset"], 0, Amount(int(r["units"]), int(r["value"]))) for r in rows]
