"""Which life of a database this is: a restore begins another, in which nothing that a process remembers is true."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from kassa.db.migrate import is_half_restored

_TIMELINE = "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
# pg_control_checkpoint() tells the former one until the first checkpoint after a promotion has ended.


@dataclass(frozen=True, slots=True)
class Life:
    """What tells a life from others.

    `made`: the table of restores itself, which is made anew by whatever loads a dump. `restored_at`: the last restore
    that it tells of. `timeline`: of the server's log, eight hexadecimal digits; a standby that takes over begins
    another, and so does a recovery to a moment. None where this server tells it to no ordinary role.
    """

    made: int
    restored_at: datetime | None
    timeline: str | None


class Lives:
    """The one life that a process works in, once it is `held`: a connection that finds another one is refused."""

    def __init__(self) -> None:
        self._held: Life | None = None
        self.over = asyncio.Event()
        """Set when another life was found: the process has to end, and begin anew."""
        self.reason = ""

    @property
    def timeline(self) -> str | None:
        """The timeline of the life that is held, if one is and the server tells it."""
        return None if self._held is None else self._held.timeline

    async def hold(self, connection: "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]") -> None:
        """Hold to the life that a connection finds; those that are open already are not asked."""
        self._held = await _read(connection)

    async def check(self, connection: "asyncpg.Connection[Any]") -> None:
        """Refuse a new connection to another life; raises `ConnectionError`, as where there is no database at all.

        While it is being restored as well: whoever was connected when that began has kept it from beginning. And while
        it is a standby, which may take over beneath the connection.
        """
        if self._held is None:
            return
        if await connection.fetchval("select pg_is_in_recovery()"):
            raise ConnectionRefusedError("the database is a standby, which takes no writes")
        self.reason = self.reason or _difference(self._held, await _read(connection))
        if self.reason:
            self.over.set()
            raise ConnectionRefusedError(self.reason)


def _difference(held: Life, found: Life | None) -> str:
    if found is None or (found.made, found.restored_at) != (held.made, held.restored_at):
        return "the database was restored since this process started"
    if None not in (held.timeline, found.timeline) and found.timeline != held.timeline:
        return "another server took over the database since this process started, or it was recovered to a moment"
    return ""


async def _read(connection: Any) -> Life | None:  # a connection
    if await is_half_restored(connection):
        return None
    try:
        row = await connection.fetchrow(
            "select 'restores'::regclass::oid::bigint as made, max(restored_at) as restored_at from restores"
        )
    except asyncpg.UndefinedTableError:
        return None
    return Life(row["made"], row["restored_at"], await _timeline(connection))


async def _timeline(connection: Any) -> str | None:  # a connection
    try:
        timeline: str | None = await connection.fetchval(_TIMELINE)
    except asyncpg.PostgresError:
        # Not told to this role, or not known to a server that is no plain PostgreSQL.
        return None
    return timeline
