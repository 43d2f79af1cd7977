"""Fetch blocks with all that belongs to them, and make sure that it is all of it.

The body of a block is asked for by its height, everything else by the hash that came with it, so that answers of two
branches, or of two nodes behind one address, never mix.
"""

from collections.abc import Sequence

from kassa.chains.evm.bloom import bits, read_bloom, union
from kassa.chains.evm.hexadecimal import number
from kassa.chains.evm.matching import TRANSFER, Fetched
from kassa.chains.evm.messages import Body, Header, Names, Receipt
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainMoved, ChainUnavailable


class Reader:
    """Reads from one node."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        transfer = bits(TRANSFER)
        self._transfers = [bits(contract) | transfer for contract in names.tokens]

    async def blocks(self, heights: Sequence[int]) -> list[Fetched]:
        """Fetch blocks of the best chain in one request, and then the receipts of those that may hold our transfers."""
        calls = [("eth_getBlockByNumber", (hex(height), True)) for height in heights]
        answers = await self._rpc.batch_raw(calls)
        fetched = [self._fetched(height, answer) for height, answer in zip(heights, answers, strict=True)]
        await self.receipts([block for block in fetched if self._may_transfer(block.body)])
        return fetched

    async def hash_at(self, height: int) -> str:
        """Return the hash of the best chain's block at a height."""
        (raw,) = await self._rpc.batch_raw([("eth_getBlockByNumber", (hex(height), False))])
        answer = self._rpc.take_or_none(Header, raw, "eth_getBlockByNumber")
        if answer is None:
            raise ChainMoved(f"the best chain has no block {height} (any more)")
        return answer.hash

    async def receipts(self, blocks: Sequence[Fetched]) -> None:
        """Fetch the receipts of these blocks; raise `ChainUnavailable` unless they are all of them."""
        method = "eth_getBlockReceipts"
        answers = await self._rpc.batch_raw([(method, (block.body.hash,)) for block in blocks])
        for block, raw in zip(blocks, answers, strict=True):
            answer = self._rpc.take_or_none(list[Receipt], raw, method)
            if answer is None:
                raise ChainUnavailable(f"{self._rpc.node} has no receipts for block {block.body.hash}, which it gave")
            block.receipts = self._complete(block.body, answer)

    def _fetched(self, height: int, answer: bytes | Fault) -> Fetched:
        body = self._rpc.take_or_none(Body, answer, "eth_getBlockByNumber")
        if body is None:
            raise ChainMoved(f"the best chain has no block {height} (any more)")
        if number(body.number) != height:
            raise ChainUnavailable(f"{self._rpc.node} answered with another block than {height}")
        return Fetched(body)

    def _may_transfer(self, body: Body) -> bool:
        if not body.transactions or not self._transfers:
            return False
        bloom = read_bloom(body.bloom)
        return any(bloom & wanted == wanted for wanted in self._transfers)

    def _complete(self, body: Body, receipts: Sequence[Receipt]) -> dict[str, Receipt]:
        """Return receipts by transaction id, once they are known to be exactly those of a block."""
        found = {receipt.txid: receipt for receipt in receipts}
        same = len(receipts) == len(body.transactions) and found.keys() == {tx.hash for tx in body.transactions}
        if not same or any(receipt.block != body.hash for receipt in receipts):
            raise ChainUnavailable(f"{self._rpc.node} gave other receipts than those of block {body.hash}")
        if any(log.removed for receipt in receipts for log in receipt.logs):
            raise ChainUnavailable(f"{self._rpc.node} calls logs of block {body.hash} removed: its chain is changing")
        committed, logged = read_bloom(body.bloom), union(receipts)
        if committed & ~logged or (self._names.chain.complete_bloom and committed != logged):
            raise ChainUnavailable(f"{self._rpc.node} gave other logs than those that block {body.hash} commits to")
        return found
