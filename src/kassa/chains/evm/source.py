"""Reads one network from one node: Ethereum's JSON-RPC over HTTP or WebSocket."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import msgspec

from kassa.chains.base import Connection, Watched
from kassa.chains.evm import contracts
from kassa.chains.evm.abilities import Abilities, learn
from kassa.chains.evm.ahead import Ahead
from kassa.chains.evm.balances import Balances, senders
from kassa.chains.evm.hexadecimal import data, number
from kassa.chains.evm.matching import Fetched, block_time, describe, touched, upgrades
from kassa.chains.evm.messages import Header, Incomplete, Names
from kassa.chains.evm.pool import Pool
from kassa.chains.evm.push import hints
from kassa.chains.evm.reader import Reader, patiently
from kassa.chains.evm.state import confirm
from kassa.chains.evm.tracing import Tracer
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainError, ChainInvalid, ChainMoved
from kassa.core.facts import Ability, Ancestor, Block, BlockRef, Contract, Input, Pending, Tip, Transaction, Unseen

DELEGATES = bytes.fromhex("ef0100")
"""What the code of an account begins with for which a contract acts (EIP-7702); the contract's address follows."""


class _Syncing(msgspec.Struct):
    """What we read of `eth_syncing` while a node catches up; rollups say it in other words."""

    highest: str | None = msgspec.field(name="highestBlock", default=None)


class EvmSource:
    """A `ChainSource`. What it reads is bound to block hashes, so that answers from two branches never mix."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._names = names
        self._rpc = JsonRpc(connection.rpc_url)
        self._pool = Pool(self._rpc, names)
        self._connection = connection
        self._abilities: Abilities | None = None
        self._genesis = names.chain.genesis
        self._ahead = Ahead()
        self._tracer = Tracer(self._rpc, names)
        self._balances = Balances(self._rpc, names)
        self._says_syncing: bool | None = None
        self._height = 0  # the node's, when it was last asked

    async def check(self) -> Ability:
        """Verify that the node is on this network and fit to be followed; raise `ChainInvalid` if it never can be."""
        self._says_syncing = None
        tip = await self.tip()
        self._pool.forget()
        self._abilities = await learn(self._rpc, self._names, self._connection.internal)
        finality = self._connection.finality
        known = finality == "blocks" or (finality in self._names.chain.finality and tip.final is not None)
        if not known:
            raise ChainInvalid(
                f"{self._rpc.node} does not say which block is {finality}: choose another finality for network "
                f"{self._names.network!r}, or a node that knows it"
            )
        return Ability(self._abilities.internal)

    async def tip(self) -> Tip:
        """Return the end of the node's best chain; every time also a check that it is still the same network."""
        calls: list[tuple[str, tuple[object, ...]]] = [
            ("eth_chainId", ()),
            ("eth_getBlockByNumber", ("0x0", False)),
            ("eth_getBlockByNumber", ("latest", False)),
        ]
        if self._says_syncing is None:
            self._says_syncing = await self._rpc.knows("eth_syncing")
        if self._says_syncing:
            calls.insert(0, ("eth_syncing", ()))
        if self._connection.finality != "blocks":
            calls.append(("eth_getBlockByNumber", (self._connection.finality, False)))
        answers = await self._rpc.batch_raw(calls)
        syncing = answers.pop(0) if self._says_syncing else b"false"  # its tip's age tells of a node that is behind
        chain_id, first, latest, *final = answers
        self._check_chain(self._rpc.take(str, chain_id, "eth_chainId"), self._header(first))
        header = self._header(latest)
        self._height = height = number(header.number)
        catching_up = syncing != b"false"
        state = self._rpc.take(_Syncing, syncing, "eth_syncing") if catching_up else _Syncing()
        return Tip(
            ref=BlockRef(height, header.hash),
            time=block_time(header.timestamp),
            best_header=max(height, number(state.highest or "0x0")),
            syncing=catching_up,
            final=self._final(final[0]) if final else None,
        )

    async def blocks(self, first: int, last: int, watched: Watched) -> Sequence[Block]:
        """Return the best chain's blocks of heights first..last; raise `ChainMoved` if it changed meanwhile.

        Several are fetched by each request, and some requests are under way while answers are decoded, and still while
        the caller commits. The keys to look for are refreshed after the blocks have arrived: whatever was committed
        before a payer could see it is found.
        """
        if self._abilities is None:
            self._abilities = await learn(self._rpc, self._names, self._connection.internal)
        reader = Reader(self._rpc, self._names, self._abilities, self._tracer)
        try:
            return await self._read(reader, first, last, watched)
        except ChainError as fault:
            await self._ahead.drop()
            if not isinstance(fault, Incomplete):
                raise
            if await reader.hash_at(fault.ref.height) != fault.ref.hash:
                raise ChainMoved(f"the best chain changed at height {fault.ref.height} while it was read") from fault
            raise

    async def pending(self, watched: Watched, waiting: Sequence[str]) -> Pending:
        """Look at what waits for a block."""
        before = await self.tip()
        complete, transactions = await self._pool.look(watched, waiting, before.ref.hash)
        tip = await self.tip()
        return Pending(tip.ref, complete, transactions)

    async def block_hash(self, height: int) -> str:
        """Return the hash of the best chain's block at a height; raise `ChainMoved` where there is none."""
        [answer] = await self._rpc.batch_raw([("eth_getBlockByNumber", (hex(height), False))])
        if answer == b"null":
            raise ChainMoved(f"{self._rpc.node} has no block at height {height} (any more)")
        return self._header(answer).hash

    async def contracts(self) -> Sequence[Contract]:
        """Return how the tokens' contracts look after the latest block."""
        if not self._names.tokens:
            return ()
        tip = await self.tip()
        return await contracts.look(self._rpc, self._names, tip.ref.hash)

    async def ancestors(
        self, undone: Sequence[BlockRef], needed: Mapping[str, Sequence[Input]]
    ) -> Mapping[str, Sequence[Ancestor]]:
        """Return nothing: what a transaction moves here was not made by another."""
        return {}

    async def delegates(self, addresses: Sequence[bytes]) -> Mapping[bytes, str]:
        """Return which accounts have handed what they can do to a contract (EIP-7702), and to which."""
        calls = [("eth_getCode", (f"0x{address.hex()}", "latest")) for address in addresses]
        codes = [data(self._rpc.take(str, answer, "eth_getCode")) for answer in await self._rpc.batch_raw(calls)]
        return {
            address: f"0x{code[len(DELEGATES) :].hex()}"
            for address, code in zip(addresses, codes, strict=True)
            if code.startswith(DELEGATES)
        }

    async def wake(self, watched: Watched) -> AsyncGenerator[None, None]:
        """Yield when the node hints at a new block or at a transaction that concerns us; over HTTP never."""
        async with aclosing(hints(self._rpc, watched, every_transaction=not self._names.chain.livemode)) as found:
            async for _ in found:
                yield

    async def close(self) -> None:
        await self._ahead.drop()
        await self._rpc.close()

    def _check_chain(self, chain_id: str, first: Header) -> None:
        # The node behind an address can be exchanged at any time.
        chain = self._names.chain
        if number(chain_id) != chain.chain_id or first.hash != (self._genesis or first.hash):
            raise ChainInvalid(
                f"{self._rpc.node} is not on {chain.name} (chain id {chain.chain_id}): it says chain id "
                f"{number(chain_id)} and first block {first.hash}; check rpc_url of network {self._names.network!r}"
            )
        self._genesis = first.hash

    def _final(self, answer: bytes | Fault) -> BlockRef | None:
        """Read what the network calls final; a node that has just started may not know yet."""
        if isinstance(answer, Fault) or answer == b"null":
            return None
        header = self._header(answer)
        return BlockRef(number(header.number), header.hash)

    def _header(self, answer: bytes | Fault) -> Header:
        return self._rpc.take(Header, answer, "eth_getBlockByNumber")

    async def _read(self, reader: Reader, first: int, last: int, watched: Watched) -> Sequence[Block]:
        found: list[Block] = []
        async with aclosing(self._ahead.groups(reader, first, last, self._height)) as groups:
            async for group in groups:
                await watched.refresh()
                for block in await self._reduce(reader, group, watched):
                    if found and block.parent != found[-1].ref.hash:
                        raise ChainMoved(f"block {block.ref.hash} does not follow {found[-1].ref.hash}")
                    found.append(block)
        if found and await reader.hash_at(last) != found[-1].ref.hash:
            raise ChainMoved(f"the best chain changed at or below height {last} while it was read")
        return found

    async def _reduce(self, reader: Reader, group: Sequence[Fetched], watched: Watched) -> list[Block]:
        """Reduce blocks to what concerns us, asking for what only that needs."""
        places = touched(group, watched.destinations, watched.outpoints, self._names)
        await reader.receipts(
            [fetched for fetched, hits in zip(group, places, strict=True) if hits and fetched.receipts is None]
        )
        described = [
            (fetched, [describe(fetched, place, watched.destinations, self._names) for place in hits])
            for fetched, hits in zip(group, places, strict=True)
        ]
        confirmed = await patiently(lambda: confirm(self._rpc, described, self._names))
        blocks = []
        for fetched, (transactions, doubts) in zip(group, confirmed, strict=True):
            grown = await self._grown(reader, fetched, transactions, watched)
            blocks.append(
                Block(
                    fetched.ref,
                    fetched.body.parent,
                    fetched.time,
                    transactions + grown,
                    doubts,
                    unseen=fetched.unseen,
                    upgrades=upgrades(fetched, self._names),
                )
            )
        return blocks

    async def _grown(
        self, reader: Reader, fetched: Fetched, known: Sequence[Transaction], watched: Watched
    ) -> tuple[Transaction, ...]:
        if reader.internal != "balances" and not fetched.untraced:
            return ()
        opened = await watched.open()
        if fetched.receipts is None and senders(fetched, opened.addresses):
            await reader.receipts([fetched])
        grown = await self._balances.unexplained(fetched, opened.addresses, known)
        if grown.unseen is not None:
            fetched.unseen = grown.unseen
        elif opened.left_out:
            fetched.unseen = Unseen.CROWDED
        return grown.transactions
