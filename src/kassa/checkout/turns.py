"""How many strangers make the database work at once: the others wait for a turn, and hold no connection meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kassa.core.errors import Unavailable

AT_ONCE = 4
"""A fifth of the connections of a process: the rest is for whoever has a key, and for the loops."""
WAIT_SECONDS = 5


class Turns:
    """The places of one process, given in the order in which callers came."""

    def __init__(self, at_once: int = AT_ONCE, wait_seconds: float = WAIT_SECONDS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a place while the block runs, which must not wait for its caller; raises `Unavailable` without one."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("too many others are being served") from None
        try:
            yield
        finally:
            self._places.release()
