"""Blocks on their way: while some are read and committed, those that follow are fetched already."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress

from kassa.chains.evm.matching import Fetched
from kassa.chains.evm.reader import Reader
from kassa.core.errors import ChainError

HEIGHTS_AT_ONCE = 10  # blocks asked for in one request
REQUESTS_AHEAD = 6  # such requests under way while one answer is decoded

_Group = tuple[int, asyncio.Future[list[Fetched]]]
"""The first height of some blocks, and their coming."""


class Ahead:
    """What is being fetched of one network, in order. It outlasts a call: the next one begins where the last ended.

    Nothing here is believed for having been fetched: who reads it checks that blocks link, and that the last is in the
    node's best chain now.
    """

    def __init__(self) -> None:
        self._running: deque[_Group] = deque()
        self._next = 0

    async def groups(self, reader: Reader, first: int, last: int, end: int) -> AsyncGenerator[list[Fetched], None]:
        """Yield the blocks first..last, several at a time; leave some of those up to `end` on their way.

        Who asks for fewer than one request holds gets just these: the node was too slow for more.
        """
        end = max(last, end) if last - first + 1 >= HEIGHTS_AT_ONCE else last
        if not self._running or self._running[0][0] != first:
            await self.drop()
            self._next = first
        done = False
        try:
            while first <= last:
                self._ask(reader, end)
                group = await self._running[0][1]
                self._running.popleft()
                if first + len(group) > last + 1:
                    group = self._kept(group, first, last)
                self._ask(reader, end)
                first += len(group)
                yield group
            done = True
        finally:
            if not done:
                await self.drop()

    async def drop(self) -> None:
        """Forget what is on its way."""
        tasks = [coming for _, coming in self._running]
        self._running.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, ChainError):
                await task

    def _ask(self, reader: Reader, end: int) -> None:
        while self._next <= end and len(self._running) < REQUESTS_AHEAD:
            heights = range(self._next, min(self._next + HEIGHTS_AT_ONCE, end + 1))
            # Not a TaskGroup: what is on its way outlasts the call that asked for it.
            self._running.append((heights.start, asyncio.create_task(reader.blocks(heights))))
            self._next = heights.stop

    def _kept(self, group: list[Fetched], first: int, last: int) -> list[Fetched]:
        """Keep what lies above `last` for the next call; return the rest."""
        above: asyncio.Future[list[Fetched]] = asyncio.get_running_loop().create_future()
        above.set_result(group[last + 1 - first :])
        self._running.appendleft((last + 1, above))
        return group[: last + 1 - first]
