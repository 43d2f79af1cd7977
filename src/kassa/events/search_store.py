"""Which events a text is about: the SQL. Every branch goes by an index of what is sought."""

from kassa.core.ids import EventId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
# As in the index `events_about`, letter by letter. A credit has no id of its own: it is about its customer.
_ABOUT = r"""substring(object from '^\{"object":"[a-z_]+","(?:id|customer_id)":"([a-z]{3}_[0-9a-z]{29})"')"""
_APART = "(invoice_id is null or type not like 'invoice.%' and type not like 'payment.%')"
_SEARCH = """
select id from (
    select id, sequence from events where store_id = $1 and id = $2
    union (select id, sequence from events where store_id = $1 and invoice_id = $2
        order by created_at desc, position desc limit $3)
    union select id, sequence from events where store_id = $1
        and invoice_id = (select invoice_id from payments where store_id = $1 and id = $2) and ABOUT = $2
    union (select id, sequence from events where store_id = $1 and ABOUT = $2 and APART
        order by sequence desc nulls last limit $3)
) found where sequence is not null order by sequence desc limit $3
""".replace("ABOUT", _ABOUT).replace("APART", _APART)


async def search(tx: Tx, store_id: StoreId, sought: Sought) -> list[EventId]:
    """Return numbered events of a store, newest first: by their own id, or that of what they are about.

    An invoice's are those of its payments, too.
    """
    rows = await tx.fetch(_SEARCH, store_id, sought.name, MOST)
    return [EventId(row["id"]) for row in rows]
