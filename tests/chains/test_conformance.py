"""What every network of the house must do, against its real node."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from kassa.chains.base import Chain, ChainSource, Connection, Derived, Keys
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.registry import FAMILIES
from kassa.core.errors import ChainInvalid, ChainMoved, ChainUnavailable
from kassa.core.facts import Block, Transaction
from tests.chains.liar import lying

ACCOUNT = (  # BIP 84's test mnemonic, m/84h/1h/0h
    "tpubDC8msFGeGuwnKG9Upg7DM2b4DaRqg3CUZa5g8v2SRQ6K4NSkxUgd7HsL2XVWbVm39yBA4LAxysQAm397zwQSQoQgewGiYZqrA9DsP4zbQ1M"
)
NETWORKS = {"bitcoin-regtest": "bitcoind", "litecoin-regtest": "litecoind"}
WAIT_SECONDS = 20


@dataclass
class Watched:
    """Keys that a test adds to; `on_refresh` acts where another process would."""

    destinations: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    outpoints: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    committed: list[int] = field(default_factory=list)
    refreshes: int = 0

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.committed:
            self.destinations = np.unique(np.concatenate((self.destinations, np.array(self.committed, np.int64))))
            self.committed = []

    def pay(self, *addresses: Derived) -> None:
        self.destinations = np.unique(np.concatenate((self.destinations, [address.key for address in addresses])))

    def spend(self, *transactions: Transaction) -> None:
        keys = [item.key for transaction in transactions for item in transaction.inputs]
        self.outpoints = np.unique(np.concatenate((self.outpoints, np.array(keys, np.int64))))


@dataclass
class Bench:
    """One network's node, and our eyes on it."""

    name: str
    node: DevNode
    chain: Chain
    source: ChainSource
    descriptor: str
    issued: int = 0

    def address(self) -> Derived:
        self.issued += 1
        return self.chain.addresses.derive(self.descriptor, self.issued)

    async def last(self, count: int, watched: Watched) -> Sequence[Block]:
        """The last `count` blocks of the node's chain."""
        height = (await self.node.tip()).height
        return await self.source.blocks(height - count + 1, height, watched)


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[str, DevNode]:
    """Each network that has a node here, and that node."""
    return request.param, request.getfixturevalue(NETWORKS[request.param])


@pytest.fixture
async def bench(network: tuple[str, DevNode]) -> AsyncIterator[Bench]:
    async with watching(*network) as made:
        yield made


@pytest.fixture
async def bitcoin(bitcoind: DevNode) -> AsyncIterator[Bench]:
    async with watching("bitcoin-regtest", bitcoind) as made:
        yield made


@asynccontextmanager
async def watching(name: str, node: DevNode, connection: Connection | None = None) -> AsyncIterator[Bench]:
    chain = FAMILIES["bitcoin"].chain(name, name, ())
    source = chain.connect(connection or Connection(node.rpc_url, node.push))
    descriptor = chain.addresses.account(f"wpkh({ACCOUNT}/0/*)").descriptor
    try:
        yield Bench(name, node, chain, source, descriptor)
    finally:
        await source.close()


# ---------------------------------------------------------------- the right chain


async def test_a_node_of_its_own_network_is_accepted(bench: Bench) -> None:
    await bench.source.check()
    tip = await bench.source.tip()
    assert tip.ref == await bench.node.tip()
    assert tip.best_header == tip.ref.height
    assert abs(tip.time - datetime.now(UTC)) < timedelta(hours=3)


async def test_a_node_of_another_network_is_refused(bench: Bench) -> None:  # A32
    for other in FAMILIES["bitcoin"].chains:
        if other != bench.name:
            source = FAMILIES["bitcoin"].chain(other, other, ()).connect(Connection(bench.node.rpc_url))
            with pytest.raises(ChainInvalid, match="is not on"):
                await source.check()
            with pytest.raises(ChainInvalid):
                await source.tip()
            await source.close()


# ---------------------------------------------------------------- payments


async def test_a_payment_is_seen_in_the_mempool_and_then_in_its_block(bench: Bench) -> None:
    address, watched = bench.address(), Watched()
    watched.pay(address)
    before = datetime.now(UTC) - timedelta(seconds=2)
    txid = await bench.node.fund(address.text, 50_000)
    pending = await bench.source.pending(watched, ())
    (seen,) = pending.transactions
    assert pending.complete
    assert pending.tip == await bench.node.tip()
    assert seen.first_seen_at is not None
    assert before <= seen.first_seen_at <= datetime.now(UTC)
    assert [(item.key.txid, item.to, item.asset, item.units) for item in seen.transfers] == [
        (txid, address.script, f"{bench.chain.assets[0].symbol}@{bench.name}", 50_000)
    ]
    (mined,) = await bench.node.mine()
    (block,) = await bench.last(1, watched)
    assert block.ref.hash == mined
    (confirmed,) = block.transactions
    assert (confirmed.transfers, confirmed.inputs) == (seen.transfers, seen.inputs)
    assert not (await bench.source.pending(watched, ())).transactions


async def test_each_output_of_a_transaction_is_its_own_transfer(bench: Bench) -> None:  # A20, A21
    ours, other, watched = bench.address(), bench.address(), Watched()
    watched.pay(ours, other)
    stranger = await bench.node.address()
    outputs = [(ours.text, 3_000), (stranger, 9_000), (ours.text, 3_000), (other.text, 4_000)]
    await bench.node.send_many(outputs)
    await bench.node.mine()
    (block,) = await bench.last(1, watched)
    (seen,) = block.transactions
    assert [(item.key.position, item.to, item.units) for item in seen.transfers] == [
        ("out:0", ours.script, 3_000),
        ("out:2", ours.script, 3_000),
        ("out:3", other.script, 4_000),
    ]


async def test_all_inputs_are_reported_as_the_node_names_them(bench: Bench) -> None:
    address, watched = bench.address(), Watched()
    watched.pay(address)
    txid = await bench.node.fund(address.text, 250_000_000)
    (seen,) = (await bench.source.pending(watched, ())).transactions
    told = await bench.node.transaction(txid)
    assert [item.outpoint for item in seen.inputs] == [f"{item['txid']}:{item['vout']}" for item in told["vin"]]


async def test_a_rival_that_spends_our_payments_inputs_is_reported(bench: Bench) -> None:  # A9
    address, watched = bench.address(), Watched()
    watched.pay(address)
    txid = await bench.node.fund(address.text, 50_000)
    (seen,) = (await bench.source.pending(watched, ())).transactions
    watched.spend(seen)
    rival = await bench.node.conflict(txid)
    await bench.node.mine(transactions=[rival])
    (block,) = await bench.last(1, watched)
    (winner,) = block.transactions
    assert winner.txid != txid
    assert not winner.transfers
    assert {item.outpoint for item in winner.inputs} & {item.outpoint for item in seen.inputs}
    pending = await bench.source.pending(watched, ())
    assert (pending.complete, pending.transactions) == (True, ())


async def test_a_replacement_takes_the_place_of_the_payment(bitcoin: Bench) -> None:  # A9
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    txid = await bitcoin.node.fund(address.text, 50_000)
    (seen,) = (await bitcoin.source.pending(watched, ())).transactions
    assert seen.replaceable
    watched.spend(seen)
    replacement = await bitcoin.node.replace(txid)
    (now,) = (await bitcoin.source.pending(watched, ())).transactions
    assert (now.txid, now.transfers) == (replacement, ())


async def test_a_rival_seen_before_its_outpoint_was_watched_is_still_reported(bitcoin: Bench) -> None:
    watched = Watched()
    stranger = await bitcoin.node.fund(await bitcoin.node.address(), 50_000)
    first = await bitcoin.source.pending(watched, ())
    assert (first.complete, first.transactions) == (True, ())
    told = await bitcoin.node.transaction(stranger)
    spent = bytes.fromhex(told["vin"][0]["txid"])[::-1]
    key = int.from_bytes(spent[:8], "little", signed=True) ^ told["vin"][0]["vout"]
    watched.outpoints = np.array([key], np.int64)
    (seen,) = (await bitcoin.source.pending(watched, ())).transactions
    assert seen.txid == stranger


async def test_an_address_committed_while_a_block_is_fetched_is_found_in_it(bench: Bench) -> None:
    address, watched = bench.address(), Watched()
    await bench.node.fund(address.text, 50_000)
    await bench.node.mine()
    watched.committed = [address.key]
    (block,) = await bench.last(1, watched)
    assert len(block.transactions) == 1


async def test_an_address_committed_while_the_mempool_is_read_is_found_in_it(bench: Bench) -> None:
    address, watched = bench.address(), Watched()
    await bench.node.fund(address.text, 50_000)
    watched.committed = [address.key]
    assert len((await bench.source.pending(watched, ())).transactions) == 1


async def test_a_coinbase_payment_says_how_deep_it_must_lie(bench: Bench) -> None:  # A15
    address, watched = bench.address(), Watched()
    watched.pay(address)
    await bench.node.mine(1, to=address.text)
    (block,) = await bench.last(1, watched)
    (seen,) = block.transactions
    assert [item.maturity for item in seen.transfers] == [101]
    assert not seen.inputs


async def test_a_payment_that_leaves_the_mempool_is_missing_from_a_complete_look(bitcoin: Bench) -> None:  # A13
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    await bitcoin.node.fund(address.text, 50_000)
    assert (await bitcoin.source.pending(watched, ())).transactions
    await bitcoin.node.restart("-persistmempool=0", "-walletbroadcast=0")
    async with watching("bitcoin-regtest", bitcoin.node) as again:
        pending = await again.source.pending(watched, ())
        assert (pending.complete, pending.transactions) == (True, ())


async def test_a_descendant_of_a_replaceable_transaction_is_replaceable(bitcoin: Bench) -> None:  # A14
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    node = bitcoin.node
    await node.restart("-mempoolfullrbf=0")
    parent = await node.fund(await node.address(), 1_000_000)
    told = await node.transaction(parent)
    number = next(item["n"] for item in told["vout"] if item["value"] * 100 == 1)
    spent = [{"txid": parent, "vout": number, "sequence": 0xFFFFFFFF}]
    draft = await node.rpc.call("createrawtransaction", spent, [{address.text: "0.009"}], 0, False)
    signed = await node.rpc.call("signrawtransactionwithwallet", draft)
    child = await node.broadcast(signed["hex"])
    (seen,) = (await bitcoin.source.pending(watched, ())).transactions
    assert (seen.txid, seen.replaceable) == (child, True)
    await node.mine(transactions=[parent])
    (later,) = (await bitcoin.source.pending(watched, ())).transactions
    assert (later.txid, later.replaceable) == (child, False)


# ---------------------------------------------------------------- reorganisations


async def test_a_reorganisation_shows_as_other_blocks_that_link(bench: Bench) -> None:  # A1
    address, watched = bench.address(), Watched()
    watched.pay(address)
    txid = await bench.node.fund(address.text, 50_000)
    await bench.node.mine(2)
    before = await bench.last(3, watched)
    await bench.node.fork(2, drop={txid})
    after = await bench.last(4, watched)
    assert after[0] == before[0]
    assert [block.ref.height for block in after] == [before[0].ref.height + number for number in range(4)]
    assert all(block.parent == parent.ref.hash for parent, block in pairwise(after))
    assert not {block.ref.hash for block in after[1:]} & {block.ref.hash for block in before}
    assert [block.transactions for block in after] == [()] * 4


async def test_heights_above_the_tip_mean_that_the_chain_moved(bench: Bench) -> None:
    height = (await bench.node.tip()).height
    with pytest.raises(ChainMoved):
        await bench.source.blocks(height, height + 1, Watched())


async def test_a_reorganisation_between_any_two_calls_gives_one_branch_or_none(bench: Bench) -> None:  # A34
    await bench.node.mine(6)
    async with lying(bench.node.rpc_url) as liar:
        moved = 0
        for at in range(1, 9):
            height = (await bench.node.tip()).height

            async def fork_at(call: int, at: int = at) -> None:
                if call == at:
                    await bench.node.fork(3)

            liar.calls, liar.before = 0, fork_at
            async with watching(bench.name, bench.node, Connection(liar.url)) as lied_to:
                try:
                    blocks = await lied_to.source.blocks(height - 4, height, Watched())
                except ChainMoved:
                    moved += 1
                    continue
            told = [await bench.node.block_hash(number) for number in range(height - 4, height + 1)]
            assert liar.calls < at or [block.ref.hash for block in blocks] == told
        assert moved >= 3


# ---------------------------------------------------------------- without REST, without push


async def test_blocks_are_read_without_the_rest_interface_too(bench: Bench) -> None:
    address, watched = bench.address(), Watched()
    watched.pay(address)
    await bench.node.fund(address.text, 50_000)
    await bench.node.mine(3)
    with_rest = await bench.last(5, watched)
    async with lying(bench.node.rpc_url) as liar:
        liar.reply = lambda path: (404, b"") if path.startswith("/rest/") else None
        async with watching(bench.name, bench.node, Connection(liar.url)) as without:
            assert await without.last(5, watched) == with_rest
            asked = len([path for path in liar.paths if path.startswith("/rest/")])
            assert await without.last(5, watched) == with_rest
            assert len([path for path in liar.paths if path.startswith("/rest/")]) == asked


async def test_without_push_waking_never_happens_and_a_look_sees_the_same(bench: Bench) -> None:  # A41
    address, watched = bench.address(), Watched()
    watched.pay(address)
    async with (
        watching(bench.name, bench.node, Connection(bench.node.rpc_url)) as polling,
        aclosing(polling.source.wake(watched)) as wake,  # type: ignore[type-var]
    ):
        woken = asyncio.ensure_future(anext(wake))
        await bench.node.fund(address.text, 50_000)
        assert len((await polling.source.pending(watched, ())).transactions) == 1
        assert not woken.done()
        woken.cancel()
        await asyncio.wait([woken])


async def test_a_payment_wakes_the_watcher_and_a_block_does(bitcoin: Bench) -> None:
    address, watched = bitcoin.address(), Watched()
    watched.pay(address)
    async with listening(bitcoin, watched) as wake:
        await bitcoin.node.fund(address.text, 50_000)
        await asyncio.wait_for(anext(wake), WAIT_SECONDS)
        assert len((await bitcoin.source.pending(watched, ())).transactions) == 1
    async with listening(bitcoin, watched) as wake:
        await bitcoin.node.mine()
        await asyncio.wait_for(anext(wake), WAIT_SECONDS)


async def test_a_payment_to_an_address_newer_than_the_keys_in_memory_wakes_the_watcher(bitcoin: Bench) -> None:
    address, watched = bitcoin.address(), Watched()
    async with listening(bitcoin, watched) as wake:
        watched.committed = [address.key]
        await bitcoin.node.fund(address.text, 50_000)
        await asyncio.wait_for(anext(wake), WAIT_SECONDS)
    assert watched.refreshes


async def test_an_impossible_push_address_is_named(bitcoin: Bench) -> None:
    for wrong in ("nonsense", "tcp://127.0.0.1"):
        async with watching("bitcoin-regtest", bitcoin.node, Connection(bitcoin.node.rpc_url, (wrong,))) as deaf:
            with pytest.raises(ChainUnavailable, match="zmq"):
                await anext(aiter(deaf.source.wake(Watched())))


async def test_a_stranger_wakes_nobody(bitcoin: Bench) -> None:
    watched = Watched()
    async with listening(bitcoin, watched) as wake:
        woken = asyncio.ensure_future(anext(wake))
        await bitcoin.node.fund(await bitcoin.node.address(), 50_000)
        async with asyncio.timeout(WAIT_SECONDS):
            while not watched.refreshes:  # noqa: ASYNC110  # until it was read, and let go
                await asyncio.sleep(0.01)
        assert not woken.done()
        await bitcoin.node.mine()
        await asyncio.wait_for(woken, WAIT_SECONDS)


@asynccontextmanager
async def listening(bench: Bench, watched: Watched) -> AsyncIterator[AsyncIterator[None]]:
    """A watcher whose subscription is known to have arrived: it has heard of a block."""
    async with aclosing(bench.source.wake(watched)) as wake:  # type: ignore[type-var]
        heard = asyncio.ensure_future(anext(wake))
        async with asyncio.timeout(WAIT_SECONDS):
            while not heard.done():
                await bench.node.mine()
                await asyncio.wait([heard], timeout=0.1)
        yield wake
