"""When each detector last looked: what says that somebody is watching."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kassa.alerts.seen import Beat
from kassa.core.ahead import AHEAD
from kassa.db.pool import Tx


async def begin(tx: Tx, name: str, every_seconds: int, now: datetime) -> bool:
    """Take a detector's next run if one is due; whoever asks at the same time is told that it is not."""
    taken = await tx.fetchval(
        """insert into detectors (name, every_seconds, begun_at) values ($1, $2, $3)
           on conflict (name) do update set begun_at = $3, every_seconds = $2
           where detectors.begun_at <= $4 or detectors.begun_at > $5
           returning name""",
        name,
        every_seconds,
        now,
        now - timedelta(seconds=every_seconds),
        now + AHEAD,
    )
    return taken is not None


async def enlist(tx: Tx, expected: Mapping[str, int], now: datetime) -> None:
    """Note that detectors begin to be run, by a process that starts or whose database is back: none is silent yet.

    Only the first start since a detector's last look counts: whoever starts again and again looks at nothing.
    """
    await tx.execute(
        """insert into detectors (name, every_seconds, begun_at, enlisted_at)
           select n, e, '-infinity', $3 from unnest($1::text[], $2::int[]) as d (n, e) order by n
           on conflict (name) do update set enlisted_at = excluded.enlisted_at
           where detectors.enlisted_at is null or detectors.ended_at >= detectors.enlisted_at""",
        list(expected),
        list(expected.values()),
        now,
    )


async def end(tx: Tx, name: str, every_seconds: int, findings: int, now: datetime) -> None:
    """Note that a detector has looked, with what it found committed in the same transaction."""
    await tx.execute(
        """insert into detectors (name, every_seconds, begun_at, ended_at, findings) values ($1, $2, $3, $3, $4)
           on conflict (name) do update set every_seconds = $2, ended_at = $3, findings = $4""",
        name,
        every_seconds,
        now,
        findings,
    )


async def pull_back(tx: Tx, now: datetime) -> None:
    """Take what a clock that was ahead has noted for noted now: who looks no more is silent from here on."""
    await tx.execute(
        """update detectors set ended_at = case when ended_at > $1 then $1 else ended_at end,
               enlisted_at = case when enlisted_at > $1 then $1 else enlisted_at end
           where ended_at > $2 or enlisted_at > $2""",
        now,
        now + AHEAD,
    )


async def beats(tx: Any) -> dict[str, Beat]:  # a transaction or the pool
    """Return the last run of every detector that ever ran, by name."""
    rows = await tx.fetch("select name, begun_at, enlisted_at, ended_at, findings from detectors order by name")
    return {row["name"]: Beat(**row) for row in rows}
