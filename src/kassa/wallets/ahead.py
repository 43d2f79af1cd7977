"""The addresses that come next: issued by nobody, unless an earlier life of the database issued them.

A database restored from an old backup does not remember its last addresses, but the chain shows those that were paid.
So the next addresses of every keychain are watched too; one that is paid moves the counter past it, and its money is
booked as nobody's until a person finds its owner. The mark on disk (`mark.py`) covers what was shown and not paid;
what a counter jumped over for its sake may have been shown as well, and is watched for ever.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from asyncpg.pool import Pool

import kassa.wallets.store as wallets
from kassa.wallets.model import Derive, Unissued
from kassa.wallets.store import Keychain

AHEAD = 100
"""How many addresses above a counter are watched."""
MOST_SKIPPED = 20_000
"""Of the indexes that counters jumped over, so many of the latest are watched."""
MARGIN = 20
"""How many indexes above a paid one are passed over: others may have been shown and not paid yet."""


class Ahead:
    """The next addresses of one network's keychains, each derived once."""

    def __init__(self, network: str, derive: Derive, found: Callable[[list[int]], None]) -> None:
        """Make an empty one; `found` is told the search keys of addresses that are new in it."""
        self._network = network
        self._derive = derive
        self._found = found
        self._derived_to: dict[int, int] = {}
        self._skipped: set[tuple[int, int]] = set()
        self._jumps = -1
        self._by_script: dict[bytes, Unissued] = {}

    async def refresh(self, pool: "Pool[Any]") -> Sequence[Keychain]:
        """Follow the counters: derive what came within reach, forget what was issued.

        Return the keychains of the network.
        """
        fresh: list[Unissued] = []
        counters: dict[int, int] = {}
        found = await wallets.keychains(pool, self._network)
        for keychain in found:
            await asyncio.sleep(0)  # deriving a hundred addresses takes some milliseconds
            counters[keychain.id] = keychain.next_index
            first = max(keychain.next_index, self._derived_to.get(keychain.id, 0))
            last = min(keychain.next_index + AHEAD, 2**31)
            fresh += [
                Unissued(keychain.id, index, *self._derive(self._network, keychain.descriptor, index))
                for index in range(first, last)
            ]
            self._derived_to[keychain.id] = max(first, last)
        fresh += await self._jumped_over(pool)
        if not fresh:
            return found
        kept = (
            one
            for one in self._by_script.values()
            if one.index >= counters.get(one.keychain_id, 0) or (one.keychain_id, one.index) in self._skipped
        )
        self._by_script = {one.script: one for one in (*kept, *fresh)}
        self._found([one.key for one in fresh])
        return found

    async def _jumped_over(self, pool: "Pool[Any]") -> list[Unissued]:
        jumps = await wallets.last_jump(pool)
        if jumps == self._jumps:
            return []
        self._jumps, found = jumps, []
        for keychain, index in await wallets.jumped_over(pool, self._network, MOST_SKIPPED):
            if (keychain.id, index) not in self._skipped:
                await asyncio.sleep(0)
                self._skipped.add((keychain.id, index))
                found.append(Unissued(keychain.id, index, *self._derive(self._network, keychain.descriptor, index)))
        return found

    def find(self, script: bytes) -> Unissued | None:
        """Return the unissued address that a script belongs to."""
        return self._by_script.get(script)
