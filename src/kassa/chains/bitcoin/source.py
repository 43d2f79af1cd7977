"""Reads one network from one node: Bitcoin Core's RPC (0.21 or later), REST where it is on, ZMQ as a hint."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from kassa.chains.base import Connection, Watched
from kassa.chains.bitcoin.ancestors import ancestors_among
from kassa.chains.bitcoin.blocks import block_hash, block_time, read_block, read_whole
from kassa.chains.bitcoin.layout import COMPILED, HEADER_BYTES, WatchedKeys
from kassa.chains.bitcoin.mempool import Mempool
from kassa.chains.bitcoin.push import hints
from kassa.chains.bitcoin.transactions import Names, RawTransaction
from kassa.chains.matching import NO_KEYS
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainError, ChainInvalid, ChainMoved, ChainUnavailable
from kassa.core.facts import Ability, Ancestor, Block, BlockRef, Contract, Input, Pending, Tip

BODIES_AHEAD = 4  # blocks being fetched while one is scanned; each has at most 4 MB, more with a MWEB part
HASHES_AT_ONCE = 500
MISC_ERROR, NOT_FOUND, OUT_OF_RANGE = -1, -5, -8  # the node's RPC error codes

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Height = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**32)]


class _ChainInfo(msgspec.Struct):
    """What we read of `getblockchaininfo`. Litecoin Core 0.21 has no `time`."""

    chain: str
    blocks: Height
    headers: Height
    bestblockhash: Hash
    initialblockdownload: bool
    time: Seconds | None = None
    pruned: bool = False
    pruneheight: Height = 0


class BitcoinSource:
    """A `ChainSource`. What it reads is bound to block hashes, so that answers from two branches never mix."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._names = names
        self._rpc = JsonRpc(connection.rpc_url)
        self._zmq = connection.zmq
        self._mempool = Mempool(self._rpc, names)
        self._rest = True
        self._destinations = WatchedKeys(NO_KEYS)
        self._outpoints = WatchedKeys(NO_KEYS)

    async def check(self) -> Ability:
        """Verify that the node is on this network, as far as it has come; raise `ChainInvalid` if it is on another."""
        self._rest = True
        info = await self._chain_info()
        known = {height: hash_ for height, hash_ in self._names.chain.checkpoints.items() if height <= info.blocks}
        answers = await self._rpc.batch_raw([("getblockhash", (height,)) for height in known]) if known else ()
        for (height, hash_), answer in zip(known.items(), answers, strict=True):
            if isinstance(answer, Fault):
                raise self._rpc.refused("getblockhash", answer)
            if self._rpc.read(Hash, answer, "getblockhash") != hash_:
                raise ChainInvalid(
                    f"{self._rpc.node} does not hold block {height} of {self._names.chain.chain}, {hash_}: it follows "
                    f"another chain; check rpc_url of network {self._names.network!r}, and what the node is"
                )
        return Ability(first_height=info.pruneheight if info.pruned else 0)

    async def tip(self) -> Tip:
        """Return the end of the node's best chain; every time also a check that it is still the same network."""
        info = await self._chain_info()
        seconds = info.time
        if seconds is None:
            header = _from_hex(await self._rpc.call(str, "getblockheader", info.bestblockhash, False))
            if len(header) != HEADER_BYTES or block_hash(header) != info.bestblockhash:
                raise ChainUnavailable(f"{self._rpc.node} answered with another header than that of its tip")
            seconds = block_time(header)
        return Tip(
            ref=BlockRef(info.blocks, info.bestblockhash),
            time=datetime.fromtimestamp(seconds, UTC),
            best_header=max(info.headers, info.blocks),
            syncing=info.initialblockdownload,
        )

    async def blocks(self, first: int, last: int, watched: Watched) -> Sequence[Block]:
        """Return the best chain's blocks of heights first..last; raise `ChainMoved` if it changed meanwhile.

        The hashes are asked for first, the bodies by hash, several at a time while others are scanned. The keys to look
        for are refreshed after a body has arrived: whatever was committed before a payer could see it is found.
        """
        refs = await self._refs(first, last)
        found: list[Block] = []
        async with aclosing(self._bodies(refs)) as bodies:
            async for ref, body in bodies:
                await watched.refresh()
                self._destinations = self._destinations.renewed(watched.destinations)
                self._outpoints = self._outpoints.renewed(watched.outpoints)
                block = await self._scan(body, ref)
                if found and block.parent != found[-1].ref.hash:
                    raise ChainMoved(f"block {ref.hash} does not follow {found[-1].ref.hash}: the best chain changed")
                found.append(block)
        if refs and await self._refs(last, last) != refs[-1:]:
            raise ChainMoved(f"the best chain changed at or below height {last} while it was read")
        return found

    async def pending(self, watched: Watched, waiting: Sequence[str] = ()) -> Pending:
        """Look into the whole mempool; `waiting` need not be asked for. The tip is read after it (see `Pending`)."""
        complete, transactions = await self._mempool.look(watched)
        info = await self._chain_info()
        return Pending(BlockRef(info.blocks, info.bestblockhash), complete, transactions)

    async def block_hash(self, height: int) -> str:
        """Return the hash of the best chain's block at a height; raise `ChainMoved` where there is none."""
        [ref] = await self._refs(height, height)
        return ref.hash

    async def ancestors(
        self, undone: Sequence[BlockRef], needed: Mapping[str, Sequence[Input]]
    ) -> Mapping[str, Sequence[Ancestor]]:
        """Return what of the transactions in undone blocks ours hang on; a node keeps such blocks."""
        made: dict[str, RawTransaction] = {}
        for ref in undone:
            with suppress(ChainMoved, ChainInvalid):  # another node than the one that showed it, or a pruned one
                made |= await asyncio.to_thread(read_whole, await self._body(ref.hash), ref)
        return await ancestors_among(made, needed)

    async def contracts(self) -> Sequence[Contract]:
        return ()

    async def delegates(self, addresses: Sequence[bytes]) -> Mapping[bytes, str]:
        return {}

    async def wake(self, watched: Watched) -> AsyncGenerator[None, None]:
        """Yield when ZMQ hints at a new block or at a transaction that concerns us; without ZMQ never."""
        if not self._zmq:
            await asyncio.Event().wait()
        async with aclosing(hints(self._zmq, watched, self._mempool)) as found:
            async for _ in found:
                yield

    async def close(self) -> None:
        await self._rpc.close()

    async def _chain_info(self) -> _ChainInfo:
        # The node behind an address can be exchanged at any time, and "main" is what every coin calls its own network:
        # the first block's hash comes with every answer.
        calls = [("getblockhash", (0,)), ("getblockchaininfo", ())]
        genesis, answer = await self._rpc.batch_raw(calls)
        if isinstance(genesis, Fault) or isinstance(answer, Fault):
            fault = genesis if isinstance(genesis, Fault) else answer
            assert isinstance(fault, Fault)
            raise self._rpc.refused("getblockchaininfo", fault)
        info = self._rpc.read(_ChainInfo, answer, "getblockchaininfo")
        chain = self._names.chain
        if self._rpc.read(Hash, genesis, "getblockhash") != chain.genesis or info.chain != chain.core_chain:
            raise ChainInvalid(
                f"{self._rpc.node} is not on {chain.chain}: it calls its chain {info.chain[:20]!r}, its first block "
                f"should be {chain.genesis}; check rpc_url and chain of network {self._names.network!r}"
            )
        return info

    async def _refs(self, first: int, last: int) -> list[BlockRef]:
        refs: list[BlockRef] = []
        for start in range(first, last + 1, HASHES_AT_ONCE):
            heights = range(start, min(start + HASHES_AT_ONCE, last + 1))
            answers = await self._rpc.batch(Hash, [("getblockhash", (height,)) for height in heights])
            for height, answer in zip(heights, answers, strict=True):
                if isinstance(answer, Fault):
                    if answer.code == OUT_OF_RANGE:
                        raise ChainMoved(f"the best chain has no block {height} (any more)")
                    raise self._rpc.refused("getblockhash", answer)
                refs.append(BlockRef(height, answer))
        return refs

    async def _bodies(self, refs: Sequence[BlockRef]) -> AsyncGenerator[tuple[BlockRef, bytes], None]:
        """Yield the raw blocks in order, with some more being fetched."""
        waiting = deque(refs)
        # Not a TaskGroup: a generator must not hold one open across a yield.
        running: deque[tuple[BlockRef, asyncio.Task[bytes]]] = deque()
        try:
            while waiting or running:
                while waiting and len(running) < BODIES_AHEAD:
                    ref = waiting.popleft()
                    running.append((ref, asyncio.create_task(self._body(ref.hash))))
                ref, task = running[0]
                body = await task
                running.popleft()
                yield ref, body
        finally:
            for _, task in running:
                task.cancel()
            for _, task in running:
                with suppress(asyncio.CancelledError, ChainError):
                    await task

    async def _scan(self, body: bytes, ref: BlockRef) -> Block:
        # Compiled it takes a millisecond (25 where something matched), less than handing it over is worth on a busy
        # machine; in Python it would hold up everything else.
        if COMPILED:
            return read_block(body, ref, self._destinations, self._outpoints, self._names)
        return await asyncio.to_thread(read_block, body, ref, self._destinations, self._outpoints, self._names)

    async def _body(self, block: str) -> bytes:
        """Fetch a raw block, over REST (a tenth of the time) where the node offers it."""
        if self._rest:
            body = await self._rpc.get(f"/rest/block/{block}.bin")
            if body is not None:
                return body
        (answer,) = await self._rpc.batch(str, [("getblock", (block, 0))])
        if not isinstance(answer, Fault):
            self._rest = False
            return _from_hex(answer)
        if "pruned" in answer.message:
            raise ChainInvalid(
                f"{self._rpc.node} has pruned block {block}, which is still needed: use a node that keeps it, or raise "
                "its prune setting and let it download the chain again"
            )
        if answer.code in (NOT_FOUND, MISC_ERROR):
            raise ChainMoved(f"{self._rpc.node} does not have block {block} (any more): {answer.message[:200]}")
        raise self._rpc.refused("getblock", answer)


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ChainUnavailable("the node answered with something else than hexadecimal digits") from None
