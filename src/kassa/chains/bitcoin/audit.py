"""What reached our addresses, from the node's set of unspent outputs and its blocks, by none of the follower's code."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import TypeVar

import msgspec

from kassa.chains.base import Connection
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.audits import Claim, Movement, Received, Tell
from kassa.core.errors import ChainMoved, ChainUnavailable
from kassa.core.facts import BlockRef

SCRIPTS_AT_ONCE = 5_000  # each scan reads the whole set, however many it looks for
PROOFS_AT_ONCE = 100
SCAN_SECONDS = 3_600.0
BUSY_SECONDS = 1_800.0
BUSY_PAUSE_SECONDS = 5.0
"""A node scans for one caller at a time: how long, and in which rhythm, the end of another's scan is waited for."""
_COIN = 100_000_000
_NOT_FOUND = -5  # no such block, or no such transaction in it
_BUSY = -8, "already in progress"

T = TypeVar("T")
Outpoint = tuple[str, str]
"""A transaction's id, and the position as Kassa writes it: "out:0"."""


class _Output(msgspec.Struct):
    txid: str
    vout: int
    script: str = msgspec.field(name="scriptPubKey")
    amount: Decimal = Decimal(0)
    height: int = 0


class _Scan(msgspec.Struct):
    """What we read of `scantxoutset`."""

    success: bool
    height: int
    bestblock: str
    unspents: list[_Output]


class _Header(msgspec.Struct):
    height: int
    confirmations: int  # -1: not of the best chain


class _Script(msgspec.Struct):
    hex: str


class _Paid(msgspec.Struct):
    value: Decimal
    n: int
    script: _Script = msgspec.field(name="scriptPubKey")


class _Transaction(msgspec.Struct):
    """What we read of `getrawtransaction` with a block's hash."""

    vout: list[_Paid]


class BitcoinAuditor:
    """An `Auditor`.

    An output of ours is either unspent, and then the node lists it, or spent, and then the block that the books name
    must hold it. What was spent and never booked is in neither: only the follower can have seen it.
    """

    def __init__(self, connection: Connection) -> None:
        self._rpc = JsonRpc(connection.rpc_url, timeout_seconds=SCAN_SECONDS)

    async def close(self) -> None:
        """Close every connection."""
        await self._rpc.close()

    async def received(self, tip: BlockRef, first: int, claims: Sequence[Claim], tell: Tell) -> Sequence[Received]:
        """See `Auditor`. Where the node refuses to list unspent outputs, only what the books name is looked for."""
        await self._check(tip.hash, tip.height)
        scripts = list(dict.fromkeys(claim.script.hex() for claim in claims))
        listed = await self._rpc.knows("scantxoutset", "status")
        unspent = await self._unspent(scripts, tell) if listed else {}
        held = {key for outputs in unspent.values() for key in outputs}
        gone = [
            (claim.script.hex(), m) for claim in claims for m in claim.movements if (m.txid, m.position) not in held
        ]
        spent = await self._spent(gone, tip, tell)
        await self._check(tip.hash, tip.height)
        found = []
        for claim in claims:
            outputs = unspent.get(claim.script.hex(), {})
            units = sum(units for units, height in outputs.values() if first <= height <= tip.height)
            proofs = [spent[m.txid, m.position] for m in claim.movements if (m.txid, m.position) in spent]
            told = [proof for proof in proofs if proof is not None]
            found.append(Received(units + sum(told), exact=listed and len(told) == len(proofs)))
        return found

    async def _check(self, block: str, height: int | None = None) -> int:
        """Return the height of a block of the node's best chain; raise `ChainMoved` if it is not in it."""
        (header,) = await self._rpc.batch(_Header, [("getblockheader", (block,))])
        if isinstance(header, Fault) or header.confirmations < 1 or height not in (None, header.height):
            raise ChainMoved(f"block {block} is not in the best chain of {self._rpc.node}")
        return header.height

    async def _unspent(self, scripts: Sequence[str], tell: Tell) -> Mapping[str, dict[Outpoint, tuple[int, int]]]:
        """Return units and height of the unspent outputs of scripts, by script."""
        found: dict[str, dict[Outpoint, tuple[int, int]]] = {}
        for done, part in enumerate(_parts(scripts, SCRIPTS_AT_ONCE)):
            tell(done * SCRIPTS_AT_ONCE, len(scripts))
            scan = await self._scan(part)
            if not scan.success:
                raise ChainUnavailable(f"{self._rpc.node} broke off a scan of its unspent outputs")
            await self._check(scan.bestblock, scan.height)
            for output in scan.unspents:
                place = found.setdefault(output.script, {})
                place[output.txid, f"out:{output.vout}"] = _units(output.amount), output.height
        tell(len(scripts), len(scripts))
        return found

    async def _scan(self, scripts: Sequence[str]) -> _Scan:
        clock = asyncio.get_running_loop().time
        until = clock() + BUSY_SECONDS
        while True:
            asked = "scantxoutset", ("start", [f"raw({script})" for script in scripts])
            (answer,) = await self._rpc.batch(_Scan, [asked])
            if not isinstance(answer, Fault):
                return answer
            busy = answer.code == _BUSY[0] and _BUSY[1] in answer.message
            if not busy or clock() >= until:
                raise self._rpc.refused("scantxoutset", answer)
            await asyncio.sleep(BUSY_PAUSE_SECONDS)

    async def _spent(
        self, gone: Sequence[tuple[str, Movement]], tip: BlockRef, tell: Tell
    ) -> Mapping[Outpoint, int | None]:
        """Return what the named blocks hold of outputs that are not unspent; None: the node has dropped the block."""
        found: dict[Outpoint, int | None] = {}
        for part in _parts(gone, PROOFS_AT_ONCE):
            named = [(script, movement) for script, movement in part if movement.block is not None]
            headers = await self._rpc.batch(_Header, [("getblockheader", (m.block,)) for _, m in named])
            calls = [("getrawtransaction", (m.txid, True, m.block)) for _, m in named]
            answers = await self._rpc.batch(_Transaction, calls)
            for (script, movement), header, answer in zip(named, headers, answers, strict=True):
                known = isinstance(header, _Header) and header.confirmations > 0 and header.height <= tip.height
                units = _paid(answer, script, movement.position) if known else 0
                found[movement.txid, movement.position] = units
            tell(len(found), len(gone))
        return found


def _paid(answer: _Transaction | Fault, script: str, position: str) -> int | None:
    """Return what an output pays to a script: 0 for a transaction that is not there, None where it cannot be told."""
    if isinstance(answer, Fault):
        return 0 if answer.code == _NOT_FOUND else None
    outputs = [out for out in answer.vout if f"out:{out.n}" == position and out.script.hex == script]
    return sum(_units(out.value) for out in outputs)


def _units(amount: Decimal) -> int:
    units = amount * _COIN
    if units != int(units):
        raise ChainUnavailable(f"the node wrote an amount of {amount}, which is no whole number of its smallest units")
    return int(units)


def _parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
