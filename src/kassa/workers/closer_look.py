"""What a follower looks at now and then, beside the chain: its node itself, and who may act for our addresses."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from math import inf
from time import monotonic

import structlog

from kassa import flow
from kassa.chains.base import ChainSource
from kassa.core.errors import ChainError
from kassa.db.pool import Tx
from kassa.house import House, connection_of
from kassa.watch.keys import WatchedKeys
from kassa.watch.node_store import Node

log = structlog.get_logger()
NODE_EVERY_SECONDS = 60
DELEGATES_EVERY_SECONDS = 3600
MOST_WARNING = 1_000  # characters
MOST_SKEW_SECONDS = 10**9
"""Whatever a node says of the time, it is no more wrong than this: some thirty years."""

Note = Callable[[Tx], Awaitable[None]]
"""Writes something down about the node, in a transaction of who follows it."""


class CloserLook:
    """Looks when it is time. What the node does not tell is left for the next time: following does not lean on it."""

    def __init__(
        self,
        house: House,
        network: str,
        source: ChainSource,
        keys: WatchedKeys,
        write: Callable[[Note], Awaitable[None]],
    ) -> None:
        self._house, self._network = house, network
        self._source, self._keys, self._write = source, keys, write
        self._node_at = self._delegates_at = -inf
        self.pushed_at: datetime | None = None  # set by whoever listens

    async def look(self) -> None:
        """Look at what is due."""
        now = monotonic()  # our clock may be what is wrong
        try:
            if now - self._node_at >= NODE_EVERY_SECONDS:
                self._node_at = now
                await self._look_at_node()
            if now - self._delegates_at >= DELEGATES_EVERY_SECONDS:
                self._delegates_at = now
                await self._look_at_addresses()
        except ChainError as fault:
            log.warning("a closer look at the node failed", network=self._network, fault=str(fault))

    async def _look_at_node(self) -> None:
        chain = self._house.chains[self._network]
        if chain.probe is None:
            return
        probe = chain.probe(connection_of(self._house.settings.networks[self._network]))
        try:
            told, now = await probe.clock(), self._house.clock.now()
            about = await probe.about()
        finally:
            await probe.close()
        skew = None if told is None else _bounded(round((told - now).total_seconds()))
        warning = "; ".join(about.warnings)[:MOST_WARNING]
        node = Node(about.name, about.outdated, warning, about.peers, about.fee, skew, now, None, self.pushed_at)

        async def note(tx: Tx) -> None:
            await flow.note_clock(tx, self._network, skew, now)
            await flow.note_words(tx, self._network, node)

        await self._write(note)

    async def _look_at_addresses(self) -> None:
        opened = await self._keys.open()
        found = await self._source.delegates(opened.addresses)
        named = {f"0x{address.hex()}": to for address, to in found.items()}
        now = self._house.clock.now()
        await self._write(lambda tx: flow.on_delegates(tx, self._house, self._network, named, now))


def _bounded(seconds: int) -> int:
    return max(-MOST_SKEW_SECONDS, min(seconds, MOST_SKEW_SECONDS))
