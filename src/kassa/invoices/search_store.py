"""Which invoices a text belongs to: the SQL. Every branch goes by a unique index or that of references."""

from collections.abc import Sequence

from kassa.core.ids import InvoiceId, StoreId
from kassa.db.pool import Tx

MOST = 100


async def search(
    tx: Tx, store_id: StoreId, text: str, scripts: Sequence[tuple[str, bytes]], networks: Sequence[str]
) -> list[InvoiceId]:
    """Return invoices of a store, newest first: by their id or reference, by a payment's id or txid, by an address.

    `scripts`: what the text stands for as an address, by network. `networks`: where a txid is looked for.
    """
    rows = await tx.fetch(
        """select id from (
               select id from invoices where store_id = $1 and id = $2
               union select id from invoices where store_id = $1 and reference = $2
               union select invoice_id from payments where store_id = $1 and id = $2
               union select invoice_id from payments where store_id = $1 and network = any($3)
                   and txid in (lower($2), '0x' || lower($2))
               union select a.invoice_id from addresses a
                   join unnest($4::text[], $5::bytea[]) as s (network, script)
                   on a.network = s.network and a.script = s.script where a.store_id = $1
           ) found where id is not null order by id desc limit $6""",
        store_id,
        text,
        list(networks),
        [network for network, _ in scripts],
        [script for _, script in scripts],
        MOST,
    )
    return [InvoiceId(row["id"]) for row in rows]
