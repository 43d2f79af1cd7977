"""Find the transactions that may concern us in raw blocks, without decoding the rest.

A block is walked once by length alone. The 64-bit keys of all its output scripts and spent outpoints are then compared
with the watched ones, and only transactions with a match are decoded. The format: BIP 144, the developer reference of
bitcoin.org, and Litecoin's flag 8 (a MWEB part, only in the block's last transaction, followed by the extension block).
"""

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kassa.chains.base import Keys
from kassa.chains.bitcoin.networks import BitcoinNetwork
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Block, BlockRef, Input, Transaction, Transfer, TransferKey

try:
    _scan: Any = import_module("kassa.chains.bitcoin._scan")
except ImportError:  # no compiler at installation: the same in Python, slower
    _scan = None

HEADER_BYTES = 80
SHORTEST_SCRIPT = 11  # of which bytes 3..11 are the key
_WITNESS, _MWEB = 1, 8
_FINAL = 0xFFFFFFFE  # BIP 125: a smaller sequence signals that the transaction may be replaced
_key_at = struct.Struct("<q").unpack_from
_u32_at = struct.Struct("<I").unpack_from
_u16_at = struct.Struct("<H").unpack_from
_u64_at = struct.Struct("<Q").unpack_from
Offsets = NDArray[np.uint32]
_NO_KEYS: Keys = np.empty(0, np.int64)


class Damaged(ValueError):
    """The bytes are not what they should be; whoever fetched them asks again."""


@dataclass(frozen=True, slots=True)
class Names:
    """What facts call this network and its coin."""

    network: str
    asset: str
    chain: BitcoinNetwork


@dataclass(frozen=True, slots=True)
class RawOutput:
    """One output: its script and its value in smallest units."""

    script: bytes
    units: int


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """A decoded transaction. `outpoints` are the 36 bytes of each spent output; `end` is where its bytes end."""

    txid: str
    outpoints: tuple[bytes, ...]
    outputs: tuple[RawOutput, ...]
    coinbase: bool
    signals: bool
    flags: int
    end: int


def script_key(script: bytes) -> int | None:
    """Return the key of an output script: its bytes 3..11 as a little-endian signed number.

    In every standard form (pkh, sh, wpkh, wsh, tr) these are bytes of the hash or key. Shorter scripts are never ours.
    """
    return int(_key_at(script, 3)[0]) if len(script) >= SHORTEST_SCRIPT else None


def outpoint_key(outpoint: bytes) -> int:
    """Return the key of a spent output (36 bytes): the first 8 bytes of its txid as serialised (little-endian, signed),
    XOR the output's number."""
    return int(_key_at(outpoint, 0)[0]) ^ int(_u32_at(outpoint, 32)[0])


def outpoint_text(outpoint: bytes) -> str:
    """Write a spent output as "txid:number"."""
    return f"{outpoint[31::-1].hex()}:{_u32_at(outpoint, 32)[0]}"


def read_block(
    body: bytes, ref: BlockRef, destinations: Keys, outpoints: Keys, names: Names, *, compiled: bool = True
) -> Block:
    """Reduce a raw block to the transactions that touch a watched key; raise `ChainUnavailable` for damaged bytes.

    The header must have the hash that was asked for. When something matched, the transactions must also have the merkle
    root that the header commits to, so that no payment is taken from a body that the header does not vouch for.
    """
    try:
        if block_hash(body) != ref.hash:
            raise Damaged("its header has another hash")
        starts, hits = find(body, destinations, outpoints, compiled=compiled)
        if hits:
            _check_merkle_root(body, starts)
        found = [read_transaction(body, int(starts[hit])) for hit in hits]
        transactions = tuple([describe(raw, destinations, names) for raw in found])
        moment = datetime.fromtimestamp(block_time(body), UTC)
    except (Damaged, IndexError, struct.error) as error:
        raise ChainUnavailable(f"block {ref.hash} arrived damaged ({error}): asking again") from None
    return Block(ref, body[35:3:-1].hex(), moment, transactions)


def block_hash(body: bytes) -> str:
    """Return the hash of a raw block's header as explorers show it."""
    if len(body) < HEADER_BYTES:
        raise Damaged("it is shorter than a header")
    return _double_sha256(body[:HEADER_BYTES])[::-1].hex()


def block_time(body: bytes) -> int:
    """Return the miner's claimed time in a raw block's header, in Unix seconds."""
    return int(_u32_at(body, 68)[0])


def find(body: bytes, destinations: Keys, outpoints: Keys, *, compiled: bool = True) -> tuple[Offsets, Sequence[int]]:
    """Return where each transaction of a block starts, and the numbers of those that touch a watched key, ascending."""
    starts, script_at, outpoint_at = (_walk_compiled if compiled and _scan else walk)(body)
    hit_at = np.concatenate(
        (
            script_at[members(_gather(body, script_at, 3), destinations)],
            outpoint_at[members(_outpoint_keys(body, outpoint_at), outpoints)],
        )
    )
    if not hit_at.size:
        return starts, ()
    return starts, np.unique(np.searchsorted(starts, hit_at, side="right") - 1).tolist()


def walk(body: bytes) -> tuple[Offsets, Offsets, Offsets]:
    """Walk a block by length alone: the offsets of its transactions, of its scripts that can be ours, of its outpoints.

    Raises `Damaged`, `IndexError` or `struct.error` for bytes that are no block. Every step consumes bytes, so it ends.
    """
    starts, script_at, outpoint_at = array("I"), array("I"), array("I")
    count, at = _varint(body, HEADER_BYTES)
    flags = 0
    for _ in range(count):
        starts.append(at)
        flags, at = _walk_transaction(body, at, script_at, outpoint_at)
    if at > len(body) or not count:
        raise Damaged("it ends early")
    if at < len(body) and not flags & _MWEB:
        raise Damaged("it has bytes after its last transaction")
    return np.frombuffer(starts, np.uint32), np.frombuffer(script_at, np.uint32), np.frombuffer(outpoint_at, np.uint32)


def read_transaction(body: bytes, start: int = 0, *, alone: bool = False) -> RawTransaction:
    """Decode the transaction at `start`. `alone`: the bytes hold nothing else, so that it ends where they do.

    Raises `Damaged`, `IndexError` or `struct.error`. The id of a transaction that is wholly inside MWEB is not computed
    (it is a kernel's, not a hash of these bytes); it has neither inputs nor outputs that could concern us.
    """
    flags, inputs_at = _flags(body, start)
    count, at = _varint(body, inputs_at)
    outpoints, signals = [], False
    for _ in range(count):
        outpoints.append(body[at : at + 36])
        size, at = _varint(body, at + 36)
        signals |= _u32_at(body, at + size)[0] < _FINAL
        at += size + 4
    count, at = _varint(body, at)
    outputs = []
    for _ in range(count):
        units = _u64_at(body, at)[0]
        size, at = _varint(body, at + 8)
        outputs.append(RawOutput(body[at : at + size], units))
        at += size
    outputs_end = at
    end = len(body) if alone else _skip_tail(body, at, len(outpoints), flags)
    if at > end - 4 or end > len(body):
        raise Damaged("a transaction ends early")
    txid = _double_sha256(body[start : start + 4] + body[inputs_at:outputs_end] + body[end - 4 : end])[::-1].hex()
    coinbase = len(outpoints) == 1 and outpoints[0] == _NULL_OUTPOINT
    return RawTransaction(txid, tuple(outpoints), tuple(outputs), coinbase, signals, flags, end)


def describe(raw: RawTransaction, destinations: Keys, names: Names) -> Transaction:
    """Reduce a decoded transaction to its outputs whose key is watched and to all that it spends."""
    keys = [script_key(output.script) for output in raw.outputs]
    known = members(np.array([key or 0 for key in keys], np.int64), destinations) if keys else ()
    transfers = []
    for number, (output, key, watched) in enumerate(zip(raw.outputs, keys, known, strict=True)):
        if key is None or not watched or not output.units:
            continue
        if output.units > names.chain.max_units:
            raise Damaged("an output holds more than there is")
        transfers.append(
            Transfer(
                TransferKey(names.network, raw.txid, f"out:{number}"),
                output.script,
                names.asset,
                output.units,
                names.chain.coinbase_maturity if raw.coinbase else 0,
            )
        )
    spent = () if raw.coinbase else raw.outpoints
    inputs = tuple([Input(outpoint_text(outpoint), outpoint_key(outpoint)) for outpoint in spent])
    return Transaction(raw.txid, tuple(transfers), inputs, raw.signals and not raw.coinbase)


def touches(raw: RawTransaction, destinations: Keys, outpoints: Keys) -> bool:
    """Tell whether a decoded transaction pays a watched destination or spends a watched outpoint."""
    pays, spends = transaction_keys(raw)
    return bool(members(pays, destinations).any() or members(spends, outpoints).any())


def transaction_keys(raw: RawTransaction) -> tuple[Keys, Keys]:
    """Return the keys of the destinations that a transaction pays, and of the outpoints that it spends."""
    pays = [key for output in raw.outputs if (key := script_key(output.script)) is not None]
    return np.array(pays, np.int64), np.array([outpoint_key(outpoint) for outpoint in raw.outpoints], np.int64)


_NULL_OUTPOINT = bytes(32) + b"\xff" * 4


def members(keys: Keys, watched: Keys) -> NDArray[np.bool_]:
    """Tell for each key whether it is among the watched ones, which are sorted."""
    if not watched.size or not keys.size:
        return np.zeros(keys.size, np.bool_)
    place = np.searchsorted(watched, keys)
    place[place == watched.size] = 0
    found: NDArray[np.bool_] = watched[place] == keys
    return found


def _gather(body: bytes, at: Offsets, skip: int) -> Keys:
    """Read the 8 bytes that lie `skip` after each offset; the walk has made sure that they exist."""
    if not at.size:
        return _NO_KEYS
    raw = np.frombuffer(body, np.uint8)
    keys: Keys = raw[(at.astype(np.int64) + skip)[:, None] + np.arange(8)].view(np.int64).ravel()
    return keys


def _outpoint_keys(body: bytes, at: Offsets) -> Keys:
    if not at.size:
        return _NO_KEYS
    raw = np.frombuffer(body, np.uint8)
    number = raw[(at.astype(np.int64) + 32)[:, None] + np.arange(4)].view(np.uint32).ravel()
    keys: Keys = _gather(body, at, 0) ^ number.astype(np.int64)
    return keys


def _walk_compiled(body: bytes) -> tuple[Offsets, Offsets, Offsets]:
    try:
        starts, script_at, outpoint_at = _scan.walk(body)
    except ValueError as error:
        raise Damaged(str(error)) from None
    return np.frombuffer(starts, np.uint32), np.frombuffer(script_at, np.uint32), np.frombuffer(outpoint_at, np.uint32)


def _walk_transaction(body: bytes, at: int, script_at: "array[int]", outpoint_at: "array[int]") -> tuple[int, int]:
    """Walk one transaction. The one-byte lengths are read in line: this loop is the cost of catching up."""
    flags, at = _flags(body, at)
    inputs, at = _varint(body, at)
    for _ in range(inputs):
        outpoint_at.append(at)
        size = body[at + 36]
        if size < 0xFD:
            at += size + 41
        else:
            size, at = _varint(body, at + 36)
            at += size + 4
    outputs, at = _varint(body, at)
    for _ in range(outputs):
        size = body[at + 8]
        if size < 0xFD:
            at += 9
        else:
            size, at = _varint(body, at + 8)
        if size >= SHORTEST_SCRIPT:
            script_at.append(at)
        at += size
    at = _skip_tail(body, at, inputs, flags)
    if at > len(body):
        raise Damaged("a transaction ends early")
    return flags, at


def _flags(body: bytes, at: int) -> tuple[int, int]:
    """Return a transaction's flags and where its inputs start."""
    if body[at + 4]:
        return 0, at + 4
    flags = body[at + 5]
    if not flags or flags & ~(_WITNESS | _MWEB):
        raise Damaged(f"a transaction has flags {flags}")
    return flags, at + 6


def _skip_tail(body: bytes, at: int, inputs: int, flags: int) -> int:
    """Skip witnesses, the empty MWEB part of a HogEx, and the lock time."""
    if flags & _WITNESS:
        for _ in range(inputs):
            items = body[at]
            if items < 0xFD:
                at += 1
            else:
                items, at = _varint(body, at)
            for _ in range(items):
                size = body[at]
                if size < 0xFD:
                    at += size + 1
                else:
                    size, at = _varint(body, at)
                    at += size
    if flags & _MWEB:
        if body[at]:
            raise Damaged("a block holds a MWEB transaction outside its extension")
        at += 1
    return at + 4


def _varint(body: bytes, at: int) -> tuple[int, int]:
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


def _check_merkle_root(body: bytes, starts: Offsets) -> None:
    level = [bytes.fromhex(read_transaction(body, start).txid)[::-1] for start in starts.tolist()]
    while len(level) > 1:
        if len(level) % 2:
            # CVE-2012-2459: a block whose last two subtrees are equal has the root of a shorter one.
            level.append(level[-1])
        elif level[-1] == level[-2]:
            raise Damaged("its transactions are repeated")
        level = [_double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    if level[0] != body[36:68]:
        raise Damaged("its transactions do not have the merkle root of its header")


def _double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
