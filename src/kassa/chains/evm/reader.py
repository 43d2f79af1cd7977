"""Fetch blocks with all that belongs to them, and make sure that it is all of it.

The body of a block is asked for by its height, everything else by the hash that came with it, so that answers of two
branches, or of two nodes behind one address, never mix.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from kassa.chains.envelope import TooLarge
from kassa.chains.evm.abilities import CALL_TRACER, Abilities
from kassa.chains.evm.bloom import bits, read_bloom, union
from kassa.chains.evm.frames import Mismatch, Trace, TracedTx, from_calls, from_traces
from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import FAILED, SUCCEEDED, TRANSFER, Fetched, Frame
from kassa.chains.evm.messages import Body, Header, Incomplete, Names, Receipt
from kassa.chains.evm.state import gone, is_gone
from kassa.chains.rpc import Call, Fault, JsonRpc
from kassa.core.errors import ChainMoved, ChainUnavailable

STATUSES = (FAILED, SUCCEEDED)
RECEIPTS_AT_ONCE = 200
PATIENCE = (0.05, 0.1, 0.2)
"""Seconds between the times that a block's missing part is asked for again: of several nodes behind one address, one
may not have yet what another named."""

T = TypeVar("T")
Lacking = list[tuple[Fetched, ChainUnavailable]]
"""Blocks whose part the node did not give, or not whole, and what was wrong with it."""


class Reader:
    """Reads from one node, with what that node can do."""

    def __init__(self, rpc: JsonRpc, names: Names, abilities: Abilities) -> None:
        self._rpc = rpc
        self._names = names
        self._abilities = abilities
        transfer = bits(TRANSFER)
        self._transfers = [bits(contract) | transfer for contract in names.tokens]

    async def blocks(self, heights: Sequence[int]) -> list[Fetched]:
        """Fetch blocks of the best chain, the receipts of those that may hold our transfers, and their inner calls."""
        fetched = await self._bodies(heights)
        await self.receipts([block for block in fetched if self._may_transfer(block.body)])
        await _until_whole(self._trace, [block for block in fetched if block.body.transactions])
        return fetched

    async def _bodies(self, heights: Sequence[int]) -> list[Fetched]:
        found: dict[int, Fetched] = {}
        for pause in (*PATIENCE, None):
            missing = [height for height in heights if height not in found]
            answers = await self._rpc.batch_raw([("eth_getBlockByNumber", (hex(height), True)) for height in missing])
            said = zip(missing, answers, strict=True)
            found |= {height: self._fetched(height, answer) for height, answer in said if answer != b"null"}
            if len(found) == len(heights):
                break
            if pause is None:
                raise ChainMoved(f"the best chain has no block {min(set(heights) - found.keys())} (any more)")
            await asyncio.sleep(pause)
        return [found[height] for height in heights]

    @property
    def internal(self) -> str:
        """How internal transfers are seen."""
        return self._abilities.internal

    async def hash_at(self, height: int) -> str:
        """Return the hash of the best chain's block at a height."""
        method = "eth_getBlockByNumber"
        for pause in (*PATIENCE, 0):
            (raw,) = await self._rpc.batch_raw([(method, (hex(height), False))])
            answer = self._rpc.take_or_none(Header, raw, method)
            if answer is not None:
                return answer.hash
            await asyncio.sleep(pause)
        raise ChainMoved(f"the best chain has no block {height} (any more)")

    async def receipts(self, blocks: Sequence[Fetched]) -> None:
        """Fetch the receipts of these blocks; raise `Incomplete` unless they are all of them."""
        await _until_whole(self._receipts, blocks)

    async def _receipts(self, blocks: Sequence[Fetched]) -> Lacking:
        method, lacking = "eth_getBlockReceipts", Lacking()
        if self._abilities.block_receipts:
            answers = await self._rpc.batch_raw([(method, (block.body.hash,)) for block in blocks])
        for place, block in enumerate(blocks):
            try:
                if self._abilities.block_receipts:
                    found = self._rpc.take_or_none(list[Receipt], answers[place], method)
                else:
                    found = await self._one_by_one(block)
                self._complete(block, found)
            except ChainUnavailable as fault:
                lacking.append((block, fault))
        return lacking

    async def _one_by_one(self, block: Fetched) -> list[Receipt] | None:
        """Fetch a block's receipts by their transactions; None if one is missing."""
        method, found = "eth_getTransactionReceipt", list[Receipt]()
        txids = [tx.hash for tx in block.body.transactions]
        for start in range(0, len(txids), RECEIPTS_AT_ONCE):
            part = txids[start : start + RECEIPTS_AT_ONCE]
            for answer in await self._rpc.batch_raw([(method, (txid,)) for txid in part]):
                receipt = self._rpc.take_or_none(Receipt, answer, method)
                if receipt is None:
                    return None
                found.append(receipt)
        return found

    async def _trace(self, blocks: Sequence[Fetched]) -> Lacking:
        """Fetch what contracts moved inside the transactions of these blocks, where the network's node shows it."""
        if self._abilities.internal == "trace":
            # By height, which every node takes; each call names the hash of its block.
            method = "trace_block"
            calls: list[Call] = [(method, (hex(block.ref.height),)) for block in blocks]
        elif self._abilities.internal == "debug":
            method = "debug_traceBlockByHash"
            calls = [(method, (block.body.hash, CALL_TRACER)) for block in blocks]
        else:
            return []
        lacking = Lacking()
        for block, answer in zip(blocks, await self._traces(calls), strict=True):
            if answer is None:
                block.untraced = True
                continue
            if isinstance(answer, Fault) and is_gone(answer):
                raise gone(self._rpc, self._names, block.body.hash)
            try:
                block.frames = self._frames(block, answer, method)
            except ChainUnavailable as fault:
                lacking.append((block, fault))
        return lacking

    async def _traces(self, calls: Sequence[Call]) -> list[bytes | Fault | None]:
        """Ask for blocks' calls; None for a block whose calls are too large to be told.

        Anyone can make such a block for some cents: a trace repeats each call's input, and passing it on costs nothing.
        """
        try:
            return [*await self._rpc.batch_raw(calls)]
        except TooLarge:
            if len(calls) == 1:
                return [None]
        return [answer for call in calls for answer in await self._traces([call])]

    def _frames(self, block: Fetched, answer: bytes | Fault, method: str) -> dict[str, list[Frame]]:
        if answer == b"null" or isinstance(answer, Fault):
            words = "nothing" if isinstance(answer, bytes) else answer.message[:200]
            raise Incomplete(f"{self._rpc.node} has no traces of block {block.body.hash}: {words}", block.ref)
        try:
            if method == "trace_block":
                return from_traces(self._rpc.read(list[Trace], answer, method), block.body, self._names)
            return from_calls(self._rpc.read(list[TracedTx], answer, method), block.body, self._names)
        except Mismatch as fault:
            raise Incomplete(f"{self._rpc.node}: {fault}", block.ref) from None

    def _fetched(self, height: int, answer: bytes | Fault) -> Fetched:
        body = self._rpc.take(Body, answer, "eth_getBlockByNumber")
        if number(body.number) != height:
            raise ChainUnavailable(f"{self._rpc.node} answered with another block than {height}")
        return Fetched(body)

    def _may_transfer(self, body: Body) -> bool:
        if not body.transactions or not self._transfers:
            return False
        if not self._names.chain.complete_bloom:
            return True  # what it leaves out may be ours
        bloom = read_bloom(body.bloom)
        return any(bloom & wanted == wanted for wanted in self._transfers)

    def _complete(self, block: Fetched, receipts: Sequence[Receipt] | None) -> None:
        """Give a block its receipts, once they are known to be exactly those of it."""
        body = block.body
        found = {receipt.txid: receipt for receipt in receipts or ()}
        if receipts is None or len(receipts) != len(found) or found.keys() != {tx.hash for tx in body.transactions}:
            raise self._incomplete(block, "has not all the receipts of")
        if any(receipt.block != body.hash for receipt in receipts):
            raise self._incomplete(block, "gave receipts of another block than")
        if any(receipt.status not in STATUSES for receipt in receipts):
            raise self._incomplete(block, "does not say what became of the transactions of")
        if any(log.removed for receipt in receipts for log in receipt.logs):
            raise self._incomplete(block, "calls logs removed of")
        block.receipts = found
        committed, logged = read_bloom(body.bloom), union(block.logged)
        if committed & ~logged or (self._names.chain.complete_bloom and committed != logged):
            raise self._incomplete(block, "gave other logs than those that stand in")

    def _incomplete(self, block: Fetched, what: str) -> Incomplete:
        return Incomplete(f"{self._rpc.node} {what} block {block.body.hash}", block.ref)


async def _until_whole(once: Callable[[Sequence[Fetched]], Awaitable[Lacking]], blocks: Sequence[Fetched]) -> None:
    """Fetch a part of blocks, and again of those where it was not whole; raise what was wrong when patience ends."""
    for pause in PATIENCE:
        lacking = await once(blocks)
        if not lacking:
            return
        await asyncio.sleep(pause)
        blocks = [block for block, _ in lacking]
    for _, fault in await once(blocks):
        raise fault


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Do what may ask a node that lags, and again when it does; raise `Incomplete` when patience ends."""
    for pause in PATIENCE:
        try:
            return await attempt()
        except Incomplete:
            await asyncio.sleep(pause)
    return await attempt()
