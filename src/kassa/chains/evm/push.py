"""Hints over WebSocket that a look is worthwhile. A notice is never taken as a fact: it may be lost or forged."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import msgspec

from kassa.chains.base import Watched
from kassa.chains.envelope import Notice
from kassa.chains.evm.hexadecimal import keys
from kassa.chains.evm.matching import address_digits, outpoint_keys
from kassa.chains.evm.messages import Tx
from kassa.chains.matching import members
from kassa.chains.rpc import JsonRpc
from kassa.chains.websocket import Listener
from kassa.core.errors import ChainError, ChainUnavailable

AGAIN_SECONDS = 3.0  # after a connection ended, and then twice as long each time
AT_MOST_SECONDS = 60.0
REFRESH_SECONDS = 0.02  # transactions that match nothing are compared once more after so long
BUSY_SECONDS = 0.25  # between such comparisons, where transactions come without end
UNSURE_LIMIT = 1_000  # transactions held until then


class _Said(msgspec.Struct):
    subscription: str
    result: msgspec.Raw


async def hints(rpc: JsonRpc, watched: Watched, *, every_transaction: bool) -> AsyncGenerator[None, None]:
    """Yield at every block, and at every waiting transaction that touches a watched key, where the node shows it.

    `every_transaction`: a node that tells of them by hash alone is listened to as well; on a public chain that would be
    a hint many times a second. Yields after each connection too: what happened meanwhile was not heard.
    """
    pause = AGAIN_SECONDS
    while True:
        try:
            async with rpc.listening() as listener:
                if listener is None:
                    await asyncio.Event().wait()
                    return
                ear = _Ear(rpc, listener, watched, every_transaction=every_transaction)
                await ear.subscribe()
                yield
                pause = AGAIN_SECONDS
                while True:
                    if await ear.worthwhile():
                        yield
        except ChainError:
            await asyncio.sleep(pause)
            pause = min(AT_MOST_SECONDS, 2 * pause)


class _Ear:
    """One connection's subscriptions, and the transactions that may pay an address newer than the keys in memory."""

    def __init__(self, rpc: JsonRpc, listener: Listener, watched: Watched, *, every_transaction: bool) -> None:
        self._rpc = rpc
        self._listener = listener
        self._watched = watched
        self._every = every_transaction
        self._unsure: list[Tx] = []
        self._refresh_at = 0.0
        self._heads = ""

    async def subscribe(self) -> None:
        """Ask to be told of blocks, and of waiting transactions with all that is in them if the node can."""
        method = "eth_subscribe"
        (heads,) = await self._rpc.batch_raw([(method, ("newHeads",))])
        self._heads = self._rpc.take(str, heads, method)
        await self._rpc.knows(method, "newPendingTransactions", True)  # a node that cannot still tells of blocks

    async def worthwhile(self) -> bool:
        """Hear one notice, or let the time for a refresh come; tell whether it is worth a look."""
        loop = asyncio.get_running_loop()
        notice = await self._listener.hear(max(0.0, self._refresh_at - loop.time()) if self._unsure else None)
        if notice is not None and self._tells(notice):
            return True
        if self._unsure and loop.time() >= self._refresh_at:
            await self._watched.refresh()
            held, self._unsure = self._unsure, []
            self._refresh_at = loop.time() + BUSY_SECONDS
            return self._touches(held)
        return False

    def _tells(self, notice: Notice) -> bool:
        try:
            said = msgspec.json.decode(notice.params, type=_Said)
            if said.subscription == self._heads:
                return True
            if bytes(said.result).startswith(b'"'):  # by its hash alone
                return self._every
            tx = msgspec.json.decode(said.result, type=Tx)
            if self._touches([tx]):
                return True
        except (msgspec.MsgspecError, ValueError, RecursionError, ChainUnavailable):
            return False
        if not self._unsure:
            now = asyncio.get_running_loop().time()
            self._refresh_at = max(self._refresh_at, now + REFRESH_SECONDS)
        if len(self._unsure) < UNSURE_LIMIT:
            self._unsure.append(tx)
        return False

    def _touches(self, transactions: Sequence[Tx]) -> bool:
        paid = keys([address_digits(tx.to) for tx in transactions if tx.to is not None])
        pays = members(paid, self._watched.destinations)
        return bool(pays.any() or members(outpoint_keys(transactions), self._watched.outpoints).any())
