"""Reduce raw blocks to the transactions that may concern us, without decoding the rest."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

from kassa.chains.bitcoin.layout import COMPILED, HEADER_BYTES, Damaged, Layout, WatchedKeys, touched, walk
from kassa.chains.bitcoin.transactions import (
    Names,
    RawTransaction,
    describe,
    double_sha256,
    read_transaction,
    transaction_hash,
)
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Block, BlockRef

_u32_at = struct.Struct("<I").unpack_from


def read_block(
    body: bytes,
    ref: BlockRef,
    destinations: WatchedKeys,
    outpoints: WatchedKeys,
    names: Names,
    *,
    compiled: bool = COMPILED,
) -> Block:
    """Reduce a raw block to the transactions that touch a watched key; raise `ChainUnavailable` for damaged bytes.

    The header must have the hash that was asked for. When something matched, the transactions must also have the merkle
    root that the header commits to, so that no payment is taken from a body that the header does not vouch for.
    """
    try:
        if block_hash(body) != ref.hash:
            raise Damaged("its header has another hash")
        hits = touched(body, destinations, outpoints, compiled=compiled)
        found = _read_transactions(body, walk(body, compiled=compiled), hits) if hits else []
        transactions = tuple([describe(raw, destinations.keys, names) for raw in found])
    except Damaged as error:
        raise ChainUnavailable(f"block {ref.hash} arrived damaged ({error}): asking again") from None
    return Block(ref, body[35:3:-1].hex(), datetime.fromtimestamp(block_time(body), UTC), transactions)


def read_whole(body: bytes, ref: BlockRef) -> dict[str, RawTransaction]:
    """Return every transaction of a raw block by its id; raise `ChainUnavailable` for damaged bytes."""
    try:
        if block_hash(body) != ref.hash:
            raise Damaged("its header has another hash")
        layout = walk(body)
        found = _read_transactions(body, layout, range(len(layout.starts)))
    except Damaged as error:
        raise ChainUnavailable(f"block {ref.hash} arrived damaged ({error}): asking again") from None
    return {raw.txid: raw for raw in found}


def _read_transactions(body: bytes, layout: Layout, numbers: Sequence[int]) -> list[RawTransaction]:
    _check_merkle_root(body, layout)
    return [read_transaction(body, int(layout.starts[number])) for number in numbers]


def block_hash(body: bytes) -> str:
    """Return the hash of a raw block's header as explorers show it."""
    if len(body) < HEADER_BYTES:
        raise Damaged("it is shorter than a header")
    return double_sha256(body[:HEADER_BYTES])[::-1].hex()


def block_time(body: bytes) -> int:
    """Return the miner's claimed time in a raw block's header, in Unix seconds."""
    return int(_u32_at(body, 68)[0])


def _check_merkle_root(body: bytes, layout: Layout) -> None:
    level = [
        transaction_hash(body, *places)
        for places in zip(
            layout.starts.tolist(),
            layout.inputs_at.tolist(),
            layout.outputs_end.tolist(),
            layout.ends.tolist(),
            strict=True,
        )
    ]
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        elif level[-1] == level[-2]:
            # CVE-2012-2459: a block that repeats its last transactions has the root of the one that does not.
            raise Damaged("its transactions are repeated")
        level = [double_sha256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    if level[0] != body[36:68]:
        raise Damaged("its transactions do not have the merkle root of its header")
