"""Ether that contracts moved inside transactions, from the two forms in which nodes trace a block.

`trace_block` (Erigon, Nethermind, Reth, anvil) lists all calls flat, each with its place in the tree;
`debug_traceBlockByHash` with the callTracer (Geth and most others) nests them. Both become the same frames: those calls
that moved ether from one account to another, depth first, without what failed and all below it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import Frame
from kassa.chains.evm.messages import Body, Names

_NOTHING = frozenset((None, "", "0x", "0x0"))


class Mismatch(ValueError):
    """These are not the calls of the block that was asked for."""


class _Action(msgspec.Struct, gc=False):
    """What a call was; of a contract that ended itself, `address` is its own and `balance` what it had."""

    sender: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    value: str | None = None
    kind: str | None = msgspec.field(name="callType", default=None)
    address: str | None = None
    refund: str | None = msgspec.field(name="refundAddress", default=None)
    balance: str | None = None


class _Result(msgspec.Struct, gc=False):
    address: str | None = None


class Trace(msgspec.Struct, gc=False):
    """One call of `trace_block`. A reward has no transaction."""

    action: _Action
    type: str
    place: list[int] = msgspec.field(name="traceAddress")
    block: str = msgspec.field(name="blockHash")
    txid: str | None = msgspec.field(name="transactionHash", default=None)
    result: _Result | None = None
    error: str | None = None


class CallFrame(msgspec.Struct, gc=False):
    """One call of the callTracer, with the calls that it made."""

    type: str
    sender: str = msgspec.field(name="from")
    to: str | None = None
    value: str | None = None
    error: str | None = None
    calls: list["CallFrame"] | None = None


class TracedTx(msgspec.Struct, gc=False):
    """A transaction's outermost call. Older nodes leave out its id; their order is the block's."""

    result: CallFrame
    txid: str | None = msgspec.field(name="txHash", default=None)


def from_traces(traces: Sequence[Trace], body: Body, names: Names) -> dict[str, list[Frame]]:
    """Return the frames of each transaction; raise `Mismatch` unless these are all calls of this block."""
    if {trace.block for trace in traces} - {body.hash}:
        raise Mismatch(f"the node traced another block than {body.hash}")
    outermost = [trace.txid for trace in traces if not trace.place and trace.txid is not None]
    _check_complete(outermost, body, names)
    # What moved something or failed; most calls did neither, and there are very many.
    telling = [
        trace
        for trace in traces
        if (trace.action.value not in _NOTHING or trace.error is not None or trace.action.balance not in _NOTHING)
        and trace.txid is not None
    ]
    telling.sort(key=_place)  # a call comes before those that it made
    found: dict[str, list[Frame]] = {txid: [] for txid in outermost}
    for txid, group in groupby(telling, key=lambda trace: trace.txid or ""):
        found[txid] = list(_moving(list(group)))
    return found


def _place(trace: Trace) -> tuple[str, Sequence[int]]:
    return trace.txid or "", trace.place


def from_calls(traced: Sequence[TracedTx], body: Body, names: Names) -> dict[str, list[Frame]]:
    """Return the frames of each transaction; raise `Mismatch` unless these are all of the block's."""
    if all(one.txid is None for one in traced) and len(traced) == len(body.transactions):
        txids = [tx.hash for tx in body.transactions]
    else:
        txids = [one.txid or "" for one in traced]
    _check_complete(txids, body, names)
    return {txid: list(_below(one.result)) for txid, one in zip(txids, traced, strict=True)}


def _check_complete(txids: Sequence[str | None], body: Body, names: Names) -> None:
    expected = {tx.hash for tx in body.transactions}
    # Where receipts hold what no header commits to, there are transactions that nobody traces.
    same = set(txids) == expected if names.chain.complete_bloom else set(txids) <= expected
    if not same or len(set(txids)) != len(txids):
        raise Mismatch(f"the node traced other transactions than those of block {body.hash}")


def _moving(traces: Sequence[Trace]) -> Iterator[Frame]:
    """Yield a transaction's frames from its flat calls, in order."""
    failed: list[int] | None = None
    for trace in traces:
        if failed is not None and trace.place[: len(failed)] == failed:
            continue
        failed = trace.place if trace.error is not None else None
        if failed is None and trace.place:
            yield from _moved(*_movement(trace))


def _movement(trace: Trace) -> tuple[str | None, str | None, str | None]:
    action = trace.action
    match trace.type, action.kind:
        case "call", "call" | None:
            return action.sender, action.to, action.value
        case "create", _:
            return action.sender, None if trace.result is None else trace.result.address, action.value
        case "suicide" | "selfdestruct", _:
            return action.address, action.refund, action.balance
    return None, None, None  # a call of another's code in one's own place moves nothing


def _below(outermost: CallFrame) -> Iterator[Frame]:
    """Yield a transaction's frames from its nested calls, without recursion: they may be a thousand deep."""
    if outermost.error is not None:
        return
    waiting = list(reversed(outermost.calls or ()))
    while waiting:
        frame = waiting.pop()
        if frame.error is not None:
            continue
        if frame.type in ("CALL", "CREATE", "CREATE2", "SELFDESTRUCT"):
            yield from _moved(frame.sender, frame.to, frame.value)
        waiting += reversed(frame.calls or ())


def _moved(sender: str | None, to: str | None, value: str | None) -> Iterator[Frame]:
    if sender is None or to is None or value in _NOTHING or sender.lower() == to.lower():
        return
    units = number(value or "")
    if units:
        yield Frame(to, units)
