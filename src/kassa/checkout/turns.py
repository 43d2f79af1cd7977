"""How many strangers make the database work at once: the others wait for a turn, and hold no connection meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from kassa.core.errors import Unavailable

AT_ONCE = 4
"""A fifth of the connections of a process: the rest is for whoever has a key, and for the loops."""
WAIT_SECONDS = 5


class Turns:
    """The places of one process, given in the order in which callers came; of those for the same thing, one has one.

    They would wait for each other at its row, and those for other things behind them.
    """

    def __init__(self, at_once: int = AT_ONCE, wait_seconds: float = WAIT_SECONDS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds
        self._lines: dict[str, _Line] = {}  # of the things that somebody wants

    @asynccontextmanager
    async def turn(self, of: str | None = None) -> AsyncIterator[None]:
        """Hold a place while the block runs, which must not wait for its caller; raises `Unavailable` without one.

        `of` is what it is for, unless nobody else can be in the way there.
        """
        async with nullcontext() if of is None else self._line(of):
            await self._wait_for(self._places)
            try:
                yield
            finally:
                self._places.release()

    @asynccontextmanager
    async def _line(self, of: str) -> AsyncIterator[None]:
        line = self._lines.setdefault(of, _Line())
        line.length += 1
        try:
            await self._wait_for(line.head)
            try:
                yield
            finally:
                line.head.release()
        finally:
            line.length -= 1
            if line.length == 0:
                del self._lines[of]

    async def _wait_for(self, free: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await free.acquire()
        except TimeoutError:
            raise Unavailable("too many others are being served") from None


class _Line:
    """Those who want the same: whoever is served, and how many there are with them."""

    def __init__(self) -> None:
        self.head = asyncio.Semaphore(1)
        self.length = 0
