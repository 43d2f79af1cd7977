"""Which customers a text is about: the SQL. Every branch goes by an index."""

from collections.abc import Sequence

from kassa.core.ids import CustomerId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
_LAST = "\U0010ffff"
"""Behind it in bytes comes no character: whatever begins with a text stands before the text with this."""
_SEARCH = """
with owned as (
    select id as invoice_id, customer_id from invoices where store_id = $1 and id = $3
    union all select invoice_id, customer_id from payments where store_id = $1 and id = $3
    union all select invoice_id, customer_id from payments
        where store_id = $1 and network = any($5) and txid = any($4)
    union all select invoice_id, customer_id from payments where store_id = $1 and conflict_txid = any($4)
    union all select a.invoice_id, a.customer_id from unnest($6::text[], $7::bytea[]) as s (network, script)
        join addresses a on a.network = s.network and a.script = s.script where a.store_id = $1
)
select id from (
    select id from customers where store_id = $1 and id = $3
    union select id from customers where store_id = $1 and reference = $2
    union select customer_id from owned
    union select i.customer_id from owned o join invoices i on i.id = o.invoice_id
    union (select id from customers where store_id = $1 and name is not null
        and lower(name) collate "C" >= lower($2) and lower(name) collate "C" < lower($2) || $9
        order by lower(name) collate "C" limit $8)
) found where id is not null
"""


async def search(
    tx: Tx, store_id: StoreId, sought: Sought, scripts: Sequence[tuple[str, bytes]], networks: Sequence[str]
) -> list[CustomerId]:
    """Return a hundred customers of a store at most.

    By id, reference, or how their name begins; by an address of theirs or of their invoice; by the id of their invoice
    or payment, the payment's txid, or that of what replaced it. `scripts`: what is sought as an address, by network.
    `networks`: where a txid is looked for. Of names, capitals do not count.
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
        _LAST,
    )
    return [CustomerId(row["id"]) for row in rows]
