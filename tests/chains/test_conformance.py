"""What every network of the house must do, against its real node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from kassa.chains.base import Connection, DevNode
from kassa.chains.registry import FAMILIES
from kassa.core.errors import ChainInvalid, ChainMoved
from tests.chains.bench import SUBJECTS, Subject, Watched, in_scheme, watching
from tests.chains.bench import Bench as AnyBench
from tests.chains.liar import lying

WAIT_SECONDS = 20
Bench = AnyBench[DevNode]


@pytest.fixture(params=SUBJECTS)
def network(request: pytest.FixtureRequest) -> tuple[Subject, DevNode]:
    """Each network that has a node here, in each way in which it can be reached, and that node."""
    subject = SUBJECTS[request.param]
    return subject, request.getfixturevalue(subject.fixture)


@pytest.fixture
async def bench(network: tuple[Subject, DevNode]) -> AsyncIterator[Bench]:
    async with watching(*network) as made:
        yield made


@pytest.fixture(params=[name for name, subject in SUBJECTS.items() if subject.push])
def telling(request: pytest.FixtureRequest) -> tuple[Subject, DevNode]:
    """Each network whose node tells of news without being asked, and that node."""
    subject = SUBJECTS[request.param]
    return subject, request.getfixturevalue(subject.fixture)


@pytest.fixture
async def pushing(telling: tuple[Subject, DevNode]) -> AsyncIterator[Bench]:
    async with watching(*telling) as made:
        yield made


# ---------------------------------------------------------------- the right chain


async def test_a_node_of_its_own_network_is_accepted(bench: Bench) -> None:
    await bench.source.check()
    tip = await bench.source.tip()
    assert tip.ref == await bench.node.tip()
    assert tip.best_header == tip.ref.height
    assert abs(tip.time - datetime.now(UTC)) < timedelta(hours=3)


async def test_a_node_of_another_network_is_refused(bench: Bench) -> None:  # A32
    family = FAMILIES[bench.subject.family]
    for other in family.chains:
        if other != bench.subject.chain:
            source = family.chain(other, other, ()).connect(Connection(in_scheme(bench.node.rpc_url, bench.subject)))
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
    if bench.subject.dated:
        assert seen.first_seen_at is not None
        assert before <= seen.first_seen_at <= datetime.now(UTC)
    assert [(item.key.txid, item.to, item.asset, item.units) for item in seen.transfers] == [
        (txid, address.script, bench.chain.assets[0].id, 50_000)
    ]
    (mined,) = await bench.node.mine()
    (block,) = await bench.last(1, watched)
    assert block.ref.hash == mined
    (confirmed,) = block.transactions
    assert (confirmed.transfers, confirmed.inputs) == (seen.transfers, seen.inputs)
    assert not (await bench.source.pending(watched, ())).transactions


async def test_a_rival_that_spends_our_payments_inputs_is_reported(bench: Bench) -> None:  # A9
    address, watched = bench.address(), Watched()
    watched.pay(address)
    txid = await bench.node.fund(address.text, 50_000)
    (seen,) = (await bench.source.pending(watched, ())).transactions
    watched.spend(seen)
    rival = await bench.node.conflict(txid)
    await bench.node.broadcast(rival)
    await bench.node.mine()
    (block,) = await bench.last(1, watched)
    (winner,) = block.transactions
    assert winner.txid != txid
    assert not winner.transfers
    assert {item.outpoint for item in winner.inputs} & {item.outpoint for item in seen.inputs}
    pending = await bench.source.pending(watched, ())
    assert (pending.complete, pending.transactions) == (True, ())


async def test_a_replacement_takes_the_place_of_the_payment(bench: Bench) -> None:  # A9
    address, watched = bench.address(), Watched()
    watched.pay(address)
    txid = await bench.node.fund(address.text, 50_000)
    (seen,) = (await bench.source.pending(watched, ())).transactions
    assert seen.replaceable
    watched.spend(seen)
    replacement = await bench.node.replace(txid)
    (now,) = (await bench.source.pending(watched, ())).transactions
    assert (now.txid, now.transfers) == (replacement, ())


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
        for at in range(1, 11):
            for asset in bench.chain.assets:
                await bench.node.fund(await bench.node.address(), 50_000, asset.symbol)
            await bench.node.mine()
            height = (await bench.node.tip()).height

            async def fork_at(call: int, at: int = at) -> None:
                if call == at:
                    await bench.node.fork(3)

            liar.calls, liar.before = 0, fork_at
            connection = Connection(in_scheme(liar.url, bench.subject))
            async with watching(bench.subject, bench.node, connection) as lied_to:
                try:
                    blocks = await lied_to.source.blocks(height - 4, height, Watched())
                except ChainMoved:
                    moved += 1
                    continue
            told = [await bench.node.block_hash(number) for number in range(height - 4, height + 1)]
            assert liar.calls < at or [block.ref.hash for block in blocks] == told
        assert moved >= 3


# ---------------------------------------------------------------- with push and without


async def test_without_push_waking_never_happens_and_a_look_sees_the_same(bench: Bench) -> None:  # A41
    address, watched = bench.address(), Watched()
    watched.pay(address)
    async with (
        watching(bench.subject, bench.node, Connection(bench.node.rpc_url)) as polling,
        aclosing(polling.source.wake(watched)) as wake,  # type: ignore[type-var]
    ):
        woken = asyncio.ensure_future(anext(wake))
        await bench.node.fund(address.text, 50_000)
        assert len((await polling.source.pending(watched, ())).transactions) == 1
        assert not woken.done()
        woken.cancel()
        await asyncio.wait([woken])


async def test_a_payment_wakes_the_watcher_and_a_block_does(pushing: Bench) -> None:
    address, watched = pushing.address(), Watched()
    watched.pay(address)
    async with listening(pushing, watched) as woken:
        await pushing.node.fund(address.text, 50_000)
        await woken.again()
        assert len((await pushing.source.pending(watched, ())).transactions) == 1
        await woken.quiet()
        await pushing.node.mine()
        await woken.again()


async def test_a_payment_to_an_address_newer_than_the_keys_in_memory_wakes_the_watcher(pushing: Bench) -> None:
    address, watched = pushing.address(), Watched()
    async with listening(pushing, watched) as woken:
        watched.committed = [address.key]
        await pushing.node.fund(address.text, 50_000)
        await woken.again()
    assert watched.refreshes


async def test_a_stranger_wakes_nobody(pushing: Bench) -> None:
    watched = Watched()
    async with listening(pushing, watched) as woken:
        before = watched.refreshes
        await pushing.node.fund(await pushing.node.address(), 50_000)
        async with asyncio.timeout(WAIT_SECONDS):
            while watched.refreshes == before:  # noqa: ASYNC110  # until it was read, and let go
                await asyncio.sleep(0.01)
        assert woken.count == woken.heard
        await pushing.node.mine()
        await woken.again()


@dataclass
class Woken:
    """How often a watcher was woken; `heard` of these the test knows about."""

    count: int = 0
    heard: int = 0
    way_seconds: float = 0.1
    """How long a hint was on its way to us when that was measured."""

    async def again(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while self.count == self.heard:  # noqa: ASYNC110  # counted by another task
                await asyncio.sleep(0.01)
        self.heard = self.count

    async def quiet(self) -> None:
        while True:
            self.heard = self.count
            await asyncio.sleep(3 * self.way_seconds)  # for what is still on its way
            if self.heard == self.count:
                return


@asynccontextmanager
async def listening(bench: Bench, watched: Watched) -> AsyncIterator[Woken]:
    """A watcher whose subscription is known to have arrived: it has heard of a block, and all is quiet."""
    woken = Woken()

    async def listen() -> None:
        async with aclosing(bench.source.wake(watched)) as wake:  # type: ignore[type-var]
            async for _ in wake:
                woken.count += 1

    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not woken.count:
                await bench.node.mine()
                await asyncio.sleep(0.1)
        await woken.quiet()
        began = asyncio.get_running_loop().time()
        await bench.node.mine()
        await woken.again()
        woken.way_seconds = max(0.1, asyncio.get_running_loop().time() - began)
        await woken.quiet()
        yield woken
    finally:
        task.cancel()
        await asyncio.wait([task])
