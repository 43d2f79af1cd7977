"""What waits for a block, as far as a node shows it. Nobody shows all of it, so absence is asked for id by id.

Ether on its way is seen in the transaction itself. A token's transfer is a log, and there is none before the block.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import numpy as np

from kassa.chains.base import Watched
from kassa.chains.envelope import TooMuch
from kassa.chains.evm.hexadecimal import data, keys, number
from kassa.chains.evm.matching import address_digits, coin_transfers, outpoint_keys, spent
from kassa.chains.evm.messages import Header, Names, Tx
from kassa.chains.matching import members
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Transaction

POOL_LIMIT = 5_000
"""A larger pool is not fetched whole (a public chain's has some 100,000 transactions, 100 MB): the next block is."""
ASKED_AT_ONCE = 200
_TXID = re.compile(r"0x[0-9a-f]{64}\Z")


class _Status(msgspec.Struct):
    pending: str
    queued: str


class _Content(msgspec.Struct):
    pending: dict[str, dict[str, Tx]]


class _NextBlock(msgspec.Struct):
    """The block that the node would make now. Some answer with their latest instead."""

    parent: str = msgspec.field(name="parentHash")
    transactions: list[Tx]


class Pool:
    """Looks into one node's pool."""

    def __init__(self, rpc: JsonRpc, names: Names) -> None:
        self._rpc = rpc
        self._names = names
        self._shown: bool | None = None

    def forget(self) -> None:
        """Find out anew what the node shows."""
        self._shown = None

    async def look(self, watched: Watched, waiting: Sequence[str], tip: str) -> tuple[bool, tuple[Transaction, ...]]:
        """Return whether it is known of every waiting id if it waits, and the transactions that touch a watched key."""
        shown = await self._pool(tip)
        complete, asked = await self._ask(waiting)
        await watched.refresh()
        found = {tx.hash: tx for tx in self._touching(shown, watched)} | {tx.hash: tx for tx in asked}
        return complete, tuple([self._describe(tx, watched) for tx in found.values()])

    async def _pool(self, tip: str) -> list[Tx]:
        if self._shown is None:
            self._shown = await self._rpc.knows("txpool_status")
        if self._shown:
            status = await self._rpc.call(_Status, "txpool_status")
            if number(status.pending) + number(status.queued) <= POOL_LIMIT:
                with suppress(TooMuch):  # few can be large
                    content = await self._rpc.call(_Content, "txpool_content")
                    return [tx for queue in content.pending.values() for tx in queue.values()]
        (raw,) = await self._rpc.batch_raw([("eth_getBlockByNumber", ("pending", True))])
        if isinstance(raw, Fault):
            return []  # a node need not show what it would put into the next block
        block = self._rpc.take_or_none(_NextBlock, raw, "eth_getBlockByNumber")
        return [] if block is None or block.parent != tip else block.transactions

    async def _ask(self, waiting: Sequence[str]) -> tuple[bool, list[Tx]]:
        """Ask for each id; tell whether each is known to wait or known not to, and return those that do."""
        method, waits, mined = "eth_getTransactionByHash", list[Tx](), list[Tx]()
        # What bears another name than a transaction's (a balance that grew) never waits.
        asked = [txid for txid in waiting if _TXID.match(txid)]
        for start in range(0, len(asked), ASKED_AT_ONCE):
            part = asked[start : start + ASKED_AT_ONCE]
            for txid, answer in zip(part, await self._rpc.batch_raw([(method, (txid,)) for txid in part]), strict=True):
                tx = self._rpc.take_or_none(Tx, answer, method)
                if tx is None:
                    continue
                if tx.hash != txid:
                    raise ChainUnavailable(f"{self._rpc.node} answered with another transaction than {txid}")
                (waits if tx.block_hash is None else mined).append(tx)
        return await self._on_best_chain(mined), waits

    async def _on_best_chain(self, mined: Sequence[Tx]) -> bool:
        """Tell whether these stand in blocks of the best chain.

        Who stands on its tip has seen them there, and what they pay, if they did not fail. A transaction in a block of
        another branch, or of another node behind the same address, may well wait here.
        """
        method = "eth_getBlockByNumber"
        answers = await self._rpc.batch_raw([(method, (tx.block_number, False)) for tx in mined])
        headers = [self._rpc.take_or_none(Header, answer, method) for answer in answers]
        return all(
            header is not None and header.hash == tx.block_hash for tx, header in zip(mined, headers, strict=True)
        )

    def _touching(self, shown: Sequence[Tx], watched: Watched) -> list[Tx]:
        paying = members(keys([address_digits(tx.to or f"0x{0:040x}") for tx in shown]), watched.destinations)
        spending = members(outpoint_keys(shown), watched.outpoints)
        return [shown[place] for place in np.flatnonzero(paying | spending).tolist()]

    def _describe(self, tx: Tx, watched: Watched) -> Transaction:
        """Describe a waiting transaction; any can be replaced by another of the same nonce."""
        data(tx.hash, 32)
        transfers = coin_transfers(tx, watched.destinations, self._names)
        return Transaction(tx.hash, tuple(transfers), (spent(tx),), replaceable=True)
