"""Rates under fault: whatever sources answer, an invoice is priced near the truth or refused, and it is said."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.core.clock import SystemClock
from kassa.core.errors import Invalid, LeaseLost, Unavailable
from kassa.core.money import currency, due_units
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.invoices.model import Order
from kassa.rates import client
from kassa.rates import store as rates
from kassa.rates.model import Alarm, AlarmKind, NoRate, Pair, Quote, Rate
from kassa.rates.sources import SOURCES as BY_NAME
from kassa.settings import Confirmations, Rates
from kassa.stores import store as stores
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from kassa.workers import fetch_rates as worker
from kassa.workers.fetch_rates import fetch_rates
from tests.api.conftest import follow
from tests.house import BITCOIN, TPUB, SetClock, add_store, build_house, regtest
from tests.tools.exchanges import Exchanges, exchanges

SOURCES = ("kraken", "coinbase", "bitstamp")
EVERY = (*SOURCES, "binance", "bitfinex", "coingecko", "ecb")
PRICES = {"BTC/EUR": "60000.5", "BTC/USD": "70000", "EUR/USD": "1.1435"}
LIMIT_SECONDS = 20
FAULTS = (
    "zero", "negative", "nan", "infinity", "garbage", "missing", "renamed", "inverted", "tenfold", "ten million",
    "thousandth", "crossed", "html", "binary", "truncated", "huge", "deep", "redirect", "429", "500", "451", "403",
    "tls",
)  # fmt: skip
TIMED = ("coinbase", "bitstamp", "binance", "coingecko", "ecb")


@pytest.fixture
async def market() -> AsyncIterator[Exchanges]:
    async with exchanges() as made:
        made.prices |= PRICES
        yield made


@asynccontextmanager
async def open_house(
    database: Database, folder: Path, market: Exchanges, *sources: str, clock: SetClock | None = None, **more: Any
) -> AsyncIterator[House]:
    chosen = Rates(**{"sources": sources or SOURCES, "urls": market.urls(), "fetch_seconds": 1} | more)
    house = await build_house(database, folder, clock=clock or SystemClock(), rates=chosen)  # type: ignore[arg-type]
    await follow(house)
    try:
        yield house
    finally:
        await house.marks.close()


@asynccontextmanager
async def fetching(house: House) -> AsyncIterator[None]:
    task = asyncio.create_task(fetch_rates(house))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Any) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not await holds():  # noqa: ASYNC110 rows tell nobody
            await asyncio.sleep(0.02)


async def quoted(house: House, *sources: str, pair: str = "BTC/EUR") -> None:
    async def all_there() -> bool:
        base, quote = pair.split("/")
        told = await house.database.pool.fetch(
            "select distinct source from rate_quotes where base = $1 and quote = $2", base, quote
        )
        return {row["source"] for row in told} >= set(sources)

    await until(all_there)


async def alarmed(house: House, kind: str, source: str = "", pair: str = "") -> str:
    said = ""

    async def open_now() -> bool:
        nonlocal said
        for each in await rates.open_alarms(house.database.pool):
            if (each.alarm.kind, each.alarm.source, each.alarm.pair) == (kind, source, pair):
                said = each.alarm.detail
                return True
        return False

    await until(open_now)
    return said


async def left_open(house: House, *expected: tuple[str, str]) -> None:
    """Wait until these alarms are open, by kind and source, and no others: who judges may have met a few quotes first.

    Ask while rates are fetched: afterwards nobody judges any more.
    """

    async def are_open() -> bool:
        found = [each.alarm for each in await rates.open_alarms(house.database.pool)]
        return [(alarm.kind, alarm.source) for alarm in found] == [*expected]

    await until(are_open)


async def store_of(house: House, code: str = "EUR") -> Store:
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
        await tx.execute("update stores set currency = $2 where id = $1", store.id, code)
    return store


async def opened(house: House, store: Store, amount: str = "60.00", code: str = "EUR", *named: str) -> Any:
    now = house.clock.now()
    order = Order(amount, code, payment_options=named or None)
    opening = await flow.quote_invoice(house, store, order, now)
    return await flow.open_invoice(None, house, opening, now)


async def method_of(house: House, invoice: Any) -> Any:
    text = await house.database.pool.fetchval(
        "select rate_method from payment_options where invoice_id = $1", invoice["id"]
    )
    return json.loads(text)


def quote(pair: Pair, source: str, price: str, at: datetime) -> Quote:
    return Quote(pair, source, None, None, Fraction(price), at, at)


async def worth(house: House, base: str = "BTC", quote: str = "EUR") -> Rate | NoRate:
    asked = base, quote
    return (await flow.rates_at(house.database.pool, house.settings, [asked], house.clock.now()))[asked]


# ---------------------------------------------------------------- all is well


async def test_an_invoice_carries_the_median_and_all_that_went_into_it(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.prices |= {"kraken BTC/EUR": "60000", "coinbase BTC/EUR": "60100", "bitstamp BTC/EUR": "59900"}
    async with open_house(database, tmp_path, market) as house:
        store = await store_of(house)
        async with fetching(house):
            await quoted(house, *SOURCES)
        invoice = await opened(house, store)
        (option,) = invoice["payment_options"]

        assert (option["rate"], option["rate_source"]) == ("60000.00", "median(kraken,coinbase,bitstamp)")
        assert option["amount"] == "0.00100000"
        method = await method_of(house, invoice)
        assert [(each["source"], each["rate"], each["dropped"]) for each in method["inputs"]] == [
            ("kraken", "60000.00", None), ("coinbase", "60100.00", None), ("bitstamp", "59900.00", None),
        ]  # fmt: skip
        assert method["at"] == option["rate_at"] == min(each["at"] for each in method["inputs"])


async def test_every_source_is_read_from_its_recorded_shape(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    async with open_house(database, tmp_path, market, *EVERY) as house:
        await store_of(house)
        async with fetching(house):
            await quoted(house, *EVERY[:-1])
            await quoted(house, "ecb", pair="EUR/USD")
            await left_open(house)
        rows = await house.database.pool.fetch("select * from rate_quotes")
        assert {Fraction(row["price"]) for row in rows} <= {Fraction(price) for price in PRICES.values()}


async def test_a_pair_that_a_source_does_not_trade_is_not_asked_for_again_soon(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    del market.prices["BTC/EUR"]
    async with open_house(database, tmp_path, market, *EVERY) as house:
        await store_of(house)
        async with fetching(house):
            await quoted(house, "kraken", "coinbase", "bitstamp", "binance", "bitfinex", pair="BTC/USD")
            await quoted(house, "ecb", pair="EUR/USD")
            before = len([path for source, path in market.requests if source == "coinbase" and "BTC-USD" in path])

            async def asked_again() -> bool:
                asked = [path for source, path in market.requests if source == "coinbase" and "BTC-USD" in path]
                return len(asked) > before + 1

            await until(asked_again)
            await left_open(house, ("source_failed", "coingecko"))
        assert len([path for source, path in market.requests if source == "coinbase" and "BTC-EUR" in path]) == 1
        rate = await worth(house)
        assert isinstance(rate, Rate)
        assert rate.source == "median(kraken,coinbase,bitstamp,binance,bitfinex)*ecb via USD"
        assert abs(rate.value - Fraction(70_000) / Fraction("1.1435")) < Fraction(1, 10**17)


async def test_a_source_that_trades_nothing_that_is_needed_is_said(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.prices.clear()
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        async with fetching(house):
            for source in SOURCES:
                assert "none of the pairs" in await alarmed(house, "source_failed", source)


@pytest.mark.parametrize("source", ["kraken", "bitfinex", "coingecko", "binance"])
async def test_a_page_that_is_not_found_is_a_failure_where_pairs_are_refused_otherwise(
    database: Database, tmp_path: Path, market: Exchanges, source: str
) -> None:
    market.faults[source] = "404"
    async with open_house(database, tmp_path, market, *EVERY) as house:
        await store_of(house)
        async with fetching(house):
            assert "status 404" in await alarmed(house, "source_failed", source)


# ---------------------------------------------------------------- C3, C5, C6: one source of three is wrong


@pytest.mark.parametrize("fault", FAULTS)
async def test_c3_c5_c6_one_faulty_source_of_three_changes_no_price_and_is_said(
    database: Database, tmp_path: Path, market: Exchanges, fault: str
) -> None:
    market.faults["bitstamp"] = fault
    async with open_house(database, tmp_path, market) as house:
        store = await store_of(house)
        async with fetching(house):
            await quoted(house, "kraken", "coinbase")
            kind = {
                "redirect": "source_failed", "429": "source_failed", "500": "source_failed", "451": "source_failed",
                "403": "source_failed", "tls": "source_failed", "inverted": "quote_dropped", "tenfold": "quote_dropped",
                "ten million": "quote_dropped", "thousandth": "quote_dropped",
            }.get(fault, "answer_refused")  # fmt: skip
            said = await alarmed(house, kind, "bitstamp", "" if kind == "source_failed" else "BTC/EUR")
            assert said
        invoice = await opened(house, store)
        rows = await house.database.pool.fetch("select price from rate_quotes where source = 'bitstamp'")

    assert invoice["payment_options"][0]["rate"] == "60000.50"
    assert invoice["payment_options"][0]["rate_source"] == "median(kraken,coinbase)"
    assert all(row["price"] > 0 for row in rows)


@pytest.mark.parametrize("fault", [*FAULTS, "stale"])
async def test_c3_c6_when_all_sources_are_wrong_there_is_no_invoice_and_no_row(
    database: Database, tmp_path: Path, market: Exchanges, fault: str
) -> None:
    market.faults |= dict.fromkeys(SOURCES, fault)
    if fault in ("inverted", "tenfold", "ten million", "thousandth", "crossed"):
        # Sources that lie alike cannot be told from the truth: here one of two lies, and nobody can tell which.
        market.faults = {"coinbase": fault}
    sources = ("coinbase", "bitstamp")
    async with open_house(database, tmp_path, market, *sources) as house:
        store = await store_of(house)
        async with fetching(house):
            await alarmed(house, "no_rate", "", "BTC/EUR")
        with pytest.raises(Unavailable) as refused:
            await opened(house, store)
        invoices = await house.database.pool.fetchval("select count(*) from invoices")
        issued = await house.database.pool.fetchval("select sum(next_index) from keychains")

    assert (refused.value.code, refused.value.status) == ("rate_unavailable", 503)
    assert (invoices, issued) == (0, 0)


async def test_c6_a_source_that_hangs_delays_no_other_and_is_given_up(
    database: Database, tmp_path: Path, market: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.faults["kraken"] = "hang"
    async with open_house(database, tmp_path, market) as house:
        store = await store_of(house)
        monkeypatch.setattr(client, "ANSWER_SECONDS", 10 * LIMIT_SECONDS)
        async with fetching(house):
            await quoted(house, "coinbase", "bitstamp")  # while it hangs
        monkeypatch.setattr(client, "ANSWER_SECONDS", 2)
        async with fetching(house):
            assert "no answer within 2 s" in await alarmed(house, "source_failed", "kraken")
        invoice = await opened(house, store)
    assert invoice["payment_options"][0]["rate_source"] == "median(coinbase,bitstamp)"


@pytest.mark.parametrize("fault", ["hang", "500"])
async def test_c6_a_pair_that_gets_no_answer_costs_no_other_pair_its_turn(market: Exchanges, fault: str) -> None:
    pairs = [Pair("BTC", "EUR"), Pair("BTC", "USD"), Pair("LTC", "EUR"), Pair("LTC", "USD")]
    market.prices |= {str(pair): "100" for pair in pairs}
    market.faults |= {f"coinbase {pair}": fault for pair in pairs[:3]}
    asking = client.Client(SystemClock(), Fraction(1, 50))
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(client, "ANSWER_SECONDS", 1)
            patched.setattr(client, "ROUND_SECONDS", 2.5)
            url = market.urls("coinbase")["coinbase"]
            first, second = [await asking.ask(BY_NAME["coinbase"], url, pairs) for _ in range(2)]
    finally:
        await asking.close()
    if fault == "500":
        assert first.failed is None
        assert first.refused == dict.fromkeys(pairs[:3], "it answers with status 500")
        assert [quote.pair for quote in first.quotes] == pairs[3:]
    assert [quote.pair for quote in second.quotes] == pairs[3:]


async def test_c6_the_house_without_any_source_still_prices_a_coin_in_itself(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.faults |= dict.fromkeys(SOURCES, "500")
    async with open_house(database, tmp_path, market) as house:
        invoice = await opened(house, await store_of(house), "0.00100000", "BTC")
    assert invoice["payment_options"][0]["amount"] == "0.00100000"
    assert invoice["payment_options"][0]["rate_source"] == "same"


async def test_c6_a_source_that_says_429_is_left_alone_as_long_as_it_wants(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.faults["kraken"] = "429"
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        async with fetching(house):
            await alarmed(house, "source_failed", "kraken")
            before = len(market.requests)

            async def others_go_on() -> bool:
                return len(market.requests) > before + 12

            await until(others_go_on)
        assert len([path for source, path in market.requests if source == "kraken"]) == 1


# ---------------------------------------------------------------- C4: time


async def test_c4_after_max_age_the_stored_rate_is_refused_and_the_alarm_comes_first(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    clock = SetClock(SystemClock().now())
    async with open_house(database, tmp_path, market, clock=clock) as house:
        store = await store_of(house)
        async with fetching(house):
            await quoted(house, *SOURCES)
            market.faults |= dict.fromkeys(SOURCES, "500")
            # The sources fail long before their last quotes are too old to be used.
            for source in SOURCES:
                await alarmed(house, "source_failed", source)
            assert await opened(house, store)
        clock.move(299)
        assert await opened(house, store)
        clock.move(2)
        with pytest.raises(Unavailable, match="too few fresh sources"):
            await opened(house, store)


async def test_c4_sources_that_stand_still_are_said_before_an_invoice_is_refused(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    clock = SetClock(SystemClock().now())
    async with open_house(database, tmp_path, market, "coinbase", "bitstamp", clock=clock) as house:
        store = await store_of(house)
        async with fetching(house):
            await quoted(house, "coinbase", "bitstamp")
            # They answer on, well and in time, and the time they tell falls behind ours.
            clock.move(200)
            assert "half of max_age" in await alarmed(house, "rate_ageing", "", "BTC/EUR")
            assert await opened(house, store)
            clock.move(200)
            await alarmed(house, "no_rate", "", "BTC/EUR")
        with pytest.raises(Unavailable):
            await opened(house, store)


async def test_an_order_in_a_currency_of_no_store_is_priced_through_the_reference(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    async with open_house(database, tmp_path, market, *SOURCES, "ecb") as house:
        store = await store_of(house, "USD")
        async with fetching(house):
            await quoted(house, *SOURCES, pair="BTC/USD")
            await quoted(house, "ecb", pair="EUR/USD")
        invoice = await opened(house, store, "60.00", "EUR")
    assert invoice["payment_options"][0]["rate_source"] == "median(kraken,coinbase,bitstamp)*ecb via USD"


@pytest.mark.parametrize("source", TIMED)
@pytest.mark.parametrize("fault", ["stale", "future"])
async def test_c4_a_source_whose_own_time_is_wrong_counts_nothing(
    database: Database, tmp_path: Path, market: Exchanges, source: str, fault: str
) -> None:
    market.faults[source] = fault
    pair = "EUR/USD" if source == "ecb" else "BTC/EUR"
    async with open_house(database, tmp_path, market, *EVERY) as house:
        await store_of(house)
        async with fetching(house):
            await quoted(house, "kraken", "bitfinex")
            if fault == "future":
                assert "future" in await alarmed(house, "answer_refused", source, pair)
            else:
                await quoted(house, source, pair=pair)
        rate = await worth(house) if source != "ecb" else await worth(house, "USD", "EUR")
    assert isinstance(rate, Rate)
    assert source not in rate.source


async def test_c4_a_clock_that_jumps_back_uses_nothing_that_it_has_not_seen(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    clock = SetClock(SystemClock().now())
    async with open_house(database, tmp_path, market, clock=clock) as house:
        await store_of(house)
        async with fetching(house):
            await quoted(house, *SOURCES)
        assert isinstance(await worth(house), Rate)
        clock.move(-3600)
        assert isinstance(await worth(house), NoRate)


# ---------------------------------------------------------------- C8, C10, C26


async def test_c8_the_spread_is_charged_on_top_and_kept_with_the_option(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.prices["BTC/EUR"] = "60000"
    async with open_house(database, tmp_path, market) as house:
        store = await store_of(house)
        async with house.database.transaction() as tx:
            await stores.set_spread(tx, store.id, 10_000)
            store = await stores.get_store(tx, store.id)
        async with fetching(house):
            await quoted(house, *SOURCES)
        invoice = await opened(house, store)
        method = await method_of(house, invoice)
        same = await opened(house, store, "0.00100000", "BTC")

    assert invoice["payment_options"][0]["rate"] == "59400.00"
    assert invoice["payment_options"][0]["amount"] == "0.00101011"
    assert method["spread_ppm"] == 10_000
    assert {each["rate"] for each in method["inputs"]} == {"60000.00"}
    assert same["payment_options"][0]["amount"] == "0.00100000"


@pytest.mark.parametrize(
    ("code", "price", "amount", "bad"),
    [("JPY", "10000000", "1000", "1.5"), ("KWD", "20000", "1.234", "1.2345"), ("CLF", "1500", "0.1234", "0.12345"),
     ("KRW", "90000000", "5000", "0.1"), ("BHD", "22000", "2.345", "1.0001"), ("VND", "1600000000", "20000", "2.5")],
)  # fmt: skip
async def test_c10_currencies_with_other_decimals_have_rates_too(
    database: Database, tmp_path: Path, market: Exchanges, code: str, price: str, amount: str, bad: str
) -> None:
    async with open_house(database, tmp_path, market) as house:
        store = await store_of(house, code)
        now = house.clock.now()
        async with house.database.transaction() as tx:
            quotes = [quote(Pair("BTC", code), source, price, now) for source in SOURCES]
            await rates.put_quotes(tx, quotes)
        invoice = await opened(house, store, amount, code)
        with pytest.raises(Invalid):
            await opened(house, store, bad, code)
    units = int(invoice["payment_options"][0]["amount"].replace(".", ""))
    digits = currency(code).decimals
    assert units == due_units(int(Fraction(amount) * 10**digits), digits, Fraction(price), 8)


async def test_c10_an_unknown_currency_is_refused(database: Database, tmp_path: Path, market: Exchanges) -> None:
    async with open_house(database, tmp_path, market) as house:
        with pytest.raises(Invalid, match="not a known currency"):
            await opened(house, await store_of(house), "1.00", "XXX")


async def test_c26_a_stable_coin_that_lost_its_peg_is_worth_less(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    async with open_house(database, tmp_path, market) as house:
        assert isinstance(await worth(house, "USDC", "USD"), NoRate)
        now = house.clock.now()
        async with house.database.transaction() as tx:
            usdc = [quote(Pair("USDC", "USD"), source, "0.90", now) for source in SOURCES]
            usdt = [quote(Pair("USDC", "USDT"), source, "0.95", now) for source in SOURCES]
            await rates.put_quotes(tx, [*usdc, *usdt])
        for code, value in (("USD", "0.90"), ("USDT", "0.95")):
            rate = await worth(house, "USDC", code)
            assert isinstance(rate, Rate)
            assert rate.value == Fraction(value)


async def test_c26_a_coin_that_fell_stays_so_while_nobody_says_what_it_is_worth(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        coin = replace(house.chains[BITCOIN].assets[0], symbol="USDC")
        here = replace(house, chains={BITCOIN: replace(house.chains[BITCOIN], assets=(coin,))})
        now = house.clock.now()
        later = now + timedelta(days=1)  # all quotes are stale
        async with house.database.transaction() as tx:
            await rates.put_quotes(tx, [quote(Pair("USDC", "USD"), source, "0.90", now) for source in SOURCES])
            [fell] = await depegged(tx, here, now)
            assert await depegged(tx, here, later) == []
            await rates.note_alarms(tx, list(AlarmKind), None, [fell], now)
            assert await depegged(tx, here, later) == [fell]


async def depegged(tx: Tx, house: House, now: datetime) -> list[Alarm]:
    return [alarm for alarm in await flow.rate_alarms(tx, house, now) if alarm.kind is AlarmKind.DEPEGGED]


# ---------------------------------------------------------------- what is offered, and when


async def test_an_asset_without_a_rate_is_left_out_and_a_named_one_is_refused(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    networks = {BITCOIN: regtest(), "litecoin-regtest": regtest("litecoin-regtest")}
    chosen = Rates(sources=SOURCES, urls=market.urls(), fetch_seconds=1)
    house = await build_house(database, tmp_path, networks, SystemClock(), rates=chosen)  # type: ignore[arg-type]
    for network in networks:
        await follow(house, network)
    store = await store_of(house)
    litecoin = house.chains["litecoin-regtest"]
    async with house.database.transaction() as tx:
        account = litecoin.addresses.account(TPUB)
        await wallets.add_wallet(
            tx, store.id, "litecoin-regtest", litecoin.space, account, house.seal, house.clock.now()
        )
    async with fetching(house):
        await quoted(house, *SOURCES)
        assert "too few fresh sources" in await alarmed(house, "no_rate", "", "LTC/EUR")
    invoice = await opened(house, store)
    with pytest.raises(Unavailable, match="LTC/EUR") as refused:
        await opened(house, store, "60.00", "EUR", f"BTC@{BITCOIN}", "LTC@litecoin-regtest")
    await house.marks.close()

    assert [option["asset"] for option in invoice["payment_options"]] == [f"BTC@{BITCOIN}"]
    assert refused.value.code == "rate_unavailable"


async def test_tiers_are_valued_by_live_rates(database: Database, tmp_path: Path, market: Exchanges) -> None:
    tiers = (Confirmations(1, Fraction(100), "USD"), Confirmations(6))
    chosen = Rates(sources=SOURCES, urls=market.urls(), fetch_seconds=1)
    network = replace(regtest(), confirmations=tiers)
    house = await build_house(database, tmp_path, {BITCOIN: network}, SystemClock(), rates=chosen)  # type: ignore[arg-type]
    await follow(house)
    store = await store_of(house)
    async with fetching(house):
        await quoted(house, *SOURCES)
        await quoted(house, *SOURCES, pair="BTC/USD")
    small, large = [await opened(house, store, amount) for amount in ("80.00", "90.00")]
    await house.marks.close()

    needed = [made["payment_options"][0]["confirmations_required"] for made in (small, large)]
    assert needed == [1, 6]


# ---------------------------------------------------------------- F12, and one process at a time


async def test_f12_an_alarm_opens_once_and_closes_when_it_is_over(
    database: Database, tmp_path: Path, market: Exchanges
) -> None:
    market.faults["kraken"] = "renamed"
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        async with fetching(house):
            assert "shape" in await alarmed(house, "answer_refused", "kraken", "BTC/EUR")
            before = len(market.requests)

            async def asked_on() -> bool:
                return len(market.requests) > before + 12

            await until(asked_on)
            market.faults.clear()

            async def closed() -> bool:
                return not await rates.open_alarms(house.database.pool)

            await until(closed)
        told = await house.database.pool.fetch("select kind, source, pair, closed_at from rate_alarms order by id")
        kept = [(row["kind"], row["source"], row["pair"]) for row in told if row["source"] == "kraken"]
    assert sorted(kept) == [("answer_refused", "kraken", "BTC/EUR"), ("answer_refused", "kraken", "BTC/USD")]
    assert all(row["closed_at"] is not None for row in told)


async def test_only_one_process_asks_and_another_takes_over(
    database: Database, tmp_path: Path, market: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LEASE_SECONDS", 8)
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        first = asyncio.create_task(fetch_rates(house))
        await quoted(house, *SOURCES)
        ends = await house.database.pool.fetchval("select lease_until from rate_fetching")
        second = asyncio.create_task(fetch_rates(house))
        # Longer than the lease: whoever holds it prolongs it.
        await until(lambda: house.database.pool.fetchval("select now() > $1 from rate_fetching", ends))
        assert await house.database.pool.fetchval("select fence from rate_fetching") == 1
        first.cancel()

        async def taken_over() -> bool:
            return bool(await house.database.pool.fetchval("select fence from rate_fetching") == 2)

        await until(taken_over)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_who_lost_the_lease_stores_nothing_more(database: Database, tmp_path: Path, market: Exchanges) -> None:
    async with open_house(database, tmp_path, market) as house:
        await store_of(house)
        task = asyncio.create_task(fetch_rates(house))
        await quoted(house, *SOURCES)
        async with house.database.transaction() as tx:
            await tx.execute("update rate_fetching set fence = fence + 1")
            before = await tx.fetchval("select count(*) from rate_quotes")
        with pytest.raises(LeaseLost):
            async with asyncio.timeout(LIMIT_SECONDS):
                await task
        assert await house.database.pool.fetchval("select count(*) from rate_quotes") == before
