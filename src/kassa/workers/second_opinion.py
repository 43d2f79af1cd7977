"""Ask a second node of a network whether it holds our chain."""

import asyncio
from dataclasses import replace

import kassa.watch.opinion_store as opinions
import kassa.watch.store as watch
from kassa import flow
from kassa.chains.base import ChainSource
from kassa.core.errors import ChainInvalid, ChainMoved, ChainUnavailable
from kassa.house import House, second_connection_of
from kassa.watch.model import Opinion, Position
from kassa.watch.rules import deep

_AGAIN_SECONDS = 0.5


async def second_opinion(house: House, network: str) -> None:
    """Ask once per poll until cancelled; any number of processes may do it side by side."""
    configured = house.settings.networks[network]
    source = house.chains[network].connect(second_connection_of(configured))
    asker = Asker(house, network, source)
    try:
        while True:
            await asker.ask()
            await asyncio.sleep(configured.poll_seconds)
    finally:
        await source.close()


class Asker:
    """Asks one second node; remembers only whether the node was found to be one of this network."""

    def __init__(self, house: House, network: str, source: ChainSource) -> None:
        self._house, self._network, self._source = house, network, source
        self._checked = False

    async def ask(self) -> None:
        """Ask once and keep the answer, with what follows from it."""
        opinion = await self._opinion()
        now = self._house.clock.now()
        await self._house.database.run(lambda tx: flow.on_second_opinion(tx, self._house, opinion, now))

    async def _opinion(self) -> Opinion:
        asked = Opinion(self._network, self._house.clock.now())
        try:
            if not self._checked:
                await self._source.check()
                self._checked = True
            found = await self._compare(asked)
            if found.ours != found.theirs:
                # A reorganisation may have come between the two questions: ours is read after theirs.
                await asyncio.sleep(_AGAIN_SECONDS)
                found = await self._compare(asked)
            return found if found.ours == found.theirs else replace(found, parted_at=await self._parted_at(found))
        except ChainMoved:
            return asked  # nothing could be compared: as good as an answer, and no more
        except ChainUnavailable as fault:
            self._checked = False
            return replace(asked, fault=str(fault) or "no answer")
        except ChainInvalid as fault:
            self._checked = False
            return replace(asked, fault=str(fault), refused=True)

    async def _compare(self, asked: Opinion) -> Opinion:
        theirs = await self._source.tip()
        position = await self._position()
        if position is None or position.tip is None:
            return replace(asked, their_height=theirs.ref.height)
        settled = position.state in ("ok", "stalled")  # while we catch up ourselves, the node is not behind
        heights = replace(asked, our_height=position.tip.height if settled else None, their_height=theirs.ref.height)
        # What lies above may differ for a moment between honest nodes.
        depth = deep(self._house.chains[self._network].block_seconds)
        height = min(theirs.ref.height, position.tip.height) - (depth - 1)
        held = await self._held(height)
        if held is None:
            return heights
        said = await self._source.block_hash(height)
        return replace(heights, height=height, ours=await self._held(height), theirs=said)

    async def _parted_at(self, found: Opinion) -> int | None:
        """Return the lowest height at which the chains differ, as far down as we hold or held blocks."""
        async with self._house.database.transaction() as tx:
            first, known = await opinions.first_height(tx, self._network), await opinions.parted_at(tx, self._network)
        low, high = first, found.height
        if low is None or high is None or await self._differs(low):
            return low if low is None or known is None else min(low, known)
        while high - low > 1:
            middle = (low + high) // 2
            if await self._differs(middle):
                high = middle
            else:
                low = middle
        return high

    async def _differs(self, height: int) -> bool:
        return await self._source.block_hash(height) != await self._held(height)

    async def _held(self, height: int) -> str | None:
        async with self._house.database.transaction() as tx:
            return await opinions.block_hash(tx, self._network, height)

    async def _position(self) -> Position | None:
        async with self._house.database.transaction() as tx:
            return (await watch.positions(tx)).get(self._network)
