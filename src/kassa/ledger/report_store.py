"""What the books and the open invoices come to, in a few sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import kassa.ledger.sums_store as sums
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.model import Amount
from kassa.ledger.store import CUSTOMERS

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
    return await _of_customers(tx, store_id, CUSTOMERS, "b.units > 0")


async def receivables(tx: Tx, store_id: StoreId) -> Sequence[Held]:
    """Return what customers owe a store and nobody has written off, by asset."""
    return await _of_customers(tx, store_id, "receivables", "b.owed > 0 and b.owed > b.written_off")


async def _of_customers(tx: Tx, store_id: StoreId, account: str, has: str) -> Sequence[Held]:
    rows = await tx.fetch(
        f"""select b.asset, count(*) as customers from customer_balances b join customers c on c.id = b.customer_id
            where c.store_id = $1 and {has} group by 1""",  # noqa: S608  # constants of this file
        store_id,
    )
    counted = {row["asset"]: row["customers"] for row in rows}
    return [
        Held(account, stand.asset, counted.get(stand.asset, 0), stand.amount)
        for stand in await sums.stands(tx, store_id, account)
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
