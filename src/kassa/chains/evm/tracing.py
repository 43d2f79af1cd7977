"""What contracts moved inside the transactions of blocks, as far as the node's traces show it.

A block whose trace cannot be had must not hold up the chain: anyone can make one for some cents. It is passed on to
balances, and what that leaves unseen is said.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from kassa.chains.envelope import TooLarge
from kassa.chains.evm.abilities import CALL_TRACER, Abilities
from kassa.chains.evm.frames import Mismatch, Trace, TracedTx, from_calls, from_traces
from kassa.chains.evm.matching import Fetched, Frame
from kassa.chains.evm.messages import Header, Incomplete, Names
from kassa.chains.evm.state import is_gone
from kassa.chains.rpc import Call, Fault, JsonRpc
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Unseen

TRIES = 3
"""How often a block's trace must have failed while the node answered, and"""
TRY_SECONDS = 45.0
"""for how long, before it is given up."""

_Answer = Any
"""What `JsonRpc.batch_read` gives: of either method another type, or a text, or a fault."""

Lacking = list[tuple[Fetched, ChainUnavailable]]
"""Blocks whose part the node did not give, or not whole, and what was wrong with it."""


class Tracer:
    """Asks one node, and remembers which blocks it failed to trace."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        self._failures: dict[str, tuple[int, float]] = {}  # by block hash: how often, and since when

    async def trace(self, blocks: Sequence[Fetched], abilities: Abilities) -> Lacking:
        """Give blocks their frames, or mark them untraced; return those to be asked for again."""
        if not blocks or abilities.internal not in ("trace", "debug"):
            return []
        method = "trace_block" if abilities.internal == "trace" else "debug_traceBlockByHash"
        try:
            answers = await self._answers(method, [_call(method, block) for block in blocks])
        except ChainUnavailable as fault:
            if len(blocks) == 1:
                return await self._failed(blocks[0], fault)
            # One of them takes too long, or all do: only each by itself can tell.
            return [each for block in blocks for each in await self.trace([block], abilities)]
        lacking = Lacking()
        for block, answer in zip(blocks, answers, strict=True):
            if answer is None or (isinstance(answer, Fault) and is_gone(answer)):
                block.untraced = True
                block.unseen = Unseen.UNTRACED
                continue
            try:
                block.frames = self._frames(block, answer, method)
            except ChainUnavailable as fault:
                lacking += await self._failed(block, fault)
        return lacking

    async def _failed(self, block: Fetched, fault: ChainUnavailable) -> Lacking:
        """Count a failure, unless the node answers nothing else either; give up a block that has failed for long."""
        await self._rpc.call(Header, "eth_getBlockByNumber", "latest", False)
        now = asyncio.get_running_loop().time()
        times, since = self._failures.get(block.body.hash, (0, now))
        self._failures[block.body.hash] = times + 1, since
        if times + 1 < TRIES or now - since < TRY_SECONDS:
            return [(block, fault)]
        del self._failures[block.body.hash]
        block.untraced = True
        block.unseen = Unseen.UNTRACED
        return []

    async def _answers(self, method: str, calls: Sequence[Call]) -> list[_Answer | None]:
        """Ask for blocks' calls; None for a block whose calls are too large to be told.

        A trace repeats each call's input, and passing it on costs nothing.
        """
        try:
            if method == "trace_block":
                return [*await self._rpc.batch_read(list[Trace], calls)]
            return [*await self._rpc.batch_read(list[TracedTx], calls)]
        except TooLarge:
            if len(calls) == 1:
                return [None]
        return [answer for call in calls for answer in await self._answers(method, [call])]

    def _frames(self, block: Fetched, answer: _Answer, method: str) -> dict[str, list[Frame]]:
        if answer == b"null" or isinstance(answer, Fault):
            words = "nothing" if isinstance(answer, bytes) else answer.message[:200]
            raise Incomplete(f"{self._rpc.node} has no traces of block {block.body.hash}: {words}", block.ref)
        try:
            if method == "trace_block":
                return from_traces(self._rpc.read(list[Trace], answer, method), block.body, self._names)
            return from_calls(self._rpc.read(list[TracedTx], answer, method), block.body, self._names)
        except Mismatch as fault:
            raise Incomplete(f"{self._rpc.node}: {fault}", block.ref) from None


def _call(method: str, block: Fetched) -> Call:
    if method == "trace_block":  # by height, which every node takes; each call names the hash of its block
        return method, (hex(block.ref.height),)
    return method, (block.body.hash, CALL_TRACER)
