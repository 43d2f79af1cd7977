"""The counts of all processes: the SQL."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncpg.pool import Pool

Window = tuple[str, str, int]
"""Kind, subject, first second."""

MOST = 50_000

_ADD = """
with relaxed as materialized (select set_config('synchronous_commit', 'off', true) as value), added as (
    insert into request_counts (kind, subject, start, count)
    select u.kind, u.subject, u.start, u.count
    from relaxed, unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) as u (kind, subject, start, count)
    where relaxed.value = 'off' order by 1, 2, 3
    on conflict (kind, subject, start) do update set count = request_counts.count + excluded.count
    returning kind, subject, start, count
)
select a.kind, a.subject, a.start, a.count, coalesce(before.count, 0) as previous
from added a
join unnest($1::text[], $2::text[], $3::timestamptz[], $5::timestamptz[]) as w (kind, subject, start, first)
    using (kind, subject, start)
left join request_counts before
    on (before.kind, before.subject, before.start) = (a.kind, a.subject, w.first)
"""


async def add(
    pool: "Pool[Any]", counts: Mapping[Window, int], seconds: Mapping[str, int]
) -> dict[Window, tuple[int, int]]:
    """Add to the counts of windows, of which one of a kind lasts so many `seconds`.

    Return what they are with everybody's together, each with the count of the window before it.
    """
    columns = [list(column) for column in zip(*counts, strict=True)]
    starts = [datetime.fromtimestamp(start, UTC) for start in columns[2]]
    before = [start - timedelta(seconds=seconds[kind]) for kind, start in zip(columns[0], starts, strict=True)]
    rows = await pool.fetch(_ADD, columns[0], columns[1], starts, list(counts.values()), before)
    return {_window(row): (row["count"], row["previous"]) for row in rows}


async def since(pool: "Pool[Any]", moment: datetime) -> dict[Window, int]:
    """Return the counts of windows that began at or after a moment: at most `MOST`, the largest."""
    rows = await pool.fetch(
        "select kind, subject, start, count from request_counts where start >= $1 order by count desc limit $2",
        moment,
        MOST,
    )
    return {_window(row): row["count"] for row in rows}


async def forget(pool: "Pool[Any]", before: datetime, limit: int) -> int:
    """Delete the counts of up to `limit` windows that began before a moment; return how many."""
    done: str = await pool.execute(
        """delete from request_counts where (kind, subject, start) in (
               select kind, subject, start from request_counts where start < $1 order by start limit $2
               for update skip locked)""",
        before,
        limit,
    )
    return int(done.removeprefix("DELETE "))


def _window(row: Any) -> Window:  # asyncpg's record
    return row["kind"], row["subject"], int(row["start"].timestamp())
