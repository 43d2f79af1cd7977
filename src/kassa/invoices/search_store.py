"""Which invoices a text is about: the SQL. Every branch goes by an index of what is sought."""

from collections.abc import Sequence

from kassa.core.ids import InvoiceId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
_SEARCH = """
select id from (
    select id from invoices where store_id = $1 and id = $3
    union select id from invoices where store_id = $1 and reference = $2
    union select i.id from payment_links l
        cross join lateral (select id from invoices where link_id = l.id order by id desc limit $8) i
        where l.store_id = $1 and l.id = $3
    union select invoice_id from payments where store_id = $1 and id = $3
    union select invoice_id from payments where store_id = $1 and network = any($5) and txid = any($4)
    union select invoice_id from payments where store_id = $1 and conflict_txid = any($4)
    union select a.invoice_id from addresses a
        join unnest($6::text[], $7::bytea[]) as s (network, script)
        on a.network = s.network and a.script = s.script where a.store_id = $1
) found where id is not null order by id desc limit $8
"""


async def search(
    tx: Tx, store_id: StoreId, sought: Sought, scripts: Sequence[tuple[str, bytes]], networks: Sequence[str]
) -> list[InvoiceId]:
    """Return invoices of a store, newest first.

    By their id or reference, their link's id, a payment's id or txid, the txid of what replaced one, or an address.
    `scripts`: what is sought as an address, by network. `networks`: where a txid is looked for.
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
    )
    return [InvoiceId(row["id"]) for row in rows]
