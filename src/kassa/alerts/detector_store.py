"""When each detector last looked: what says that somebody is watching."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kassa.db.pool import Tx


@dataclass(frozen=True, slots=True)
class Beat:
    """A detector's last run."""

    name: str
    every_seconds: int
    begun_at: datetime
    ended_at: datetime | None
    findings: int | None


async def begin(tx: Tx, name: str, every_seconds: int, now: datetime) -> bool:
    """Take a detector's next run if one is due; whoever asks at the same time is told that it is not."""
    taken = await tx.fetchval(
        """insert into detectors (name, every_seconds, begun_at) values ($1, $2, $3)
           on conflict (name) do update set begun_at = $3, every_seconds = $2 where detectors.begun_at <= $4
           returning name""",
        name,
        every_seconds,
        now,
        now - timedelta(seconds=every_seconds),
    )
    return taken is not None


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


async def beats(tx: Any) -> dict[str, Beat]:  # a transaction or the pool
    """Return the last run of every detector that ever ran, by name."""
    rows = await tx.fetch("select name, every_seconds, begun_at, ended_at, findings from detectors order by name")
    return {row["name"]: Beat(**row) for row in rows}
