"""An invoice as server-sent events (WHATWG HTML, section 9.2): its public part, whenever it changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import msgspec

from kassa import flow
from kassa.core.errors import Unavailable
from kassa.db.faults import DATABASE_AWAY
from kassa.events.store import CHANNEL
from kassa.house import House

POLL_SECONDS = 3.0
REST_SECONDS = 0.3
"""At least this long between two looks, however many hints come; also the second look that a hint calls for."""
LOOKS_PER_SECOND = 50
"""Of all streams together: a hint wakes every one of them, and the API shares their process and their connections."""
LONGEST_SECONDS = 900
SILENT_SECONDS = 15
"""After so long without news a comment is sent, so that proxies keep the connection."""
MOST = 200
"""Streams of one process: each costs a few queries a second at the worst."""


class Streams:
    """The streams of this process. They share one connection that listens for hints."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._open = 0
        self._hint = asyncio.Event()
        self._connection: Any = None  # asyncpg's, while anyone listens
        self._changing = asyncio.Lock()

    def check_room(self) -> None:
        """Raise `Unavailable` when there are as many streams as there may be."""
        if self._open >= MOST:
            raise Unavailable("too many streams are open; load the page again instead")

    async def follow(self, invoice_id: str) -> AsyncIterator[bytes]:
        """Yield an invoice as it is now, and again when it changed, for a quarter of an hour at most."""
        if self._open >= MOST:  # many passed `check_room` together: this one is asked to come again later
            yield b"retry: 30000\n\n"
            return
        end, last, spoke = monotonic() + LONGEST_SECONDS, b"", monotonic()
        async with self._listening():
            yield b"retry: 3000\n\n"
            while monotonic() < end:
                hint = self._hint
                public = await self._look(invoice_id)
                data = last if public is None else msgspec.json.encode(public)
                if data != last:
                    last, spoke = data, monotonic()
                    yield b"data: " + data + b"\n\n"
                elif monotonic() - spoke > SILENT_SECONDS:
                    spoke = monotonic()
                    yield b": still here\n\n"
                if public is not None and public["is_final"]:
                    return
                await asyncio.sleep(max(REST_SECONDS, self._open / LOOKS_PER_SECOND))
                with suppress(TimeoutError):
                    await asyncio.wait_for(hint.wait(), POLL_SECONDS)

    async def _look(self, invoice_id: str) -> dict[str, Any] | None:  # JSON
        try:
            async with self._house.database.pool.acquire() as connection:
                return await flow.public_invoice(connection, self._house, invoice_id, self._house.clock.now())
        except (Unavailable, *DATABASE_AWAY):
            return None  # the next look may do better; what was shown stays true of its time

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        self._open += 1
        try:
            async with self._changing:
                if self._connection is None:
                    with suppress(*DATABASE_AWAY):  # without hints, looking every few seconds still finds everything
                        self._connection = await self._house.database.pool.acquire(timeout=2)
                        await self._connection.add_listener(CHANNEL, self._on_hint)
            yield
        finally:
            self._open -= 1
            if self._open == 0:
                await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        async with self._changing:
            if self._open or self._connection is None:
                return
            connection, self._connection = self._connection, None
            with suppress(*DATABASE_AWAY):
                await connection.remove_listener(CHANNEL, self._on_hint)
            with suppress(*DATABASE_AWAY):
                await self._house.database.pool.release(connection)

    def _on_hint(self, *_: object) -> None:
        self._hint.set()
        self._hint = asyncio.Event()
