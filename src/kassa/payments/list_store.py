"""Which payments of a store are listed, and which a text belongs to: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import InvoiceId, PaymentId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
_OF_LINK = 1_000
"""So many of a link's invoices are looked through: most of them nobody paid."""

_OF_STORE = "select id, invoice_id from payments where store_id = $1"
_WANTED = """ and ($3::text is null or status = $3) and ($4::text is null or asset = $4)
    and ($5::timestamptz is null or first_seen_at > $5) and ($6::timestamptz is null or first_seen_at < $6)
    and ($7::text[] is null or id = any($7)) and ($8::text is null or invoice_id = $8)"""
_NEWEST = _OF_STORE + " and ($2::text is null or id < $2)" + _WANTED + " order by id desc limit $9"
# Days may lie far back, and a payment may have been written long after it was seen: the order is that of their index.
_BEFORE = " and ($2::text is null or (first_seen_at, id) < (select first_seen_at, id from payments where id = $2))"
_OF_DAYS = _OF_STORE + _BEFORE + _WANTED + " order by first_seen_at desc, id desc limit $9"
_SEARCH = """
select id from (
    select id from payments where store_id = $1 and id = $3
    union select id from payments where store_id = $1 and network = any($5) and txid = any($4)
    union select id from payments where store_id = $1 and conflict_txid = any($4)
    union select p.id from invoices i join payments p on p.invoice_id = i.id where i.store_id = $1 and i.id = $3
    union select p.id from invoices i join payments p on p.invoice_id = i.id where i.store_id = $1 and i.reference = $2
    union select p.id from payment_links l
        cross join lateral (select id from invoices where link_id = l.id order by id desc limit $9) i
        cross join lateral (select id from payments where invoice_id = i.id order by id desc limit $8) p
        where l.store_id = $1 and l.id = $3
    union select p.id from unnest($6::text[], $7::bytea[]) as s (network, script)
        join addresses a on a.network = s.network and a.script = s.script
        join payments p on p.address_id = a.id where p.store_id = $1
) found order by id desc limit $8
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which payments of a store to list; None: any. Both moments are exclusive."""

    status: str | None = None
    asset: str | None = None
    invoice_id: str | None = None
    seen_after: datetime | None = None
    seen_before: datetime | None = None
    found: Sequence[PaymentId] | None = None


async def page(
    tx: Tx, store_id: StoreId, filters: Filters, before: str | None, limit: int
) -> list[tuple[PaymentId, InvoiceId | None]]:
    """Return a store's payments (id and invoice; None: a deposit), newest first, those before an id."""
    some_days = filters.seen_after is not None or filters.seen_before is not None
    rows = await tx.fetch(
        _OF_DAYS if some_days else _NEWEST,
        store_id,
        before,
        filters.status,
        filters.asset,
        filters.seen_after,
        filters.seen_before,
        filters.found,
        filters.invoice_id,
        limit,
    )
    return [(PaymentId(row["id"]), row["invoice_id"]) for row in rows]


async def search(
    tx: Tx, store_id: StoreId, sought: Sought, scripts: Sequence[tuple[str, bytes]], networks: Sequence[str]
) -> list[PaymentId]:
    """Return payments of a store, newest first.

    By id or txid, the txid of what replaced them, their invoice's id or reference, its link's id (of the link's newest
    thousand invoices), or an address. `scripts`: what is sought as an address, by network. `networks`: where a txid is
    looked for.
    """
    rows = await tx.fetch(
        _SEARCH,
        store_id,
        sought.text,
        sought.name,
        sought.txids,
        list(networks),
        [network for network, _ in scripts],
        [script for _, script in scripts],
        MOST,
        _OF_LINK,
    )
    return [PaymentId(row["id"]) for row in rows]
