"""Which customers a text belongs to: the SQL. Every branch goes by an index."""

from collections.abc import Sequence

from kassa.core.ids import CustomerId, StoreId
from kassa.db.pool import Tx

MOST = 100
_LAST = "\U0010ffff"
"""Behind it in bytes comes no character: whatever begins with a text stands before the text with this."""


async def search(tx: Tx, store_id: StoreId, text: str, scripts: Sequence[tuple[str, bytes]]) -> list[CustomerId]:
    """Return a hundred customers of a store at most: by id, reference, address, or how their name begins.

    `scripts`: what the text stands for as an address, by network. Of names, capitals do not count.
    """
    rows = await tx.fetch(
        """select id from customers where store_id = $1 and id = $2
           union select id from customers where store_id = $1 and reference = $2
           union select a.customer_id from unnest($4::text[], $5::bytea[]) as s (network, script)
               join addresses a on a.network = s.network and a.script = s.script
               where a.store_id = $1 and a.customer_id is not null
           union (select id from customers where store_id = $1 and name is not null
               and lower(name) collate "C" >= lower($2) and lower(name) collate "C" < lower($2) || $3
               order by lower(name) collate "C" limit $6)""",
        store_id,
        text,
        _LAST,
        [network for network, _ in scripts],
        [script for _, script in scripts],
        MOST,
    )
    return [CustomerId(row["id"]) for row in rows]
