"""Indexes that counters jumped over, for ever: an earlier life of the database may have shown their addresses.

Sixteen bytes each, found by a hash of the script; what is found is derived again and compared whole.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_BITS = 31
"""Of an index (BIP 32)."""


class Passed:
    """Which index of which keychain a script may belong to."""

    def __init__(self) -> None:
        self._hashes: NDArray[np.int64] = np.empty(0, np.int64)
        self._places: NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, keychain_id: int, first_index: int, scripts: Sequence[bytes]) -> None:
        """Keep the scripts of indexes in a row."""
        places = np.arange(len(scripts), dtype=np.int64) + ((keychain_id << _BITS) + first_index)
        hashes = np.concatenate((self._hashes, np.fromiter(map(hash, scripts), np.int64, len(scripts))))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = hashes[order], np.concatenate((self._places, places))[order]

    def find(self, script: bytes) -> Iterator[tuple[int, int]]:
        """Return keychains and indexes that a script may belong to: all but always one at most."""
        wanted = hash(script)
        first, last = np.searchsorted(self._hashes, wanted, "left"), np.searchsorted(self._hashes, wanted, "right")
        return (divmod(int(place), 1 << _BITS) for place in self._places[first:last])
