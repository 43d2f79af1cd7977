"""How a store's business goes: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kassa.core.ids import StoreId
from kassa.db.pool import Tx


@dataclass(frozen=True, slots=True)
class Volume:
    """What invoices in a currency that settled on a day (UTC) were settled with."""

    day: date
    currency: str
    invoices: int
    units: int


async def volume(tx: Tx, store_id: StoreId, since: datetime) -> list[Volume]:
    """Return what settled since a moment, by day and currency."""
    rows = await tx.fetch(
        """select (settled_at at time zone 'UTC')::date as day, currency, count(*) as invoices,
               sum(settled_units) as units
           from invoices where store_id = $1 and settled_at >= $2 and status = 'settled' group by 1, 2 order by 1, 2""",
        store_id,
        since,
    )
    return [Volume(row["day"], row["currency"], row["invoices"], int(row["units"])) for row in rows]


async def statuses(tx: Tx, store_id: StoreId, first_id: str) -> dict[str, int]:
    """Return how many invoices that were made since the moment of an id stand where."""
    rows = await tx.fetch(
        "select status, count(*) as n from invoices where store_id = $1 and id >= $2 group by 1", store_id, first_id
    )
    return {row["status"]: row["n"] for row in rows}


async def flagged(tx: Tx, store_id: StoreId, first_id: str, flags: Sequence[str]) -> dict[str, int]:
    """Return how many of them bear a flag that nobody decided on yet, by flag."""
    rows = await tx.fetch(
        """select flag, count(*) as n from invoices i cross join unnest(i.flags) as flag
           where store_id = $1 and id >= $2 and flags <> '{}' and not flags @> '{marked}' and flag = any($3)
           group by 1""",
        store_id,
        first_id,
        list(flags),
    )
    return {row["flag"]: row["n"] for row in rows}


async def failed_deliveries(tx: Tx, store_id: StoreId, since: datetime) -> int:
    """Return how many deliveries were given up since a moment."""
    failed: int = await tx.fetchval(
        "select count(*) from deliveries where store_id = $1 and state = 'failed' and created_at >= $2",
        store_id,
        since,
    )
    return failed
