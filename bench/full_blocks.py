"""A regtest chain of full blocks, built once and kept under .cache/: 6,400 payments of usual size in each.

Every block is written here and handed over whole, so that building takes a fraction of what wallet sends take. Coins
are spent by a script without signatures (two items dropped, then true) whose witness has the size of a usual one.
"""

import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from kassa.chains.bitcoin.devnode import DevNode
from kassa.sandbox.nodes import find_or_install, nodes_dir

BLOCKS = 60
PAYMENTS = 6_400  # what fits into four million weight units
DATA = Path(__file__).parent.parent / ".cache" / "bench-full-blocks"
_MARKER = DATA / "height-below-full-blocks"
_SCRIPT = b"\x6d\x51"  # OP_2DROP OP_TRUE
_COIN = b"\0\x20" + sha256(_SCRIPT).digest()
_WITNESS = b"\x03\x48" + b"\x30" * 72 + b"\x21" + b"\x02" * 33 + b"\x02" + _SCRIPT
_FIRST, _PAID = 700_000, 1_000  # smallest units

Say = Callable[[str], None]


async def full_chain(say: Say) -> tuple[DevNode, int, int]:
    """Start a node on the chain of full blocks, building it first if need be; return it and the blocks' heights."""
    node = await DevNode.start(find_or_install("bitcoind", nodes_dir(), say), DATA, zmq=False)
    try:
        await _build(node, say)
    except BaseException:
        await node.kill()
        raise
    base = int(_MARKER.read_text())
    return node, base + 1, base + BLOCKS


async def _build(node: DevNode, say: Say) -> None:
    if _MARKER.exists() and (await node.tip()).height >= int(_MARKER.read_text()) + BLOCKS:
        return
    say(f"building {BLOCKS} full blocks (once; kept in {DATA})")
    (reward_block,) = await node.rpc.call("generatetodescriptor", 1, f"raw({_COIN.hex()})")
    reward = await node.rpc.call("getblock", reward_block, 2)
    await node.mine(100)
    coin = reward["tx"][0]
    total = int(coin["vout"][0]["value"].scaleb(8))
    outpoint = bytes.fromhex(coin["txid"])[::-1] + struct.pack("<I", 0)
    first = min(_FIRST, total // PAYMENTS)
    split, txid = _transaction(outpoint, [(_COIN, first)] * PAYMENTS)
    await _submit(node, [(split, txid)])
    base = (await node.tip()).height
    outpoints = [txid + struct.pack("<I", number) for number in range(PAYMENTS)]
    for number in range(BLOCKS):
        left = first - _PAID * (number + 1)
        made = [
            _transaction(outpoint, [(_destination(number, slot), _PAID), (_COIN, left)])
            for slot, outpoint in enumerate(outpoints)
        ]
        await _submit(node, made)
        outpoints = [paid + struct.pack("<I", 1) for _, paid in made]
        if number % 10 == 9:
            say(f"  {number + 1} of {BLOCKS} blocks")
    _MARKER.write_text(str(base))


def _destination(block: int, slot: int) -> bytes:
    return b"\0\x14" + sha256(struct.pack("<II", block, slot)).digest()[:20]


def _transaction(outpoint: bytes, paid: list[tuple[bytes, int]]) -> tuple[bytes, bytes]:
    """Return a raw transaction and its id in serialised order."""
    outputs = b"".join([struct.pack("<QB", units, len(script)) + script for script, units in paid])
    middle = b"\x01" + outpoint + b"\0\xfd\xff\xff\xff" + _varint(len(paid)) + outputs
    version, locktime = b"\x02\0\0\0", b"\0\0\0\0"
    return version + b"\0\x01" + middle + _WITNESS + locktime, _twice(version + middle + locktime)


async def _submit(node: DevNode, transactions: list[tuple[bytes, bytes]]) -> None:
    template = await node.rpc.call("getblockheader", (await node.tip()).hash)
    height = template["height"] + 1
    coinbase, coinbase_id = _coinbase(height, [sha256(sha256(raw).digest()).digest() for raw, _ in transactions])
    root = _merkle([coinbase_id, *[txid for _, txid in transactions]])
    start = struct.pack("<I", 0x20000000) + bytes.fromhex(template["hash"])[::-1] + root
    start += struct.pack("<II", template["mediantime"] + 600, 0x207FFFFF)
    nonce = 0
    while _twice(start + struct.pack("<I", nonce))[31] > 0x7E:
        nonce += 1
    count = _varint(len(transactions) + 1)
    block = start + struct.pack("<I", nonce) + count + coinbase + b"".join([raw for raw, _ in transactions])
    refusal = await node.rpc.call("submitblock", block.hex())
    if refusal is not None:
        raise RuntimeError(f"the node refused a block of the benchmark: {refusal}")


def _coinbase(height: int, witness_ids: list[bytes]) -> tuple[bytes, bytes]:
    commitment = _twice(_merkle([bytes(32), *witness_ids]) + bytes(32))
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")  # BIP 34
    text = bytes([len(number)]) + number + b"\0"
    outputs = b"\x02" + struct.pack("<QB", 0, len(_COIN)) + _COIN
    outputs += struct.pack("<QB", 0, 38) + b"\x6a\x24\xaa\x21\xa9\xed" + commitment
    middle = b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(text)]) + text + b"\xff" * 4 + outputs
    version, locktime = b"\x02\0\0\0", b"\0\0\0\0"
    raw = version + b"\0\x01" + middle + b"\x01\x20" + bytes(32) + locktime
    return raw, _twice(version + middle + locktime)


def _merkle(level: list[bytes]) -> bytes:
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [_twice(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 0xFD else b"\xfd" + struct.pack("<H", number)


def _twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
