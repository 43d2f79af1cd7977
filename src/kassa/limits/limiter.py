"""Counts requests in memory, and once a second together with all other processes in the database.

No request waits for that: what is decided is decided by what is known here, which is at most a second behind what other
processes let in. A restart goes on from the database.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

import kassa.limits.store as counts
from kassa.core.clock import Clock
from kassa.core.errors import Throttled
from kassa.db.faults import DATABASE_AWAY
from kassa.db.pool import Database
from kassa.limits.model import Kind, Limit, Tally
from kassa.limits.rules import Room, is_ahead, rolled, room_of, wait_seconds
from kassa.limits.store import Window

FLUSH_SECONDS = 1.0
FORGOTTEN_AT_ONCE = 5_000
_FORGET_EVERY = 600

_NAMES = frozenset(kind.value for kind in Kind)
_WORDS = {
    Kind.KEY: "too many requests with this API key",
    Kind.STORE: "too many requests with the keys of this store",
    Kind.ADDRESS: "too many requests from this address",
    Kind.REFUSED: "too many requests without a valid API key from this address",
    Kind.ISSUED: "this store has taken as many addresses as its quota allows",
}

log = structlog.get_logger()


class Limiter:
    """The limits of one process."""

    def __init__(self, limits: Mapping[Kind, Limit] | None = None) -> None:
        self._limits = limits or {}
        self._rooms: dict[Room, OrderedDict[str, Tally]] = {}
        self._unsent: dict[Window, int] = {}

    def check(self, kind: Kind, subject: str | None, now: datetime, *, count: bool = True) -> None:
        """Count one more (unless told not to); raise `Throttled` when there is no room, which is not counted."""
        limit = self._limits.get(kind)
        if limit is None or limit.most == 0 or subject is None:
            return
        second = int(now.timestamp())
        tally = rolled(self._known(kind, subject) or Tally(second - second % limit.seconds), limit, second)
        if wait := wait_seconds(tally, limit, second):
            raise Throttled(f"{_WORDS[kind]}; try again in {wait} seconds", seconds=wait, code="rate_limited")
        if count:
            self._keep(kind, subject, Tally(tally.start, tally.current + 1, tally.previous))
            window = (kind.value, subject, tally.start)
            if window in self._unsent or len(self._unsent) < counts.MOST:  # the database may be away for long
                self._unsent[window] = self._unsent.get(window, 0) + 1

    def _known(self, kind: Kind, subject: str) -> Tally | None:
        room = self._rooms.get(room_of(kind, subject))
        return None if room is None else room.get(subject)

    def _keep(self, kind: Kind, subject: str, tally: Tally) -> None:
        """Put a tally last in its room; where that is full, the first goes, which was counted longest ago."""
        room = self._rooms.setdefault(room_of(kind, subject), OrderedDict())
        if subject not in room and len(room) >= counts.MOST:
            room.popitem(last=False)
        room[subject] = tally
        room.move_to_end(subject)

    @asynccontextmanager
    async def keeping(self, database: Database, clock: Clock) -> AsyncIterator[None]:
        """Go on from what the database knows, and share what is counted while the block runs."""
        try:
            await self._load(database, clock)
        except DATABASE_AWAY as error:
            log.warning("request counts could not be read", error=type(error).__name__)
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self._loop(database, clock))
            try:
                yield
            finally:
                loop.cancel()
        await self._send(database)

    async def _load(self, database: Database, clock: Clock) -> None:
        second = int(clock.now().timestamp())
        reach = max((limit.seconds for limit in self._limits.values()), default=0)
        known = await counts.since(database.pool, clock.now() - timedelta(seconds=2 * reach))
        for (kind, subject, start), count in sorted(known.items(), key=lambda each: each[0][2]):
            limit = self._limits.get(Kind(kind)) if kind in _NAMES else None
            if limit is not None and not is_ahead(start, second):
                tally = rolled(self._known(Kind(kind), subject) or Tally(start), limit, start)
                self._keep(Kind(kind), subject, rolled(Tally(start, count, tally.previous), limit, second))

    async def _loop(self, database: Database, clock: Clock) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._send(database)
            # One bite a round, until there is no whole one: what a flood has left must not hold up the counts.
            if rounds % _FORGET_EVERY or await self._forget(database, clock.now()) < FORGOTTEN_AT_ONCE:
                rounds += 1

    async def _send(self, database: Database) -> None:
        sent, self._unsent = self._unsent, {}
        if not sent:
            return
        try:
            seconds = {kind.value: limit.seconds for kind, limit in self._limits.items()}
            totals = await counts.add(database.pool, sent, seconds)
        except DATABASE_AWAY as error:
            log.warning("request counts could not be shared", error=type(error).__name__)
            for window, count in sent.items():
                self._unsent[window] = self._unsent.get(window, 0) + count
            return
        for window, (total, previous) in totals.items():
            kind, subject = Kind(window[0]), window[1]
            tally = self._known(kind, subject)
            if tally is not None and tally.start == window[2]:
                # Others may have let in all of the window before, in which nobody came here.
                current = total + self._unsent.get(window, 0)
                self._keep(kind, subject, Tally(tally.start, current, max(tally.previous, previous)))

    async def _forget(self, database: Database, now: datetime) -> int:
        second = int(now.timestamp())
        for (kind, _), room in self._rooms.items():
            old = [who for who, tally in room.items() if second - tally.start > 2 * self._limits[kind].seconds]
            for subject in old:
                del room[subject]
        reach = max((limit.seconds for limit in self._limits.values()), default=0)
        try:
            return await counts.forget(database.pool, now - timedelta(seconds=3 * reach), FORGOTTEN_AT_ONCE)
        except DATABASE_AWAY as error:
            log.warning("old request counts could not be deleted", error=type(error).__name__)
            return 0
