"""The books in the database: only ever added to."""

from collections.abc import Sequence
from datetime import datetime

from kassa.core.ids import PaymentId
from kassa.db.pool import Tx
from kassa.ledger.model import Entry
from kassa.ledger.rules import Balances


async def posted(tx: Tx, payments: Sequence[PaymentId]) -> dict[PaymentId, Balances]:
    """Return what the books say about payments: balances by account and asset."""
    rows = await tx.fetch(
        """select e.payment_id, p.account, p.asset, sum(p.units) as units
           from entries e join postings p on p.entry_id = e.id
           where e.payment_id = any($1) group by 1, 2, 3 having sum(p.units) <> 0""",
        payments,
    )
    found: dict[PaymentId, dict[tuple[str, str], int]] = {}
    for row in rows:
        found.setdefault(PaymentId(row["payment_id"]), {})[row["account"], row["asset"]] = int(row["units"])
    return dict(found)


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Write entries with their postings; an unbalanced one is refused by the database at commit."""
    if not entries:
        return
    ids = await tx.fetch(
        """insert into entries (store_id, payment_id, invoice_id, reason, booked_at)
           select s, p, i, r, $5 from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality
               as e (s, p, i, r, place) order by place returning id""",
        [entry.store_id for entry in entries],
        [entry.payment_id for entry in entries],
        [entry.invoice_id for entry in entries],
        [entry.reason for entry in entries],
        now,
    )
    rows = [
        (row["id"], posting.account, posting.asset, posting.units)
        for row, entry in zip(sorted(ids, key=lambda row: row["id"]), entries, strict=True)
        for posting in entry.postings
    ]
    await tx.execute(
        """insert into postings (entry_id, account, asset, units)
           select * from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[])""",
        *map(list, zip(*rows, strict=True)),
    )
