"""Where things lie in a raw block, found by length alone, and which of them touch a watched key.

This is most of the cost of catching up, so it exists twice: compiled (`_scan.c`) and, where no compiler was at hand, in
Python. Both give the same answer. The format: BIP 144 and the developer reference of bitcoin.org, and Litecoin's flag 8
(a MWEB part, empty and only in the block's last transaction, followed by the extension block).
"""

import struct
from array import array
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kassa.chains.base import Keys
from kassa.chains.matching import NO_KEYS, members

try:
    _scan: Any = import_module("kassa.chains.bitcoin._scan")
except ImportError:
    _scan = None

COMPILED = hasattr(_scan, "touched")  # what an older version compiled may still lie beside a newer one's Python
HEADER_BYTES = 80
SHORTEST_SCRIPT = 11  # of which bytes 3..11 are the key
WITNESS, MWEB = 1, 8

Offsets = NDArray[np.uint32]
_NO_OFFSETS: Offsets = np.empty(0, np.uint32)
_u16_at = struct.Struct("<H").unpack_from
_u32_at = struct.Struct("<I").unpack_from
_u64_at = struct.Struct("<Q").unpack_from


class Damaged(ValueError):
    """The bytes are not what they should be; whoever fetched them asks again."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets into a block: of each transaction, of every script that can be ours, of every spent outpoint."""

    starts: Offsets
    inputs_at: Offsets
    outputs_end: Offsets
    ends: Offsets
    script_at: Offsets
    outpoint_at: Offsets


class WatchedKeys:
    """Sorted keys prepared for many comparisons: beside them a bitmap of two bytes a key that settles most at once."""

    __slots__ = ("filter", "keys")

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.filter = _scan.make_filter(keys) if COMPILED else None

    def renewed(self, keys: Keys) -> "WatchedKeys":
        """Prepare these keys, unless they are the same array: arrays of keys are replaced, never changed."""
        return self if keys is self.keys else WatchedKeys(keys)


def walk(body: bytes, *, compiled: bool = COMPILED) -> Layout:
    """Walk a block by length alone; raise `Damaged` for bytes that are no block."""
    try:
        parts = _scan.walk(body) if compiled else _walk(body)
    except (ValueError, IndexError, OverflowError, struct.error) as error:  # a length may be beyond every offset
        raise Damaged(str(error)) from None
    return Layout(*[np.frombuffer(part, np.uint32) for part in parts])


def touched(body: bytes, destinations: WatchedKeys, outpoints: WatchedKeys, *, compiled: bool = COMPILED) -> list[int]:
    """Return the numbers of the transactions that pay a watched destination or spend a watched outpoint, ascending.

    Raises `Damaged` for exactly the bytes for which `walk` does.
    """
    if not compiled:
        return _touched(body, destinations.keys, outpoints.keys)
    try:
        found = _scan.touched(body, destinations.keys, destinations.filter, outpoints.keys, outpoints.filter)
    except ValueError as error:
        raise Damaged(str(error)) from None
    return sorted(set(np.frombuffer(found, np.uint32).tolist()))


def read_flags(body: bytes, at: int) -> tuple[int, int]:
    """Return the flags of the transaction at `at`, and where its inputs start."""
    if body[at + 4]:
        return 0, at + 4
    flags = body[at + 5]
    if not flags or flags & ~(WITNESS | MWEB):
        raise Damaged("a transaction has unknown flags")
    return flags, at + 6


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """Read a length of 1, 3, 5 or 9 bytes; a longer form than needed is refused, as nodes do."""
    first = body[at]
    if first < 0xFD:
        return first, at + 1
    if first == 0xFD:
        value, size, least = _u16_at(body, at + 1)[0], 3, 0xFD
    elif first == 0xFE:
        value, size, least = _u32_at(body, at + 1)[0], 5, 0x10000
    else:
        value, size, least = _u64_at(body, at + 1)[0], 9, 0x1_0000_0000
    if value < least:
        raise Damaged("a length is written longer than needed")
    return value, at + size


def skip_tail(body: bytes, at: int, inputs: int, flags: int) -> int:
    """Skip witnesses, the empty MWEB part of a HogEx, and the lock time."""
    if flags & WITNESS:
        for _ in range(inputs):
            items, at = read_varint(body, at)
            for _ in range(items):
                size = body[at]
                if size < 0xFD:
                    at += size + 1
                else:
                    size, at = read_varint(body, at)
                    at += size
    if flags & MWEB:
        if body[at]:
            raise Damaged("a block holds a MWEB transaction outside its extension")
        at += 1
    return at + 4


def _walk(body: bytes) -> tuple["array[int]", ...]:
    """Walk in Python. Every step consumes bytes, and reading outside them raises, so it ends."""
    layout = tuple([array("I") for _ in range(6)])
    count, at = read_varint(body, HEADER_BYTES)
    flags = 0
    for _ in range(count):
        flags, at = _walk_transaction(body, at, *layout)
    if at > len(body) or not count:
        raise Damaged("it ends early")
    if at < len(body) and not flags & MWEB:
        raise Damaged("it has bytes after its last transaction")
    return layout


def _walk_transaction(
    body: bytes,
    at: int,
    starts: "array[int]",
    inputs_at: "array[int]",
    outputs_end: "array[int]",
    ends: "array[int]",
    script_at: "array[int]",
    outpoint_at: "array[int]",
) -> tuple[int, int]:
    starts.append(at)
    flags, at = read_flags(body, at)
    inputs_at.append(at)
    inputs, at = read_varint(body, at)
    for _ in range(inputs):
        outpoint_at.append(at)
        size = body[at + 36]  # the usual one-byte lengths are read in line: half the time
        if size < 0xFD:
            at += size + 41
        else:
            size, at = read_varint(body, at + 36)
            at += size + 4
    outputs, at = read_varint(body, at)
    for _ in range(outputs):
        size = body[at + 8]
        if size < 0xFD:
            at += 9
        else:
            size, at = read_varint(body, at + 8)
        if size >= SHORTEST_SCRIPT:
            script_at.append(at)
        at += size
    outputs_end.append(at)
    at = skip_tail(body, at, inputs, flags)
    if at > len(body):
        raise Damaged("it ends early")
    ends.append(at)
    return flags, at


def _touched(body: bytes, destinations: Keys, outpoints: Keys) -> list[int]:
    layout = walk(body, compiled=False)
    pays = _matching(layout.script_at, _gather(body, layout.script_at, 3), destinations)
    spends = _matching(layout.outpoint_at, _outpoint_keys(body, layout.outpoint_at), outpoints)
    if not pays.size and not spends.size:
        return []
    places = np.searchsorted(layout.starts, np.concatenate((pays, spends)), side="right") - 1
    return np.unique(places).tolist()  # type: ignore[no-any-return]  # numpy's own types are vague here


def _matching(at: Offsets, keys: Keys, watched: Keys) -> Offsets:
    # Sorted needles walk the watched keys in order, which is faster than it costs to sort them; mostly nothing matches.
    if not members(np.sort(keys), watched).any():
        return _NO_OFFSETS
    return at[members(keys, watched)]


def _gather(body: bytes, at: Offsets, skip: int) -> Keys:
    """Read the 8 bytes that lie `skip` after each offset; the walk has made sure that they exist."""
    if not at.size:
        return NO_KEYS
    raw = np.frombuffer(body, np.uint8)
    keys: Keys = raw[(at.astype(np.int64) + skip)[:, None] + np.arange(8)].view("<i8").ravel()
    return keys


def _outpoint_keys(body: bytes, at: Offsets) -> Keys:
    if not at.size:
        return NO_KEYS
    raw = np.frombuffer(body, np.uint8)
    number = raw[(at.astype(np.int64) + 32)[:, None] + np.arange(4)].view("<u4").ravel()
    keys: Keys = _gather(body, at, 0) ^ number.astype(np.int64)
    return keys
