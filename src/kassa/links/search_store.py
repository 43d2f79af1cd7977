"""Which payment links a text is about: the SQL. Every branch goes by an index of what is sought."""

from collections.abc import Sequence

from kassa.core.ids import InvoiceId, LinkId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
_SEARCH = """
select id from (
    select id from payment_links where store_id = $1 and id = $3
    union select id from payment_links where store_id = $1 and reference = $2
    union select link_id from invoices where store_id = $1 and id = any($4::text[])
) found where id is not null order by id desc limit $5
"""


async def search(tx: Tx, store_id: StoreId, sought: Sought, invoices: Sequence[InvoiceId]) -> list[LinkId]:
    """Return links of a store, newest first: by their id or reference, and those of some invoices."""
    rows = await tx.fetch(_SEARCH, store_id, sought.text, sought.name, invoices, MOST)
    return [LinkId(row["id"]) for row in rows]
