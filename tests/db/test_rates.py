"""Quotes, alarms and late valuations on a real PostgreSQL."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import asyncpg
import pytest

from kassa import doctor, flow
from kassa.core.facts import Tip
from kassa.db.pool import Database
from kassa.doctor import Verdict
from kassa.rates import store as rates
from kassa.rates.board import Board
from kassa.rates.model import Alarm, AlarmKind, Pair, Quote
from kassa.settings import Rates
from kassa.stores import store as stores
from kassa.watch import store as watch
from tests.db.test_flow import LEASE, World
from tests.house import BITCOIN, SetClock, add_store, build_house

BTC_EUR = Pair("BTC", "EUR")
SOURCES = ("kraken", "coinbase")


def quote(price: Fraction | int | str, source: str, at: datetime, pair: Pair = BTC_EUR) -> Quote:
    return Quote(pair, source, Fraction(price), Fraction(price), Fraction(price), at, at)


async def put(database: Database, price: Fraction | int | str, at: datetime, *sources: str) -> None:
    async with database.transaction() as tx:
        await rates.put_quotes(tx, [quote(price, source, at) for source in sources or SOURCES])


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    clock = SetClock()
    house = await build_house(database, tmp_path, clock=clock, rates=Rates(sources=SOURCES))
    async with database.transaction() as tx:
        await watch.register(tx, BITCOIN, "bitcoin-regtest")
        position = await watch.take_lease(tx, BITCOIN, "test", LEASE)
        assert position is not None
        store = await add_store(tx, house)
    made = World(house, clock, store, position)
    await made.mine()
    tip = Tip(made.blocks[-1].ref, clock.now(), made.blocks[-1].ref.height, False)
    async with database.transaction() as tx:
        await flow.note_node(tx, made.position, tip, "ok", "", clock.now())
    await made.look()
    yield made
    await house.marks.close()


# ---------------------------------------------------------------- late payments


async def test_a_late_payment_is_valued_by_the_quotes_of_its_first_sight(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    invoice = await world.invoice()
    await put(database, 42_000, world.clock.move(1000))
    seen_at = world.clock.move(60)
    await put(database, 10_000, world.clock.move(100))
    # The node tells when it took the transaction; we look only now, at quite another rate.
    await world.look(world.paying("a", invoice, first_seen_at=seen_at))

    (payment,) = (await world.shown(invoice))["payments"]
    assert (payment["rate"], payment["value"]) == ("42000.00", "42.00")
    row = await database.pool.fetchrow("select late_rate_source, late_rate_at, late_rate_method from payments")
    assert row is not None
    assert (row["late_rate_source"], row["late_rate_at"]) == (
        "median(kraken,coinbase)",
        seen_at - timedelta(seconds=60),
    )
    assert [each["rate"] for each in json.loads(row["late_rate_method"])["inputs"]] == ["42000.00", "42000.00"]


async def test_a_late_payment_bears_the_spread_of_its_store(database: Database, world: World) -> None:
    async with database.transaction() as tx:
        await stores.set_spread(tx, world.store.id, 100_000)
        world.store = await stores.get_store(tx, world.store.id)
    await put(database, 50_000, world.clock.now())
    invoice = await world.invoice()
    await put(database, 42_000, world.clock.move(1000))
    await world.look(world.paying("a", invoice))
    assert (await world.shown(invoice))["payments"][0]["rate"] == "37800.00"


async def test_a_spread_that_was_changed_meanwhile_moves_no_late_rate(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    invoice = await world.invoice()
    async with database.transaction() as tx:
        await stores.set_spread(tx, world.store.id, 100_000)
    await put(database, 50_000, world.clock.move(1000))
    await world.look(world.paying("a", invoice))
    assert (await world.shown(invoice))["payments"][0]["rate"] == "50000.00"


async def test_a_late_payment_of_a_moment_without_a_rate_keeps_the_locked_one(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    invoice = await world.invoice()
    seen_at = world.clock.move(2000)
    await put(database, 10_000, world.clock.move(1))
    await world.look(world.paying("a", invoice, first_seen_at=seen_at))
    assert (await world.shown(invoice))["payments"][0]["rate"] == "50000.00"


async def test_a_payment_in_time_keeps_the_locked_rate(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    invoice = await world.invoice()
    await put(database, 10_000, world.clock.move(100))
    await world.look(world.paying("a", invoice))
    (payment,) = (await world.shown(invoice))["payments"]
    assert (payment["rate"], payment["value"]) == ("50000.00", "50.00")


async def test_what_priced_an_option_outlives_its_quotes(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    await world.invoice()
    async with database.transaction() as tx:
        assert await rates.thin(tx, world.clock.move(1), 100) == 2
    method = json.loads(await database.pool.fetchval("select rate_method from payment_options"))
    assert method["method"] == "median(kraken,coinbase)"
    assert [each["source"] for each in method["inputs"]] == ["kraken", "coinbase"]


# ---------------------------------------------------------------- quotes


@pytest.mark.parametrize(
    "price", [Fraction(1, 10**12), Fraction("60000.20000000"), Fraction(10**30), Fraction("0.1234567890123456789")]
)
async def test_a_quote_is_kept_exactly(database: Database, price: Fraction) -> None:
    now = SetClock().now()
    kept = Quote(BTC_EUR, "kraken", None, price, price, now, now)
    async with database.transaction() as tx:
        await rates.put_quotes(tx, [kept])
        assert await rates.newest(tx, {BTC_EUR}, SOURCES, now) == {BTC_EUR: (kept,)}


async def test_the_newest_quote_at_or_before_a_moment_is_found_for_each_source(database: Database) -> None:
    clock = SetClock()
    first = clock.now()
    await put(database, 1, first)
    await put(database, 2, clock.move(10), "kraken")
    async with database.transaction() as tx:
        before = await rates.newest(tx, {BTC_EUR}, SOURCES, first - timedelta(microseconds=1))
        then = await rates.newest(tx, {BTC_EUR}, SOURCES, clock.now() - timedelta(microseconds=1))
        now = await rates.newest(tx, {BTC_EUR}, SOURCES, clock.now())
    assert before == {BTC_EUR: ()}
    assert {each.source: each.price for each in then[BTC_EUR]} == {"kraken": 1, "coinbase": 1}
    assert {each.source: each.price for each in now[BTC_EUR]} == {"kraken": 2, "coinbase": 1}


async def test_what_a_source_said_before_is_its_last_other_reading(database: Database) -> None:
    """The same answer, kept by the source and given again, is no second reading."""
    clock = SetClock()
    for price in (1, 2, 3):
        await put(database, price, clock.move(10), "kraken")
    last = quote(3, "kraken", clock.now())
    async with database.transaction() as tx:
        await rates.put_quotes(tx, [replace(last, fetched_at=clock.move(10))])
        found = await rates.readings(tx, {BTC_EUR}, SOURCES, clock.now())
    assert [each.price for each in found[BTC_EUR]] == [3, 2]


async def test_a_quote_is_never_rewritten(database: Database) -> None:
    await put(database, 1, SetClock().now())
    with pytest.raises(asyncpg.RaiseError, match="never rewritten"):
        await database.pool.execute("update rate_quotes set price = 2")


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
async def test_c3_the_database_itself_refuses_what_is_no_price(database: Database, price: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.pool.execute(
            "insert into rate_quotes (base, quote, source, price, at, fetched_at)"
            " values ('BTC', 'EUR', 'kraken', $1::text::numeric, now(), now())",
            price,
        )


async def test_the_board_asks_once_a_second_and_hides_no_age(database: Database) -> None:
    clock, board = SetClock(), Board()
    await put(database, 1, clock.now())
    assert (await board.readings(database, {BTC_EUR}, SOURCES, clock.now()))[BTC_EUR][0].price == 1
    await put(database, 2, clock.move(0.5))
    held = (await board.readings(database, {BTC_EUR}, SOURCES, clock.now()))[BTC_EUR]
    assert {each.price for each in held} == {1}
    assert {clock.now() - each.at for each in held} == {timedelta(seconds=0.5)}
    read = (await board.readings(database, {BTC_EUR}, SOURCES, clock.move(0.5)))[BTC_EUR]
    assert {each.price for each in read} == {1, 2}


async def test_an_invoice_is_priced_by_what_is_new_within_a_second(database: Database, world: World) -> None:
    await put(database, 50_000, world.clock.now())
    await world.invoice()
    await put(database, 42_000, world.clock.move(1))
    assert (await world.invoice())["payment_options"][0]["rate"] == "42000.00"


# ---------------------------------------------------------------- alarms and the doctor


async def test_an_alarm_is_one_row_from_its_opening_to_its_end(database: Database) -> None:
    now, kinds = SetClock().now(), (AlarmKind.SOURCE_FAILED, AlarmKind.ANSWER_REFUSED)
    one, other = (
        Alarm(AlarmKind.SOURCE_FAILED, "kraken", "", "500"),
        Alarm(AlarmKind.SOURCE_FAILED, "coinbase", "", "429"),
    )
    async with database.transaction() as tx:
        assert await rates.note_alarms(tx, kinds, "kraken", [one], now) == ([one], [])
        assert await rates.note_alarms(tx, kinds, "coinbase", [other], now) == ([other], [])
        again = Alarm(AlarmKind.SOURCE_FAILED, "kraken", "", "502")
        assert await rates.note_alarms(tx, kinds, "kraken", [again], now) == ([], [])
        assert await rates.note_alarms(tx, kinds, "kraken", [], now) == ([], [one])
        assert [each.alarm for each in await rates.open_alarms(tx)] == [other]
        assert await rates.note_alarms(tx, kinds, "kraken", [one], now) == ([one], [])
    assert await database.pool.fetchval("select count(*) from rate_alarms") == 3


async def test_the_doctor_says_which_pair_has_no_rate_and_which_source_fails(
    database: Database, database_url: str, world: World
) -> None:
    await put(database, 50_000, datetime.now(world.clock.now().tzinfo) - timedelta(hours=1))
    alarm = Alarm(AlarmKind.SOURCE_FAILED, "kraken", "", "it answers with status 451")
    async with database.transaction() as tx:
        await rates.note_alarms(tx, (AlarmKind.SOURCE_FAILED,), "kraken", [alarm], world.clock.now())
    found = {finding.check: finding for finding in await doctor._rates(database, world.house.settings)}

    assert found["rates"].detail == "no process asks the sources"
    assert found["rate BTC/EUR"].verdict is Verdict.FAIL
    assert "too few fresh sources" in found["rate BTC/EUR"].detail
    assert "451" in found["source kraken"].detail

    await put(database, 50_000, datetime.now(world.clock.now().tzinfo))
    found = {finding.check: finding for finding in await doctor._rates(database, world.house.settings)}
    assert (found["rate BTC/EUR"].verdict, found["rate BTC/EUR"].detail) == (
        Verdict.OK, "50000.00 by median(kraken,coinbase)",
    )  # fmt: skip
