"""Transactions written by hand: what a node refuses to build, but a miner may include. For development only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

REPLACEABLE = 0xFFFFFFFD  # BIP-125
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of the curve, SEC 2


@dataclass(frozen=True, slots=True)
class TxIn:
    """An input: the outpoint as explorers show it, the script that unlocks it."""

    txid: str
    vout: int
    script: bytes = b""
    sequence: int = REPLACEABLE


@dataclass(frozen=True, slots=True)
class TxOut:
    """An output, in smallest units."""

    units: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction without witness: all that an unsigned or a legacy transaction has."""

    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    version: int = 2
    lock_time: int = 0


def serialize(tx: Tx) -> bytes:
    """Write a transaction in the form that has no witness."""
    inputs = b"".join(
        bytes.fromhex(item.txid)[::-1] + _u32(item.vout) + _sized(item.script) + _u32(item.sequence)
        for item in tx.inputs
    )
    outputs = b"".join(item.units.to_bytes(8, "little") + _sized(item.script) for item in tx.outputs)
    return b"".join(
        [_u32(tx.version), _compact(len(tx.inputs)), inputs, _compact(len(tx.outputs)), outputs, _u32(tx.lock_time)]
    )


def parse(raw: bytes) -> Tx:
    """Read a transaction without witness; raise `ValueError` for one with a witness."""
    if raw[4] == 0:
        raise ValueError(
            "this transaction has a witness: only legacy inputs can be rewritten without changing what is signed"
        )
    reader = _Reader(raw)
    version = reader.number(4)
    inputs = tuple(
        TxIn(reader.take(32)[::-1].hex(), reader.number(4), reader.take(reader.compact()), reader.number(4))
        for _ in range(reader.compact())
    )
    outputs = tuple(TxOut(reader.number(8), reader.take(reader.compact())) for _ in range(reader.compact()))
    return Tx(inputs, outputs, version, reader.number(4))


def malleate(raw: bytes) -> bytes:
    """Return the same payment under another id: every signature's S is replaced by its negative (BIP-62, BIP-146).

    Works for inputs that spend P2PKH. Nodes do not relay the result, but a block may hold it. Raises `ValueError`.
    """
    tx = parse(raw)
    return serialize(replace(tx, inputs=tuple(replace(item, script=_negate(item.script)) for item in tx.inputs)))


def _negate(script: bytes) -> bytes:
    """Replace S in `<signature> <public key>`."""
    signature, rest = script[1 : 1 + script[0]], script[1 + script[0] :]
    if not signature or signature[0] != 0x30 or not rest:
        raise ValueError("an input does not spend P2PKH: its script is not a signature and a public key")
    r_end = 4 + signature[3]
    s = int.from_bytes(signature[r_end + 2 : -1], "big")
    body = signature[2:r_end] + _der_integer(_ORDER - s)
    changed = b"\x30" + bytes([len(body)]) + body + signature[-1:]
    return bytes([len(changed)]) + changed + rest


def _der_integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")  # one bit more than it needs: it is never negative
    return b"\x02" + bytes([len(data)]) + data


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _sized(data: bytes) -> bytes:
    return _compact(len(data)) + data


def _compact(value: int) -> bytes:
    if value < 0xFD:
        return bytes([value])
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    return b"\xfe" + value.to_bytes(4, "little")


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def take(self, size: int) -> bytes:
        data = self._raw[self._at : self._at + size]
        self._at += size
        return data

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        first = self.number(1)
        return first if first < 0xFD else self.number(2 << (first - 0xFD))


def p2pkh(script: bytes) -> bool:
    """Tell whether an output script pays to a public key's hash in the oldest form, the only one that malleates."""
    return len(script) == 25 and script.startswith(b"\x76\xa9\x14")


def pays(outputs: Sequence[TxOut]) -> int:
    """Return the sum of outputs in smallest units."""
    return sum(item.units for item in outputs)
