"""Fetch blocks with all that belongs to them, and make sure that it is all of it.

The body of a block is asked for by its height, everything else by the hash that came with it, so that answers of two
branches, or of two nodes behind one address, never mix.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from kassa.chains.evm.abilities import Abilities
from kassa.chains.evm.bloom import bits, read_bloom, union
from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import FAILED, SUCCEEDED, TRANSFER, UPGRADES, Fetched
from kassa.chains.evm.messages import Body, Header, Incomplete, Names, Receipt
from kassa.chains.evm.tracing import Lacking, Tracer
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainMoved, ChainUnavailable

STATUSES = (FAILED, SUCCEEDED)
RECEIPTS_AT_ONCE = 200
PATIENCE = (0.05, 0.1, 0.2)
"""Seconds between the times that a block's missing part is asked for again: of several nodes behind one address, one
may not have yet what another named."""

T = TypeVar("T")


class Reader:
    """Reads from one node, with what that node can do."""

    def __init__(self, rpc: JsonRpc, names: Names, abilities: Abilities, tracer: Tracer) -> None:
        self._rpc = rpc
        self._names = names
        self._abilities = abilities
        self._tracer = tracer
        self._telling = [bits(contract) | bits(topic) for contract in names.tokens for topic in (TRANSFER, *UPGRADES)]

    async def blocks(self, heights: Sequence[int]) -> list[Fetched]:
        """Fetch blocks of the best chain, the receipts of those that may hold our transfers, and their inner calls."""
        fetched = await self._bodies(heights)
        await self.receipts([block for block in fetched if self._may_tell(block.body)])
        moving = [block for block in fetched if block.body.transactions]
        await _until_whole(lambda part: self._tracer.trace(part, self._abilities), moving)
        return fetched

    async def _bodies(self, heights: Sequence[int]) -> list[Fetched]:
        found: dict[int, Fetched] = {}
        for pause in (*PATIENCE, None):
            missing = [height for height in heights if height not in found]
            calls = [("eth_getBlockByNumber", (hex(height), True)) for height in missing]
            answers = await self._rpc.batch_read(Body, calls)
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
            answers = await self._rpc.batch_read(list[Receipt], [(method, (block.body.hash,)) for block in blocks])
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

    def _fetched(self, height: int, answer: bytes | Body | Fault) -> Fetched:
        body = self._rpc.take(Body, answer, "eth_getBlockByNumber")
        if number(body.number) != height:
            raise ChainUnavailable(f"{self._rpc.node} answered with another block than {height}")
        return Fetched(body)

    def _may_tell(self, body: Body) -> bool:
        """Tell whether one of our contracts may have logged something that matters."""
        if not body.transactions or not self._telling:
            return False
        if not self._names.chain.complete_bloom:
            return True  # what it leaves out may be ours
        bloom = read_bloom(body.bloom)
        return any(bloom & wanted == wanted for wanted in self._telling)

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
