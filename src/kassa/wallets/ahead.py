"""The addresses that come next: issued by nobody, unless an earlier life of the database issued them.

A database restored from an old backup does not remember its last addresses, but the chain shows those that were paid.
So the next addresses of every keychain are watched too; one that is paid moves the counter past it, and its money is
booked as nobody's until a person finds its owner. The mark on disk (`mark.py`) covers what was shown and not paid.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from asyncpg.pool import Pool

import kassa.wallets.store as wallets
from kassa.wallets.model import Derive, Unissued

AHEAD = 100
"""How many addresses above a counter are watched."""
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
        self._by_script: dict[bytes, Unissued] = {}

    async def refresh(self, pool: "Pool[Any]") -> None:
        """Follow the counters: derive what came within reach, forget what was issued."""
        fresh: list[Unissued] = []
        counters: dict[int, int] = {}
        for keychain in await wallets.keychains(pool, self._network):
            await asyncio.sleep(0)  # deriving a hundred addresses takes some milliseconds
            counters[keychain.id] = keychain.next_index
            first = max(keychain.next_index, self._derived_to.get(keychain.id, 0))
            last = min(keychain.next_index + AHEAD, 2**31)
            fresh += [
                Unissued(keychain.id, index, *self._derive(self._network, keychain.descriptor, index))
                for index in range(first, last)
            ]
            self._derived_to[keychain.id] = max(first, last)
        if not fresh:
            return
        kept = (one for one in self._by_script.values() if one.index >= counters.get(one.keychain_id, 0))
        self._by_script = {one.script: one for one in (*kept, *fresh)}
        self._found([one.key for one in fresh])

    def find(self, script: bytes) -> Unissued | None:
        """Return the unissued address that a script belongs to."""
        return self._by_script.get(script)
