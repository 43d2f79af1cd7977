"""Deliveries in any order and at once (D4, D5), lost transactions (D8), payments at the moment of expiry (D24)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from kassa import flow
from kassa.checkout.listing import LIVING
from kassa.core.clock import SystemClock
from kassa.core.facts import BlockRef
from kassa.db.pool import Database, Tx, say_after_commit
from kassa.invoices.model import Order
from kassa.watch.keys import WatchedKeys
from kassa.watch.model import ChainUpdate
from tests.faults.crashing import running, until
from tests.house import BITCOIN
from tests.locks import WAITING
from tests.oracle import check_chain
from tests.rescan import projection
from tests.sim.test_histories import Laboratory
from tests.sim.toychain import ToySource
from tests.sim.world import LEASE_SECONDS, World, new_world, truth_of
from tests.sizes import size

# Three transactions in ten are lost: at a statement, at another, or at commit.
_LOSE = """
create function lose_some() returns trigger language plpgsql as $$
begin
    if abs(hashtext(pg_current_xact_id()::text)) % 10 = tg_argv[0]::int then
        raise exception 'lost, as if' using errcode = case when random() < 0.5 then '40001' else '40P01' end;
    end if;
    return null;
end $$;
create trigger lose_payments after insert or update on payments for each statement execute function lose_some(0);
create trigger lose_events after insert on events for each statement execute function lose_some(1);
create constraint trigger lose_commits after insert on events deferrable initially deferred
    for each row execute function lose_some(2);
"""
_KEEP = """
drop trigger lose_payments on payments; drop trigger lose_events on events; drop trigger lose_commits on events;
"""


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(database, tmp_path / "house") as made:
        yield made


async def test_d4_a_block_that_is_delivered_five_times_at_once_counts_once(world: World) -> None:
    invoice = await world.invoice()
    assert invoice is not None
    before = await world.position()
    world.chain.mine([world.paying(invoice)])
    keys = WatchedKeys(world.house.database.pool, BITCOIN)
    tip = world.chain.height
    update = ChainUpdate((), tuple(await ToySource(world.chain).blocks(tip, tip, keys)))

    async def deliver() -> BlockRef | None:
        now = world.clock.now()
        position = await world.house.database.run(
            lambda tx: flow.on_chain_update(tx, world.house, before, update, LEASE_SECONDS, now)
        )
        return position.tip

    tips = await asyncio.gather(*[deliver() for _ in range(5)])
    assert set(tips) == {update.apply[-1].ref}
    await world.start()
    await world.step()
    rows = await world.house.database.pool.fetch("select type from events where type like 'payment.%'")
    assert [row["type"] for row in rows] == ["payment.settled"]


# Where the invoices of the history stand after each of its steps, with their living payments, whatever was seen before.
_STANDS = [
    [("processing", "detected"), ("new",)],
    [("settled", "settled"), ("new", "confirming")],
    [("settled", "settled"), ("processing", "confirming", "detected")],
    [("new", "settled"), ("processing", "detected", "detected")],
    [("new", "settled"), ("processing", "confirming", "confirming")],
]


async def _stands(world: World) -> list[tuple[str, ...]]:
    shown = [await world.shown(invoice) for invoice in world.invoices]
    return [(each["status"], *sorted(p["status"] for p in each["payments"] if p["status"] in LIVING)) for each in shown]


async def _lived(world: World, looks: tuple[bool, ...]) -> None:
    """Live through one history, looking only after some of its steps."""
    one, two = await world.invoice(), await world.invoice("150.00")
    assert one is not None
    assert two is not None
    chain = world.chain
    paid, half = world.paying(one, name="paid"), world.paying(two, world.due(two) // 2, name="half")
    rest = world.paying(two, world.due(two) - world.due(two) // 2, name="rest")
    rival = world.tx((world.script(one), 7_000), spends=paid.inputs, name="rival")
    happened = [
        lambda: chain.submit(paid),
        lambda: chain.mine([paid, half]),
        lambda: chain.submit(rest),
        lambda: chain.fork(1, 2, [rival]),
        lambda: chain.mine([half, rest]),
    ]
    for happen, look, stands in zip(happened, looks, _STANDS, strict=True):
        happen()
        world.clock.move(1)
        if look:
            await world.step()
            assert await _stands(world) == stands


def test_d5_whenever_one_looks_the_end_is_the_same(postgres_url: str, template: str, tmp_path: Path) -> None:
    """Confirmed before seen, gone before added, settled on a branch that nobody saw: all 32 ways of looking."""
    laboratory = Laboratory(postgres_url, template, tmp_path)

    async def live(looks: tuple[bool, ...]) -> object:
        world = await laboratory.world()
        await _lived(world, looks)
        await world.step()
        assert await _stands(world) == _STANDS[-1]
        found = await projection(world.house)
        # What one world calls an invoice, another calls by another id.
        names: dict[str, Any] = {invoice["id"]: number for number, invoice in enumerate(world.invoices)}
        stores: dict[str, Any] = {store.id: number for number, store in enumerate(world.stores)}
        plain = [
            {key: names.get(str(value), stores.get(str(value), value)) for key, value in row.items()}
            for name in ("invoices", "payments", "books")
            for row in found[name]
        ]
        await laboratory.clear()
        return sorted(plain, key=str)

    try:
        ends = [laboratory.run(live(looks)) for looks in product((True, False), repeat=5)]
    finally:
        laboratory.run(laboratory.clear())
        laboratory.close()
    for end in ends:
        assert end == ends[0]


async def test_d8_lost_transactions_are_done_again_whole(world: World) -> None:
    """Three in ten fail at a statement or at commit, by serialisation or deadlock, for fifty clients at once."""
    pool = world.house.database.pool
    await pool.execute(_LOSE)

    async def open_one(number: int) -> None:
        now = world.clock.now()
        opening = await flow.quote_invoice(world.house, world.stores[number % 3], Order("15.00", "EUR"), now)
        world.invoices.append(
            await world.house.database.run(lambda tx: flow.open_invoice(tx, world.house, opening, now))
        )

    await asyncio.gather(*[open_one(number) for number in range(50)])
    for invoice in world.invoices:
        world.chain.submit(world.paying(invoice, signals=True))
    await world.look()
    world.chain.mine(list(world.chain.mempool.values())[:25])
    await world.look()
    world.chain.fork(1, 2, list(world.chain.mempool.values()))
    await world.look()
    await pool.execute(_KEEP)
    await world.step()
    assert await pool.fetchval("select count(*) from invoices") == 50
    counted = await pool.fetch("select type, count(*) from events where type like 'payment.%' group by 1 order by 1")
    assert {row["type"]: row["count"] for row in counted} == {"payment.detected": 75, "payment.settled": 50}


@pytest.mark.parametrize(("losses", "said"), [(3, ["once"]), (10**6, [])])
async def test_d8_what_loses_is_tried_eight_times_and_said_only_when_it_is_true(
    database: Database, losses: int, said: list[str]
) -> None:
    tried, heard = 0, list[str]()

    async def work(tx: Tx) -> None:
        nonlocal tried
        tried += 1
        say_after_commit(lambda: heard.append("once"))
        if tried <= losses:
            await tx.execute("do $$ begin raise exception 'lost, as if' using errcode = '40001'; end $$")

    with nullcontext() if said else pytest.raises(asyncpg.SerializationError):
        async with asyncio.timeout(60):
            await database.run(work)
    assert (tried, heard) == (min(losses + 1, 8), said)


async def test_d8_a_real_deadlock_is_lost_and_done_again(world: World) -> None:
    invoice = await world.invoice()
    assert invoice is not None
    assert world.follower is not None
    world.chain.mine([world.paying(invoice)])
    pool = world.house.database.pool

    async def waiting(count: int) -> bool:
        return bool(await pool.fetchval(WAITING) == count)

    async with pool.acquire() as other, pool.acquire() as gate, other.transaction():
        await other.execute("set local deadlock_timeout = '30s'")
        await other.execute("select from invoices for update")
        async with gate.transaction():
            await gate.execute("lock table blocks in share mode")
            look = asyncio.create_task(world.follower.look())
            await until(lambda: waiting(1), "the follower holds the network's row, and waits on its way to the invoice")
            surviving = asyncio.create_task(other.execute("update networks set detail = 'survivor'"))
            await until(lambda: waiting(2), "the other one waits for the network's row")
        # Whoever looks for the deadlock first is its victim, and each looks once: a second after it began to wait. So
        # the follower must be the last to begin.
        await surviving
    await look

    async def counted() -> object:
        return await pool.fetchval("select deadlocks from pg_stat_database where datname = current_database()")

    await until(counted, "the deadlock was counted")
    await world.step()
    assert (await world.shown(invoice))["status"] == "settled"


@pytest.mark.catalogue
async def test_d24_a_payment_at_the_moment_of_expiry_is_in_time_or_late_never_both(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """Paid within 50 ms of expiry, a few seconds away from it; the clock's gate runs in two other processes."""
    random, clock, count = Random(24), SystemClock(), size(120, 1_000)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(new_world(database, tmp_path / "house", clock))
        for name in ("one", "two"):
            ticking = running(database_url, tmp_path / name, "http://127.0.0.1:1", "tick", RUNNER_TICK="0.002")
            await stack.enter_async_context(ticking)
        offsets = [-4.0] * 5 + [2.0] * 5 + [random.uniform(-0.05, 0.05) for _ in range(count - 10)]
        assert world.follower is not None
        async with asyncio.TaskGroup() as group:
            paying = group.create_task(_pay_each(world, offsets))
            while not paying.done():
                await world.follower.look()

        async def quiet() -> object:
            assert world.follower is not None
            await world.follower.look()
            return not await database.pool.fetchval("select count(*) from invoices where deadline is not null")

        await until(quiet, "every deadline was dealt with")
        await world.oracle.check()
        await check_chain(world.house, truth_of(world.chain), looked=True)
        ends = [await _end(world, invoice["id"]) for invoice in world.invoices]
    # A look that began before the end knows of what came after it, and not yet that the time was over.
    ways = ("expired",), ("expired", "updated"), ("updated", "expired")
    in_time, late = (("processing",), False), {(way, True) for way in ways}
    assert {*ends} <= {in_time, *late}
    assert ends[:5] == [in_time] * 5
    assert {*ends[5:10]} <= late


async def _pay_each(world: World, offsets: Sequence[float]) -> None:
    """Make invoices, and pay each so many seconds after its end: of its own, however long the others take."""
    async with asyncio.TaskGroup() as group:
        for offset in offsets:
            invoice = await world.invoice(expires_in=size(6, 60))
            assert invoice is not None
            group.create_task(_pay_at(world, invoice, offset))


async def _pay_at(world: World, invoice: dict[str, Any], offset: float) -> None:
    moment = datetime.fromisoformat(invoice["expires_at"]) + timedelta(seconds=offset)
    await asyncio.sleep((moment - world.clock.now()).total_seconds())
    assert world.chain.submit(world.paying(invoice))


async def _end(world: World, invoice: str) -> tuple[tuple[str, ...], bool]:
    """Return the events of an invoice after its first, and whether it is flagged as late."""
    pool = world.house.database.pool
    rows = await pool.fetch(
        "select type from events where invoice_id = $1 and type like 'invoice.%' order by position", invoice
    )
    flags = await pool.fetchval("select flags from invoices where id = $1", invoice)
    return tuple(row["type"].removeprefix("invoice.") for row in rows[1:]), "late" in flags
