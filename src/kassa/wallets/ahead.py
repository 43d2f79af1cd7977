"""The addresses that come next: issued by nobody, unless an earlier life of the database issued them.

A database restored from an old backup does not remember its last addresses, but the chain shows those that were paid.
So the next addresses of every keychain are watched too; one that is paid moves the counter past it, and its money is
booked as nobody's until a person finds its owner. The mark on disk (`mark.py`) covers what was shown and not paid;
what a counter jumped over for its sake may have been shown as well, and is watched for ever.
"""

import asyncio
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from asyncpg.pool import Pool

import kassa.wallets.store as wallets
from kassa.wallets.model import Derive, Unissued
from kassa.wallets.passed import Passed
from kassa.wallets.store import Keychain

AHEAD = 100
"""How many addresses above a counter are watched."""
MARGIN = 20
"""How many indexes above a paid one are passed over: others may have been shown and not paid yet."""
_AT_ONCE = 50  # derived without letting others work: some milliseconds


class Ahead:
    """The next addresses of one network's keychains, each derived once."""

    def __init__(self, network: str, derive: Derive, found: Callable[[list[int]], None]) -> None:
        """Make an empty one; `found` is told the search keys of addresses that are new in it."""
        self._network = network
        self._derive = derive
        self._found = found
        self._derived_to: dict[int, int] = {}
        self._jumps: set[int] = set()
        self._passed = Passed()
        self._descriptors: dict[int, str] = {}
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
        await self._pass_over(pool)
        if not fresh:
            return found
        kept = (one for one in self._by_script.values() if one.index >= counters.get(one.keychain_id, 0))
        self._by_script = {one.script: one for one in (*kept, *fresh)}
        self._found([one.key for one in fresh])
        return found

    async def _pass_over(self, pool: "Pool[Any]") -> None:
        """Look for everything that counters jumped over: nobody knows which of it was shown."""
        for jump in await wallets.jumps(pool, self._network, self._jumps):
            scripts, keys = [], array("q")
            for index in range(jump.from_index, jump.to_index):
                if index % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                _, script, key = self._derive(self._network, jump.descriptor, index)
                scripts.append(script)
                keys.append(key)
            self._descriptors[jump.keychain_id] = jump.descriptor
            self._passed.add(jump.keychain_id, jump.from_index, scripts)
            self._found(list(keys))
            self._jumps.add(jump.id)

    def find(self, script: bytes) -> Unissued | None:
        """Return the unissued address that a script belongs to."""
        if script in self._by_script:
            return self._by_script[script]
        for keychain_id, index in self._passed.find(script):
            text, derived, key = self._derive(self._network, self._descriptors[keychain_id], index)
            if derived == script:
                return Unissued(keychain_id, index, text, script, key)
        return None
