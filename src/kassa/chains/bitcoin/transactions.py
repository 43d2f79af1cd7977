"""Decode single transactions, and reduce them to what concerns us."""

import struct
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from kassa.chains.base import Keys
from kassa.chains.bitcoin.layout import SHORTEST_SCRIPT, Damaged, read_flags, read_varint, skip_tail
from kassa.chains.bitcoin.networks import BitcoinNetwork
from kassa.chains.matching import members
from kassa.core.facts import Input, Transaction, Transfer, TransferKey

_FINAL = 0xFFFFFFFE  # BIP 125: a smaller sequence signals that the transaction may be replaced
_NULL_OUTPOINT = bytes(32) + b"\xff" * 4  # what a coinbase spends
_i64_at = struct.Struct("<q").unpack_from
_u32_at = struct.Struct("<I").unpack_from
_u64_at = struct.Struct("<Q").unpack_from


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
    """A decoded transaction. `outpoints` are the 36 bytes of each output that it spends."""

    txid: str
    outpoints: tuple[bytes, ...]
    outputs: tuple[RawOutput, ...]
    signals: bool

    @property
    def coinbase(self) -> bool:
        return self.outpoints == (_NULL_OUTPOINT,)


def read_transaction(body: bytes, start: int = 0, *, alone: bool = False) -> RawTransaction:
    """Decode the transaction at `start`; raise `Damaged` for bytes that are none.

    `alone`: the bytes hold nothing else, and so it ends where they do; its witnesses (and MWEB part) are not looked at.
    The id of a transaction that is wholly inside MWEB is that of a kernel, not computed here; it has neither inputs nor
    outputs that could concern us.
    """
    try:
        return _read(body, start, alone)
    except (IndexError, OverflowError, struct.error):  # a length may be beyond every offset
        raise Damaged("a transaction ends early") from None


def _read(body: bytes, start: int, alone: bool) -> RawTransaction:
    flags, inputs_at = read_flags(body, start)
    count, at = read_varint(body, inputs_at)
    outpoints, signals = [], False
    for _ in range(count):
        outpoints.append(body[at : at + 36])
        size, at = read_varint(body, at + 36)
        signals |= _u32_at(body, at + size)[0] < _FINAL
        at += size + 4
    count, at = read_varint(body, at)
    outputs = []
    for _ in range(count):
        units = _u64_at(body, at)[0]
        size, at = read_varint(body, at + 8)
        outputs.append(RawOutput(body[at : at + size], units))
        at += size
    end = len(body) if alone else skip_tail(body, at, len(outpoints), flags)
    if at > end - 4 or end > len(body):
        raise Damaged("a transaction ends early")
    txid = transaction_hash(body, start, inputs_at, at, end)[::-1].hex()
    return RawTransaction(txid, tuple(outpoints), tuple(outputs), signals)


def transaction_hash(body: bytes, start: int, inputs_at: int, outputs_end: int, end: int) -> bytes:
    """Hash a transaction without its flags, witnesses and MWEB part: its id in serialised order."""
    return double_sha256(body[start : start + 4] + body[inputs_at:outputs_end] + body[end - 4 : end])


def double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def script_key(script: bytes) -> int | None:
    """Return the key of an output script: its bytes 3..11 as a little-endian signed number.

    In every standard form (pkh, sh, wpkh, wsh, tr) these are bytes of the hash or key. Shorter scripts are never ours.
    """
    return int(_i64_at(script, 3)[0]) if len(script) >= SHORTEST_SCRIPT else None


def outpoint_key(outpoint: bytes) -> int:
    """Return the key of a spent output (36 bytes).

    It is the first 8 bytes of its txid as serialised (little-endian, signed) XOR the output's number.
    """
    return int(_i64_at(outpoint, 0)[0]) ^ int(_u32_at(outpoint, 32)[0])


def outpoint_text(outpoint: bytes) -> str:
    """Write a spent output as "txid:number"."""
    return f"{outpoint[31::-1].hex()}:{_u32_at(outpoint, 32)[0]}"


def transaction_keys(raw: RawTransaction) -> tuple[Keys, Keys]:
    """Return the keys of the destinations that a transaction pays, and of the outpoints that it spends."""
    pays = [key for output in raw.outputs if (key := script_key(output.script)) is not None]
    return np.array(pays, np.int64), np.array([outpoint_key(outpoint) for outpoint in raw.outpoints], np.int64)


def touches(raw: RawTransaction, destinations: Keys, outpoints: Keys) -> bool:
    """Tell whether a decoded transaction pays a watched destination or spends a watched outpoint."""
    pays, spends = transaction_keys(raw)
    return bool(members(pays, destinations).any() or members(spends, outpoints).any())


def describe(raw: RawTransaction, destinations: Keys, names: Names) -> Transaction:
    """Reduce a decoded transaction to its outputs whose key is watched and to all that it spends.

    Outputs of nothing are left out: they move no money. Raises `Damaged` for more money than there can be.
    """
    keys = [script_key(output.script) for output in raw.outputs]
    watched = members(np.array([key or 0 for key in keys], np.int64), destinations).tolist()
    transfers = [
        _transfer(raw, number, names)
        for number, (output, key) in enumerate(zip(raw.outputs, keys, strict=True))
        if key is not None and watched[number] and output.units
    ]
    return Transaction(raw.txid, tuple(transfers), inputs_of(raw), raw.signals and not raw.coinbase)


def inputs_of(raw: RawTransaction) -> tuple[Input, ...]:
    """Return what a decoded transaction spends; nothing for a coinbase."""
    spent = () if raw.coinbase else raw.outpoints
    return tuple([Input(outpoint_text(outpoint), outpoint_key(outpoint)) for outpoint in spent])


def _transfer(raw: RawTransaction, number: int, names: Names) -> Transfer:
    output = raw.outputs[number]
    if output.units > names.chain.max_units:
        raise Damaged("an output holds more than there can be")
    maturity = names.chain.coinbase_maturity if raw.coinbase else 0
    key = TransferKey(names.network, raw.txid, f"out:{number}")
    return Transfer(key, output.script, names.asset, output.units, maturity)
