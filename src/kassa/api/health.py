"""Liveness and readiness, without a key and without detail: they say whether, never why."""

import asyncio
from time import monotonic

import asyncpg

from kassa.api.reply import Reply, json_reply
from kassa.db.faults import DATABASE_AWAY
from kassa.db.migrate import missing
from kassa.house import House
from kassa.watch.store import network_rows

KEPT_SECONDS = 1.0
"""Anyone may ask, so asking often must not load the database."""
LOOK_SECONDS = 2
"""A database that takes longer to say how things stand is not ready; who asks meanwhile hears what was known."""


class Health:
    """Answers the two questions an orchestrator has."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._asked = float("-inf")
        self._ready = False

    async def live(self) -> Reply:
        """Answer that this process answers."""
        return json_reply(200, {"status": "ok"})

    async def ready(self) -> Reply:
        """Answer 200 when the database is migrated and every configured network has a living, unhalted follower."""
        if monotonic() - self._asked > KEPT_SECONDS:
            self._asked = monotonic()
            self._ready = await self._look()
        return json_reply(200, {"status": "ok"}) if self._ready else json_reply(503, {"status": "unavailable"})

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._house.database.pool.acquire() as connection:
                if await missing(connection):
                    return False
                rows = {row.name: row for row in await network_rows(connection)}
        except (*DATABASE_AWAY, asyncpg.UndefinedTableError):
            return False
        return all(
            (row := rows.get(name)) is not None and row.followed and row.state != "halted"
            for name in self._house.chains
        )
