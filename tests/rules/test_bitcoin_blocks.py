"""The block scanner: against a second parser, against damaged bytes, and its two forms against each other."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
from embit.transaction import Transaction as EmbitTransaction
from hypothesis import given
from hypothesis import strategies as st

from kassa.chains.base import Keys
from kassa.chains.bitcoin.blocks import read_block
from kassa.chains.bitcoin.layout import COMPILED, Damaged, Layout, WatchedKeys, touched, walk
from kassa.chains.bitcoin.networks import NETWORKS
from kassa.chains.bitcoin.transactions import Names, outpoint_key, read_transaction, script_key
from kassa.chains.matching import NO_KEYS
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Block, BlockRef
from tests.examples import examples

NAMES = Names("bitcoin-regtest", "BTC@bitcoin-regtest", NETWORKS["bitcoin-regtest"])
FORMS = pytest.mark.parametrize(
    "compiled", [pytest.param(True, marks=pytest.mark.skipif(not COMPILED, reason="not compiled here")), False]
)
NULL = bytes(32) + b"\xff" * 4


# ---------------------------------------------------------------- blocks written by hand, by code that shares nothing


@dataclass(frozen=True)
class Spent:
    outpoint: bytes
    sequence: int = 0xFFFFFFFF
    script: bytes = b""
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Paid:
    script: bytes
    units: int = 1000


def varint(number: int) -> bytes:
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    return b"\xfe" + struct.pack("<I", number)


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def transaction(spent: Sequence[Spent], paid: Sequence[Paid], *, flags: int = 0) -> tuple[bytes, str]:
    """The raw transaction and its id."""
    if any(item.witness for item in spent):
        flags |= 1
    middle = varint(len(spent)) + b"".join(
        item.outpoint + sized(item.script) + struct.pack("<I", item.sequence) for item in spent
    )
    middle += varint(len(paid)) + b"".join(struct.pack("<Q", item.units) + sized(item.script) for item in paid)
    version, locktime = struct.pack("<I", 2), struct.pack("<I", 7)
    tail = b""
    if flags & 1:
        tail = b"".join(varint(len(item.witness)) + b"".join(map(sized, item.witness)) for item in spent)
    if flags & 8:
        tail += b"\0"
    marker = bytes([0, flags]) if flags else b""
    return version + marker + middle + tail + locktime, twice(version + middle + locktime)[::-1].hex()


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def merkle_root(txids: Sequence[str]) -> bytes:
    level = [bytes.fromhex(txid)[::-1] for txid in txids]
    while len(level) > 1:
        pairs = zip(level[::2], [*level[1::2], level[-1]], strict=False)
        level = [twice(left + right) for left, right in pairs]
    return level[0]


def block(transactions: Sequence[tuple[bytes, str]], after: bytes = b"") -> tuple[bytes, BlockRef]:
    root = merkle_root([txid for _, txid in transactions])
    header = struct.pack("<I", 4) + b"\xaa" * 32 + root + struct.pack("<III", 1_700_000_000, 0x207FFFFF, 5)
    body = header + varint(len(transactions)) + b"".join(raw for raw, _ in transactions) + after
    return body, BlockRef(9, twice(header)[::-1].hex())


def keys(*numbers: int) -> WatchedKeys:
    return WatchedKeys(np.sort(np.array(numbers, np.int64)) if numbers else NO_KEYS)


def pay_to(*scripts: bytes) -> WatchedKeys:
    return keys(*[key for script in scripts if (key := script_key(script)) is not None])


def script(number: int, form: str = "wpkh") -> bytes:
    digest = sha256(number.to_bytes(8)).digest()
    return {
        "pkh": b"\x76\xa9\x14" + digest[:20] + b"\x88\xac",
        "sh": b"\xa9\x14" + digest[:20] + b"\x87",
        "wpkh": b"\0\x14" + digest[:20],
        "wsh": b"\0\x20" + digest,
        "tr": b"\x51\x20" + digest,
    }[form]


def outpoint(number: int, index: int = 0) -> bytes:
    return sha256(b"tx" + number.to_bytes(8)).digest() + struct.pack("<I", index)


COINBASE = transaction([Spent(NULL, witness=(bytes(32),))], [Paid(script(1000)), Paid(b"\x6a\x24" + bytes(36), 0)])
PLAIN = transaction([Spent(outpoint(1))], [Paid(script(1)), Paid(script(2))])


# ---------------------------------------------------------------- what is found


@FORMS
@pytest.mark.parametrize("form", ["pkh", "sh", "wpkh", "wsh", "tr"])
def test_a_payment_to_every_form_of_script_is_found(form: str, compiled: bool) -> None:
    paying = transaction([Spent(outpoint(5, 3), 0xFFFFFFFD, witness=(b"sig", b"key"))], [Paid(script(7, form), 42)])
    body, ref = block([COINBASE, PLAIN, paying])
    found = read_block(body, ref, pay_to(script(7, form)), keys(), NAMES, compiled=compiled)
    (seen,) = found.transactions
    (transfer,) = seen.transfers
    assert found == Block(ref, "aa" * 32, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), (seen,))
    assert (seen.txid, seen.replaceable, seen.first_seen_at) == (paying[1], True, None)
    assert (transfer.key.txid, transfer.key.position) == (paying[1], "out:0")
    assert (transfer.to, transfer.units, transfer.maturity) == (script(7, form), 42, 0)
    assert [item.outpoint for item in seen.inputs] == [f"{outpoint(5)[31::-1].hex()}:3"]
    assert [item.key for item in seen.inputs] == [outpoint_key(outpoint(5, 3))]


@FORMS
def test_every_output_to_a_watched_address_is_its_own_transfer(compiled: bool) -> None:  # A21
    ours = script(7)
    paying = transaction([Spent(outpoint(5))], [Paid(ours, 3), Paid(script(8), 1), Paid(ours, 3), Paid(ours, 4)])
    body, ref = block([COINBASE, paying])
    (seen,) = read_block(body, ref, pay_to(ours), keys(), NAMES, compiled=compiled).transactions
    assert [(transfer.key.position, transfer.units) for transfer in seen.transfers] == [
        ("out:0", 3),
        ("out:2", 3),
        ("out:3", 4),
    ]


@FORMS
def test_a_spend_of_a_watched_outpoint_is_found_even_if_it_pays_us_nothing(compiled: bool) -> None:
    rival = transaction([Spent(outpoint(1)), Spent(outpoint(5, 70_000))], [Paid(script(8))])
    body, ref = block([COINBASE, rival])
    watched = keys(outpoint_key(outpoint(5, 70_000)))
    (seen,) = read_block(body, ref, keys(), watched, NAMES, compiled=compiled).transactions
    assert (seen.txid, seen.transfers, len(seen.inputs)) == (rival[1], (), 2)
    missed = keys(outpoint_key(outpoint(5, 70_001)))
    assert not read_block(body, ref, keys(), missed, NAMES, compiled=compiled).transactions


@FORMS
def test_a_coinbase_payment_needs_101_confirmations_and_spends_nothing(compiled: bool) -> None:  # A15
    body, ref = block([COINBASE, PLAIN])
    (seen,) = read_block(body, ref, pay_to(script(1000)), keys(), NAMES, compiled=compiled).transactions
    assert [transfer.maturity for transfer in seen.transfers] == [101]
    assert (seen.inputs, seen.replaceable) == ((), False)


@FORMS
@pytest.mark.parametrize(("sequence", "replaceable"), [(0, True), (0xFFFFFFFD, True), (0xFFFFFFFE, False)])
def test_only_a_sequence_below_the_last_two_signals_replaceability(
    sequence: int, replaceable: bool, compiled: bool
) -> None:
    paying = transaction([Spent(outpoint(1)), Spent(outpoint(2), sequence)], [Paid(script(7))])
    body, ref = block([COINBASE, paying])
    (seen,) = read_block(body, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled).transactions
    assert seen.replaceable is replaceable


ODD = [
    Paid(b"\x6a\x4e" + struct.pack("<I", 90_000) + bytes(90_000), 0),  # a giant OP_RETURN
    Paid(b""),
    Paid(b"\x51"),
    Paid(bytes(10)),
    Paid(b"\x60\x28" + bytes(40)),  # an unknown witness version
    Paid(b"\xff" * 252),
    Paid(b"\xff" * 253),
    Paid(b"\x51" * 70_000),
]


@FORMS
def test_a_payment_is_found_among_odd_neighbours(compiled: bool) -> None:  # A28
    odd = transaction(
        [Spent(outpoint(1), script=bytes(253)), Spent(outpoint(2), witness=(b"", bytes(300), bytes(70_000)) * 90)],
        [*ODD, Paid(script(7), 9), *ODD],
    )
    body, ref = block([COINBASE, odd, PLAIN])
    (seen,) = read_block(body, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled).transactions
    assert [(transfer.key.position, transfer.units) for transfer in seen.transfers] == [(f"out:{len(ODD)}", 9)]


@FORMS
def test_an_output_of_nothing_is_no_transfer(compiled: bool) -> None:
    body, ref = block([COINBASE, transaction([Spent(outpoint(1))], [Paid(script(7), 0)])])
    (seen,) = read_block(body, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled).transactions
    assert not seen.transfers


@FORMS
def test_a_litecoin_block_with_an_extension_is_read(compiled: bool) -> None:
    hogex = transaction([Spent(outpoint(3))], [Paid(b"\x59\x20" + bytes(32), 5), Paid(script(7), 6)], flags=8)
    body, ref = block([COINBASE, PLAIN, hogex], after=b"\x01" + bytes(5000))
    (seen,) = read_block(body, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled).transactions
    assert (seen.txid, seen.transfers[0].units) == (hogex[1], 6)


@FORMS
def test_a_block_of_four_megabytes_is_read(compiled: bool) -> None:
    filler = [
        transaction([Spent(outpoint(n), witness=(bytes(380_000),))], [Paid(script(n))], flags=1) for n in range(10)
    ]
    body, ref = block([COINBASE, *filler])
    assert len(body) > 3_800_000
    (seen,) = read_block(body, ref, pay_to(script(9)), keys(), NAMES, compiled=compiled).transactions
    assert seen.txid == filler[9][1]


def test_keys_are_signed_and_little_endian() -> None:
    assert script_key(b"\0\x14\x99" + b"\xff" * 8 + bytes(11)) == -1
    assert script_key(b"\0\x14\x99\x01" + bytes(18)) == 1
    assert script_key(bytes(10)) is None
    assert outpoint_key(b"\x01" + bytes(31) + struct.pack("<I", 3)) == 2


# ---------------------------------------------------------------- damage


@FORMS
def test_a_body_under_another_header_is_refused(compiled: bool) -> None:
    body, _ = block([COINBASE])
    with pytest.raises(ChainUnavailable, match="another hash"):
        read_block(body, BlockRef(9, "00" * 32), keys(), keys(), NAMES, compiled=compiled)


@FORMS
def test_a_payment_that_the_header_does_not_vouch_for_is_refused(compiled: bool) -> None:
    body, ref = block([COINBASE, PLAIN])
    forged = body.replace(struct.pack("<Q", 1000) + sized(script(2)), struct.pack("<Q", 9999) + sized(script(2)))
    assert forged != body
    with pytest.raises(ChainUnavailable, match="merkle"):
        read_block(forged, ref, pay_to(script(2)), keys(), NAMES, compiled=compiled)


@FORMS
def test_repeated_transactions_under_the_same_merkle_root_are_refused(compiled: bool) -> None:
    body, ref = block([COINBASE, PLAIN, transaction([Spent(outpoint(5))], [Paid(script(7))])])
    raw = body[81 + len(COINBASE[0]) + len(PLAIN[0]) :]
    repeated = body[:80] + b"\x04" + body[81:] + raw
    with pytest.raises(ChainUnavailable, match="repeated"):
        read_block(repeated, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled)


@FORMS
def test_more_money_than_there_can_be_is_refused(compiled: bool) -> None:
    body, ref = block([COINBASE, transaction([Spent(outpoint(1))], [Paid(script(7), 21_000_001 * 10**8)])])
    with pytest.raises(ChainUnavailable, match="more than there can be"):
        read_block(body, ref, pay_to(script(7)), keys(), NAMES, compiled=compiled)


@FORMS
def test_bytes_missing_or_added_at_the_end_are_noticed(compiled: bool) -> None:
    body, _ = block([COINBASE, PLAIN])
    for size in range(len(body)):
        with pytest.raises(Damaged):
            walk(body[:size], compiled=compiled)
    with pytest.raises(Damaged):
        walk(body + b"\0", compiled=compiled)


@FORMS
@pytest.mark.parametrize("count", [b"\0", b"\xfd\x02\x00", b"\xfe\x02\x00\x00\x00", b"\xff" + b"\xff" * 8])
def test_a_wrong_count_of_transactions_is_refused(count: bytes, compiled: bool) -> None:
    body, _ = block([COINBASE, PLAIN])
    with pytest.raises(Damaged):
        walk(body[:80] + count + body[81:], compiled=compiled)


def outcome(body: bytes, *, compiled: bool) -> Layout | None:
    try:
        return walk(body, compiled=compiled)
    except Damaged:
        return None


def touches(body: bytes, watched: WatchedKeys, *, compiled: bool) -> list[int] | None:
    try:
        return touched(body, watched, watched, compiled=compiled)
    except Damaged:
        return None


def same(one: Layout | None, other: Layout | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in Layout.__slots__)


scripts = st.binary(max_size=40) | st.binary(min_size=250, max_size=260)
inputs = st.builds(
    Spent,
    st.binary(min_size=36, max_size=36),
    st.integers(0, 2**32 - 1),
    scripts,
    st.lists(scripts, max_size=3).map(tuple),
)
outputs = st.builds(Paid, scripts, st.integers(0, 10**15))
transactions = st.builds(transaction, st.lists(inputs, min_size=1, max_size=4), st.lists(outputs, max_size=4))
blocks = st.lists(transactions, min_size=1, max_size=4).map(lambda made: (made, *block(made)))


@pytest.mark.skipif(not COMPILED, reason="not compiled here")
@examples(500)
@given(blocks, st.data())
def test_both_forms_give_the_same_answer_on_damaged_blocks(
    made: tuple[list[tuple[bytes, str]], bytes, BlockRef], data: st.DataObject
) -> None:
    body = bytearray(made[1])
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(80, len(body) - 1))] = data.draw(
            st.sampled_from([0, 1, 8, 9, 0xFC, 0xFD, 0xFE, 255])
        )
    damaged = bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body)
    found = outcome(damaged, compiled=False)
    assert same(outcome(damaged, compiled=True), found)
    paid = (
        []
        if found is None
        else [int.from_bytes(damaged[at + 3 : at + 11], "little", signed=True) for at in found.script_at]
    )
    watched = keys(*paid[::2])
    assert touches(damaged, watched, compiled=True) == touches(damaged, watched, compiled=False)


@FORMS
@pytest.mark.parametrize("place", [36, 46], ids=["of an input's script", "of an output's script"])
def test_a_length_beyond_every_offset_is_damage(compiled: bool, place: int) -> None:
    # One transaction: version, one input (outpoint, script, sequence), one output (value, script), lock time.
    whole = bytearray(
        b"\x01" + bytes(4) + b"\x01" + bytes(36) + b"\0" + bytes(4) + b"\x01" + bytes(8) + b"\0" + bytes(4)
    )
    at = {36: 1 + 4 + 1 + 36, 46: 1 + 4 + 1 + 36 + 1 + 4 + 1 + 8}[place]
    whole[at : at + 1] = b"\xff" + (2**40).to_bytes(8, "little")
    with pytest.raises(Damaged):
        walk(bytes(80) + bytes(whole), compiled=compiled)


@FORMS
@examples(200)
@given(rest=st.binary(max_size=300))
def test_no_bytes_whatever_crash_the_walk(compiled: bool, rest: bytes) -> None:
    outcome(bytes(80) + rest, compiled=compiled)
    outcome(rest, compiled=compiled)


@examples(200)
@given(st.binary(max_size=300))
def test_no_bytes_whatever_crash_the_decoding_of_a_transaction(body: bytes) -> None:
    for alone in (True, False):
        try:
            read_transaction(body, alone=alone)
        except Damaged:
            continue


@examples(300)
@given(blocks)
def test_decoding_agrees_with_embit(made: tuple[list[tuple[bytes, str]], bytes, BlockRef]) -> None:
    written, body, _ = made
    for (raw, txid), start in zip(written, walk(body).starts.tolist(), strict=True):
        ours, theirs = read_transaction(body, start), EmbitTransaction.read_from(BytesIO(raw))
        assert ours == read_transaction(raw, alone=True)
        assert ours.txid == theirs.txid().hex() == txid
        assert [item.script for item in ours.outputs] == [item.script_pubkey.data for item in theirs.vout]
        assert [item.units for item in ours.outputs] == [item.value for item in theirs.vout]
        assert [item[31::-1] for item in ours.outpoints] == [item.txid for item in theirs.vin]
        assert ours.signals == any(item.sequence < 0xFFFFFFFE for item in theirs.vin)


@FORMS
@examples(200)
@given(made=blocks, data=st.data())
def test_touched_is_what_a_naive_search_finds(
    compiled: bool, made: tuple[list[tuple[bytes, str]], bytes, BlockRef], data: st.DataObject
) -> None:
    decoded = [read_transaction(raw, alone=True) for raw, _ in made[0]]
    pays = {key for raw in decoded for item in raw.outputs if (key := script_key(item.script)) is not None}
    spends = {outpoint_key(item) for raw in decoded for item in raw.outpoints}
    others = st.sets(st.integers(-(2**63), 2**63 - 1), max_size=20)
    wanted = data.draw(others) | (data.draw(st.sets(st.sampled_from(sorted(pays)))) if pays else set())
    spent = data.draw(others) | data.draw(st.sets(st.sampled_from(sorted(spends))))
    naive = [
        number
        for number, raw in enumerate(decoded)
        if any(script_key(item.script) in wanted for item in raw.outputs)
        or any(outpoint_key(item) in spent for item in raw.outpoints)
    ]
    assert touched(made[1], keys(*wanted), keys(*spent), compiled=compiled) == naive


def test_keys_that_agree_in_every_low_bit_are_still_told_apart() -> None:
    body, _ = block([COINBASE, PLAIN])
    wanted: Keys = np.sort((np.arange(5000, dtype=np.int64) << 40) + 12345)
    assert touched(body, WatchedKeys(wanted), keys()) == []
