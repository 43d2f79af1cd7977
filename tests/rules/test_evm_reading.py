"""Reading a node's answers: numbers, blooms, traces and matches, right, odd and hostile."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.chains import envelope
from kassa.chains.evm import bloom, hexadecimal
from kassa.chains.evm.addresses import address_key
from kassa.chains.evm.frames import CallFrame, Mismatch, Trace, TracedTx, from_calls, from_traces
from kassa.chains.evm.matching import TRANSFER, Fetched, Frame, describe, outpoint_keys, spent, touched
from kassa.chains.evm.messages import Body, Log, Names, Receipt, Tx
from kassa.chains.evm.networks import NETWORKS
from kassa.core.errors import ChainUnavailable

CONTRACT = "0x" + "c0" * 20
NAMES = Names("anvil", "ETH@anvil", {CONTRACT: "USDC@anvil"}, NETWORKS["31337"])
BLOCK = "0x" + "b1" * 32
addresses = st.binary(min_size=20, max_size=20)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def tx(number: int, to: bytes | None = None, value: int = 0, nonce: int = 0, sender: bytes = b"\x51" * 20) -> Tx:
    return Tx(
        hash=f"0x{number:064x}",
        sender=f"0x{sender.hex()}",
        value=hex(value),
        nonce=hex(nonce),
        to=None if to is None else f"0x{to.hex()}",
    )


def body(*transactions: Tx) -> Body:
    return Body(BLOCK, "0x" + "a0" * 32, "0x10", "0x5", "0x" + "00" * 256, list(transactions))


def transfer(to: bytes, units: int, sender: bytes = b"\x52" * 20) -> Log:
    return Log(CONTRACT, [TRANSFER, f"0x{sender.hex():0>64}", f"0x{to.hex():0>64}"], f"0x{units:064x}")


def keys(*found: bytes) -> Any:
    return np.unique(np.array([address_key(address) for address in found], np.int64))


NONE: Any = np.empty(0, np.int64)

# ---------------------------------------------------------------- numbers and bytes


@given(st.integers(0, 2**256 - 1))
def test_a_number_is_read_exactly(value: int) -> None:  # C11
    assert hexadecimal.number(hex(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "0x", "x1", "1", "0x 1", "0x1 ", "0x1\n", "-0x1", "0x-1", "0x1_0", "+0x1", "0xg", "0x" + "f" * 65, "0x١"],
)
def test_what_is_no_number_is_no_answer(text: str) -> None:
    with pytest.raises(ChainUnavailable):
        hexadecimal.number(text)


@pytest.mark.parametrize("text", ["", "0", "0x0", "0x 00", "00", "0xgg", "0x00\n", "0x00 "])
def test_what_is_no_bytes_is_no_answer(text: str) -> None:
    with pytest.raises(ChainUnavailable):
        hexadecimal.data(text)


@given(st.lists(st.text(alphabet="0123456789abcdef \ngx", max_size=16)))
def test_keys_are_read_from_whole_pieces_or_not_at_all(pieces: list[str]) -> None:
    try:
        found = hexadecimal.keys(pieces)
    except ChainUnavailable:
        return
    joined = "".join(pieces)
    assert found.tobytes().hex() == joined


# ---------------------------------------------------------------- the bloom


@given(st.lists(st.tuples(addresses, addresses, st.integers(0, 9)), max_size=8))
def test_a_union_holds_each_log_and_nothing_else(moves: list[tuple[bytes, bytes, int]]) -> None:
    receipts = [Receipt("0x", BLOCK, [transfer(to, units, sender)]) for sender, to, units in moves]
    expected = 0
    for sender, to, _ in moves:
        for text in (CONTRACT, TRANSFER, f"0x{sender.hex():0>64}", f"0x{to.hex():0>64}"):
            expected |= bloom.bits(text)
    assert bloom.union(bloom.logged(receipts)) == expected


# ---------------------------------------------------------------- matching


@given(addresses.filter(any), st.integers(0, 2**64 - 1))
def test_an_outpoint_has_one_key_however_it_is_read(sender: bytes, nonce: int) -> None:
    one = tx(1, nonce=nonce, sender=sender)
    assert spent(one).outpoint == f"0x{sender.hex()}:{nonce}"
    assert outpoint_keys([one]).tolist() == [spent(one).key]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_what_is_found_is_what_a_naive_reader_finds(rows: list[tuple[int, int, int, int]]) -> None:
    """Some addresses of which two are ours, each transaction with a value, a log and an inner call."""
    people = [bytes([place + 1]) * 20 for place in range(4)]
    ours = people[:2]
    transactions = [tx(place, people[to], value, place) for place, (to, value, _, _) in enumerate(rows)]
    receipts = {
        one.hash: Receipt(one.hash, BLOCK, [transfer(people[row[2]], 5)], "0x1")
        for one, row in zip(transactions, rows, strict=True)
    }
    frames = {one.hash: [Frame(f"0x{people[row[3]].hex()}", 7)] for one, row in zip(transactions, rows, strict=True)}
    fetched = Fetched(body(*transactions), receipts, frames)
    watched = keys(*ours)
    found = [
        (place, item.key.position, item.to, item.units)
        for place in touched([Fetched(body()), fetched], watched, NONE, NAMES)[1]
        for item in describe(fetched, place, watched, NAMES).transfers
    ]
    naive = []
    for place, (to, value, logged, called) in enumerate(rows):
        naive += [(place, "value", people[to], value)] if people[to] in ours and value else []
        naive += [(place, "log:0", people[logged], 5)] if people[logged] in ours else []
        naive += [(place, "call:0", people[called], 7)] if people[called] in ours else []
    assert found == naive


def test_a_watched_outpoint_brings_a_transaction_that_pays_nobody() -> None:
    one = tx(1, b"\x09" * 20, 5, nonce=77)
    receipts = {txid: Receipt(txid, BLOCK, [], "0x1") for txid in (tx(0).hash, one.hash)}
    fetched = Fetched(body(tx(0), one), receipts)
    watched = np.array([spent(one).key], np.int64)
    assert touched([fetched, Fetched(body())], NONE, watched, NAMES) == [[1], []]
    found = describe(fetched, 1, NONE, NAMES)
    assert (found.txid, found.transfers, found.inputs) == (one.hash, (), (spent(one),))


def test_what_the_chain_does_by_itself_shares_no_outpoint() -> None:
    """Arbitrum and Polygon give all such transactions the same sender and nonce: none replaces another."""
    for kind, sender in (("0x6a", b"\x0a" * 20), ("0x7e", b"\x0b" * 20), ("0x0", bytes(20))):
        pair = [tx(number, sender=sender) for number in (1, 2)]
        for one in pair:
            one.kind = kind
        assert len({spent(one).outpoint for one in pair}) == 2
        assert {":" in spent(one).outpoint for one in pair} == {False}
    assert spent(tx(1)).outpoint == spent(tx(2)).outpoint


def test_logs_out_of_order_are_no_answer() -> None:
    ours = b"\x01" * 20
    one = tx(1)
    for indexes in ((3, 5), (4, 3), (3, 3)):
        logs = [transfer(ours, 5), transfer(ours, 6)]
        for log, index in zip(logs, indexes, strict=True):
            log.index = hex(index)
        fetched = Fetched(body(one), {one.hash: Receipt(one.hash, BLOCK, logs, "0x1")})
        with pytest.raises(ChainUnavailable, match="logs"):
            describe(fetched, 0, keys(ours), NAMES)


@given(st.text(max_size=50))
def test_a_receiver_that_is_no_address_is_no_answer_or_nothing(text: str) -> None:
    one = tx(1, value=5)
    one.to = text
    fetched = Fetched(body(one), {one.hash: Receipt(one.hash, BLOCK, [], "0x1")})
    try:
        assert touched([fetched], keys(b"\x01" * 20), NONE, NAMES) == [[]]
    except ChainUnavailable:
        return


# ---------------------------------------------------------------- traces

Tree = tuple[bool, int, Sequence["Tree"]]
"""Whether a call fails, what it moves, and the calls that it makes."""
trees: st.SearchStrategy[Tree] = st.recursive(
    st.tuples(st.booleans(), st.integers(0, 2), st.just(())),
    lambda inner: st.tuples(st.booleans(), st.integers(0, 2), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=12,
)
FROM, TO = "0x" + "01" * 20, "0x" + "02" * 20


def nested(tree: Tree) -> CallFrame:
    failed, value, calls = tree
    return CallFrame("CALL", FROM, TO, hex(value), "reverted" if failed else None, [nested(call) for call in calls])


def flat(tree: Tree, place: list[int]) -> list[dict[str, Any]]:
    failed, value, calls = tree
    mine: dict[str, Any] = {
        "action": {"from": FROM, "to": TO, "value": hex(value), "callType": "call"},
        "type": "call",
        "traceAddress": place,
        "blockHash": BLOCK,
        "transactionHash": tx(1).hash,
    }
    if failed:
        mine["error"] = "Reverted"
    return [mine, *[one for number, call in enumerate(calls) for one in flat(call, [*place, number])]]


def moved(tree: Tree, *, outermost: bool = True) -> list[int]:
    """What a tree of calls moves inside, by the rule itself."""
    failed, value, calls = tree
    if failed:
        return []
    inner = [units for call in calls for units in moved(call, outermost=False)]
    return inner if outermost or not value else [value, *inner]


@given(trees)
def test_both_forms_of_a_trace_are_the_same_frames(tree: Tree) -> None:  # B11
    block = body(tx(1))
    traces = msgspec.convert(flat(tree, [])[::-1], list[Trace])
    by_list = from_traces(traces, block, NAMES)
    by_tree = from_calls([TracedTx(nested(tree), tx(1).hash)], block, NAMES)
    assert by_list == by_tree == {tx(1).hash: [Frame(TO, units) for units in moved(tree)]}


def test_calls_that_run_anothers_code_move_nothing() -> None:
    for kind in ("DELEGATECALL", "CALLCODE", "STATICCALL"):
        inner = CallFrame(kind, FROM, TO, "0x5")
        traced = [TracedTx(CallFrame("CALL", FROM, TO, "0x0", None, [inner]))]
        assert from_calls(traced, body(tx(1)), NAMES) == {tx(1).hash: []}
        action = {"from": FROM, "to": TO, "value": "0x5", "callType": kind.lower()}
        rows = [flat((False, 0, ()), [])[0], {**flat((False, 0, ()), [0])[0], "action": action}]
        assert from_traces(msgspec.convert(rows, list[Trace]), body(tx(1)), NAMES) == {tx(1).hash: []}


def test_traces_of_other_transactions_are_a_mismatch() -> None:
    traced = [TracedTx(nested((False, 0, ())), tx(2).hash)]
    for wrong in (traced, [], [*traced, *traced]):
        with pytest.raises(Mismatch):
            from_calls(wrong, body(tx(1)), NAMES)


def test_calls_as_deep_as_the_chain_allows_are_read_and_deeper_nonsense_is_none() -> None:  # A28
    frame = '{"type":"CALL","from":"%s","to":"%s","value":"0x1"%s}' % (FROM, TO, "%s")  # noqa: UP031
    text = frame % ""
    for _ in range(1_024):
        text = frame % f',"calls":[{text}]'
    answer = f'{{"jsonrpc":"2.0","id":0,"result":[{{"txHash":"{tx(1).hash}","result":{text}}}]}}'
    limit = sys.getrecursionlimit()
    (found,) = envelope.answers(answer.encode()) or []
    traced = envelope.decode(msgspec.json.Decoder(list[TracedTx]), bytes(found.result))
    assert len(from_calls(traced, body(tx(1)), NAMES)[tx(1).hash]) == 1_024
    assert envelope.answers(b'{"id":0,"result":' + b"[" * 100_000) is None
    assert sys.getrecursionlimit() == limit


@given(json)
def test_hostile_json_is_refused_and_never_crashes(value: Any) -> None:
    for wanted in (Body, list[Receipt], list[Trace], list[TracedTx], Tx):
        try:
            msgspec.json.decode(msgspec.json.encode(value), type=wanted)
        except msgspec.MsgspecError:
            continue


@given(st.lists(st.sampled_from(["call", "null", "error", "other", "extra"]), max_size=4))
def test_results_read_with_their_answers_are_those_read_one_by_one(kinds: list[str]) -> None:
    trace = {"action": {"value": "0x5"}, "type": "call", "traceAddress": [0], "blockHash": "0x1"}
    said = {
        "call": {"result": [trace]},
        "null": {"result": None},
        "error": {"error": {"code": -32000, "message": "gone"}},
        "other": {"result": [{"type": 1}]},
        "extra": {"jsonrpc": "2.0", "result": [trace | {"more": [1, {"a": "\\"}]}], "error": None},
    }
    body = msgspec.json.encode([{"id": number} | said[kind] for number, kind in enumerate(kinds)])

    read, apart = envelope.read_answers(body, list[Trace]), envelope.answers(body)

    assert apart is not None
    if "other" in kinds:
        assert read is None
    else:
        traces = msgspec.json.Decoder(list[Trace] | None)
        assert read == [envelope.Read(one.id, traces.decode(one.result), one.error) for one in apart]


def test_a_single_answer_and_what_is_none_are_left_to_be_read_apart() -> None:
    for body in (b'{"id": 0, "result": []}', b"", b"[", b'[{"id": 0, "result": [}]', b"<html>"):
        assert envelope.read_answers(body, list[Trace]) is None
