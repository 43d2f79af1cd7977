"""Which life of a database this is: a restore begins another, in which nothing that a process remembers is true."""

import asyncio
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from kassa.db.migrate import is_half_restored

Life: TypeAlias = tuple[int, datetime | None]
"""The table of restores itself, which is made anew by whatever loads a dump, and the last restore that it tells of."""


class Lives:
    """The one life that a process works in, once it is `held`: a connection that finds another one is refused."""

    def __init__(self) -> None:
        self._held: Life | None = None
        self.over = asyncio.Event()
        """Set when another life was found: the process has to end, and begin anew."""

    async def hold(self, connection: "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]") -> None:
        """Hold to the life that a connection finds; those that are open already are not asked."""
        self._held = await _read(connection)

    async def check(self, connection: "asyncpg.Connection[Any]") -> None:
        """Refuse a new connection to another life; raises `ConnectionError`, as where there is no database at all.

        While it is being restored as well: whoever was connected when that began has kept it from beginning.
        """
        if self._held is not None and await _read(connection) != self._held:
            self.over.set()
            raise ConnectionRefusedError("the database was restored since this process started")


async def _read(connection: Any) -> Life | None:  # a connection
    if await is_half_restored(connection):
        return None
    try:
        row = await connection.fetchrow(
            "select 'restores'::regclass::oid::bigint as made, max(restored_at) as restored_at from restores"
        )
    except asyncpg.UndefinedTableError:
        return None
    return row["made"], row["restored_at"]
