"""The books in the order in which they were written, page by page, for whoever keeps them elsewhere."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.store import shown
from kassa.ledger.view import Shown

PAGE = 1_000
SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Exported:
    """An entry, and what it is about in the words of others; None: nothing."""

    entry: Shown
    txid: str | None
    reference: str | None


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


async def pages(tx: Tx, store_id: StoreId, first: datetime, end: datetime) -> AsyncIterator[Sequence[Exported]]:
    """Yield a store's entries of a time, oldest number first, no more than a page in memory."""
    last = 0
    while True:
        rows: Sequence[Mapping[str, object]] = await tx.fetch(
            """select e.*, p.txid, coalesce(i.reference, c.reference) as reference from entries e
               left join payments p on p.id = e.payment_id left join invoices i on i.id = e.invoice_id
               left join customers c on c.id = e.customer_id
               where e.store_id = $1 and e.booked_at >= $2 and e.booked_at < $3 and e.id > $4
               order by e.id limit $5""",
            store_id,
            first,
            end,
            last,
            PAGE,
            timeout=SECONDS,
        )
        if not rows:
            return
        entries = await shown(tx, rows)
        yield [
            Exported(entry, row["txid"], row["reference"])  # type: ignore[arg-type]  # columns of these types
            for entry, row in zip(entries, rows, strict=True)
        ]
        last = entries[-1].number
