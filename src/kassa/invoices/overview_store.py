"""How a store's business goes: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.invoices.flags import sets_with, write_set
from kassa.invoices.model import Flag
from kassa.invoices.store import WAITING

MOST = 1_000
"""Of what needs attention, so many are counted; beyond that it is only known that there are more."""


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


async def waiting(tx: Tx, store_id: StoreId, flags: Sequence[Flag]) -> dict[Flag, int]:
    """Return how many invoices of whatever age wait for a person's decision, by each flag that they bear.

    More than `MOST` are returned as one more than that: they are not read to their end.
    """
    sets = sorted({each for flag in flags for each in sets_with(flag, undecided=True)})
    rows = await tx.fetch(
        f"""select n from unnest($2::text[]) with ordinality as s (flags, place) cross join lateral (
               select count(*) as n from (
                   select from invoices where store_id = $1 and flags = s.flags::text[] and {WAITING} limit $3
               ) as found
           ) as counted order by place""",  # noqa: S608  # a constant of invoices/store.py
        store_id,
        [write_set(each) for each in sets],
        MOST + 1,
    )
    counts = {each: row["n"] for each, row in zip(sets, rows, strict=True)}
    return {flag: min(sum(n for each, n in counts.items() if flag in each), MOST + 1) for flag in flags}


async def failed_deliveries(tx: Tx, store_id: StoreId, since: datetime) -> int:
    """Return how many deliveries that were made since a moment were given up; at most one more than `MOST`."""
    failed: int = await tx.fetchval(
        """select count(*) from (
               select from deliveries where store_id = $1 and state = 'failed' and created_at >= $2 limit $3
           ) as found""",
        store_id,
        since,
        MOST + 1,
    )
    return failed
