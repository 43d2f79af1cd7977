"""Liveness and readiness, without a key and without detail: they say whether, never why."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import asyncpg

import kassa.alerts.detector_store as detectors
from kassa import flow
from kassa.alerts.service_rules import silent
from kassa.api.reply import Reply, json_reply
from kassa.db.faults import DATABASE_AWAY
from kassa.db.migrate import missing
from kassa.db.pool import Tx
from kassa.house import House
from kassa.watch.store import network_rows

KEPT_SECONDS = 1.0
"""Anyone may ask, so asking often must not load the database."""
STARTING_SECONDS = 30
"""How long a process that starts waits for the followers of its networks before it calls itself ready."""
LOOK_SECONDS = 2
"""A database that takes longer to say how things stand is not ready; who asks meanwhile hears what was known."""


class Health:
    """Answers the two questions an orchestrator has, and those of watchers elsewhere: is every network followed, and
    does anybody here watch?
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._began = monotonic()
        self._is_settled = False
        self._ready = _Kept(house, self._look)
        self._networks = _Kept(house, self._are_followed)
        self._monitor = _Kept(house, self._look_for_watchers)

    async def live(self) -> Reply:
        """Answer that this process answers."""
        return json_reply(200, {"status": "ok"})

    async def ready(self) -> Reply:
        """Answer 200 when the database answers and is migrated: what one network lacks takes nobody else's API away.

        At its start a process waits for its networks, for half a minute, so that the first orders are not refused.
        """
        return await self._ready.reply()

    async def networks(self) -> Reply:
        """Answer 200 when every configured network has a living follower and settles payments."""
        return await self._networks.reply()

    async def monitor(self) -> Reply:
        """Answer 200 when every detector has looked of late, which only a look itself proves, and no start.

        A dead one opens no alert, so ask from elsewhere.
        """
        return await self._monitor.reply()

    async def _look(self, connection: Tx) -> bool:
        if await missing(connection):
            return False
        if not self._is_settled:
            waited = monotonic() - self._began > STARTING_SECONDS
            self._is_settled = waited or await self._are_followed(connection)
        return self._is_settled

    async def _are_followed(self, connection: Tx) -> bool:
        rows = {row.name: row for row in await network_rows(connection)}
        return all(
            (row := rows.get(name)) is not None and row.followed and row.state != "halted"
            for name in self._house.chains
        )

    async def _look_for_watchers(self, connection: Tx) -> bool:
        beats = await detectors.beats(connection)
        return not silent(flow.expected(self._house.settings), beats, self._house.clock.now(), strictly=True)


class _Kept:
    """A question to the database, and its last answer for those who ask again at once."""

    def __init__(self, house: House, look: Callable[[Tx], Awaitable[bool]]) -> None:
        self._house, self._look = house, look
        self._asked = float("-inf")
        self._well = False

    async def reply(self) -> Reply:
        if monotonic() - self._asked > KEPT_SECONDS:
            self._asked = monotonic()
            self._well = await self._ask()
        return json_reply(200, {"status": "ok"}) if self._well else json_reply(503, {"status": "unavailable"})

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._house.database.pool.acquire() as connection:
                return await self._look(connection)
        except (*DATABASE_AWAY, asyncpg.UndefinedTableError):
            return False
