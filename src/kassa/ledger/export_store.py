"""The books in the order in which they were written, page by page, for whoever keeps them elsewhere."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.store import shown
from kassa.ledger.view import Shown

PAGE = 1_000
SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class RateKept:
    """Where the rate of an entry's postings comes from, of when it is, and (as JSON) all that went into it."""

    source: str | None
    at: datetime | None
    method: str | None


@dataclass(frozen=True, slots=True)
class Exported:
    """An entry, and what it is about in the words of others; None: nothing."""

    entry: Shown
    txid: str | None
    reference: str | None
    rate: RateKept


async def count(tx: Tx, store_id: StoreId, first: datetime, end: datetime) -> int:
    """Return how many entries were booked in a time (`end` is not part of it)."""
    found: int = await tx.fetchval(
        "select count(*) from entries where store_id = $1 and booked_at >= $2 and booked_at < $3",
        store_id,
        first,
        end,
        timeout=SECONDS,
    )
    return found


async def pages(
    tx: Tx, store_id: StoreId, currency: str, first: datetime, end: datetime
) -> AsyncIterator[Sequence[Exported]]:
    """Yield entries of a store, which is priced in a currency, of a time: oldest number first, a page in memory.

    The numbers are found once, and each page by its own: whatever PostgreSQL takes for the best plan of a page that
    begins after a number and lies in a time, it may read the rest anew for each. To be called in a transaction.
    """
    numbers = await tx.cursor(
        "select id from entries where store_id = $1 and booked_at >= $2 and booked_at < $3 order by id",
        store_id,
        first,
        end,
        timeout=SECONDS,
    )
    while found := await numbers.fetch(PAGE, timeout=SECONDS):
        rows: Sequence[Mapping[str, Any]] = await tx.fetch(
            """select e.*, p.txid, coalesce(i.reference, c.reference) as reference, r.* from entries e
               left join payments p on p.id = e.payment_id left join invoices i on i.id = e.invoice_id
               left join customers c on c.id = e.customer_id left join spends s on s.id = e.spend_id
               left join payment_options o on o.invoice_id = p.invoice_id and o.asset = p.asset
               cross join lateral (values
                   ('spend', s.rate_source, s.rate_at, s.rate_method),
                   ('book', p.book_rate_source, p.book_rate_at, p.book_rate_method),
                   ('late', p.late_rate_source, p.late_rate_at, p.late_rate_method),
                   ('option', o.rate_source, o.rate_at, o.rate_method)
               ) as r (by, rate_source, rate_at, rate_method)
               where e.id = any($1::bigint[])
                   and r.by = case when e.spend_id is not null then 'spend'
                       when o.asset is null or i.currency <> $2 then 'book'
                       when p.late_rate is not null then 'late' else 'option' end
               order by e.id""",
            [row["id"] for row in found],
            currency,
            timeout=SECONDS,
        )
        entries = await shown(tx, rows)
        yield [
            Exported(
                entry, row["txid"], row["reference"], RateKept(row["rate_source"], row["rate_at"], row["rate_method"])
            )
            for entry, row in zip(entries, rows, strict=True)
        ]
