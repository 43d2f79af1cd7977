"""Which deliveries a text is about: the SQL. Every branch goes by an index of what is sought."""

from collections.abc import Sequence

from kassa.core.ids import DeliveryId, EventId, StoreId
from kassa.core.sought import Sought
from kassa.db.pool import Tx

MOST = 100
# There is no index by events: the ids of an event's deliveries begin with its time.
_SEARCH = """
select id from (
    select id from deliveries where store_id = $1 and id = $2
    union select d.id from unnest($4::text[]) as e (id)
        cross join lateral (select id from deliveries where store_id = $1 and event_id = e.id
            and id between 'dlv_' || substr(e.id, 5, 10) and 'dlv_' || substr(e.id, 5, 10) || 'z'
            order by id desc limit $3) d
    union (select id from deliveries where store_id = $1 and webhook_id = $2 order by id desc limit $3)
) found order by id desc limit $3
"""


async def search(tx: Tx, store_id: StoreId, sought: Sought, events: Sequence[EventId]) -> list[DeliveryId]:
    """Return deliveries of a store, newest first: by their own id, that of their event or endpoint; of these events."""
    rows = await tx.fetch(_SEARCH, store_id, sought.name, MOST, [sought.name, *events])
    return [DeliveryId(row["id"]) for row in rows]
