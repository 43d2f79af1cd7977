"""Rates over HTTP: what a pair is worth, why, and what the sources said before."""

from collections.abc import AsyncIterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from kassa.core.clock import rfc3339
from kassa.db.pool import Database
from kassa.rates import store as rates
from kassa.rates.model import Pair, Quote
from kassa.settings import Rates
from tests.api.conftest import follow
from tests.api.served import Served, serve
from tests.house import add_store, build_house

BTC_EUR = Pair("BTC", "EUR")


@pytest.fixture
async def live(database: Database, tmp_path: Path) -> AsyncIterator[Served]:
    """A served house that has live sources."""
    house = await build_house(database, tmp_path, rates=Rates(sources=("kraken", "coinbase", "bitstamp")))
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store) as running:
        yield running
    await house.marks.close()


async def say(served: Served, source: str, bid: str, ask: str, pair: Pair = BTC_EUR, age: int = 0) -> None:
    at = served.house.clock.now() - timedelta(seconds=age)
    middle = (Fraction(bid) + Fraction(ask)) / 2
    async with served.house.database.transaction() as tx:
        await rates.put_quotes(tx, [Quote(pair, source, Fraction(bid), Fraction(ask), middle, at, at)])


async def test_a_rate_is_shown_with_everything_that_went_into_it(live: Served) -> None:
    await say(live, "kraken", "59999", "60001", age=20)
    await say(live, "coinbase", "60009", "60011")
    await say(live, "bitstamp", "600000", "600010")
    now = live.house.clock.now()
    rate = (await live.all.get("/v1/rates?base=BTC&quote=EUR")).json

    assert (rate["rate"], rate["bid"], rate["ask"]) == ("60005.00", "60004.00", "60006.00")
    assert (rate["source"], rate["pivot"], rate["at"]) == (
        "median(kraken,coinbase)", None, rfc3339(now - timedelta(seconds=20)),
    )  # fmt: skip
    assert rate["inputs"][0] == {
        "base": "BTC", "quote": "EUR", "source": "kraken", "bid": "59999.00", "ask": "60001.00", "rate": "60000.00",
        "at": rate["at"], "fetched_at": rate["at"], "dropped": None,
    }  # fmt: skip
    assert {each["source"]: each["dropped"] for each in rate["inputs"]} == {
        "kraken": None, "coinbase": None, "bitstamp": "outlier",
    }  # fmt: skip


async def test_the_inverse_and_the_same_code_have_rates_too(live: Served) -> None:
    for source in ("kraken", "coinbase"):
        await say(live, source, "50000", "62500")
    inverse = (await live.all.get("/v1/rates?base=EUR&quote=BTC")).json
    assert (inverse["bid"], inverse["ask"]) == ("0.000016", "0.00002")
    same = (await live.all.get("/v1/rates?base=BTC&quote=BTC")).json
    assert (same["rate"], same["source"], same["inputs"], same["bid"]) == ("1.00", "same", [], None)


async def test_without_a_fresh_rate_the_answer_is_503_and_nothing_is_assumed(live: Served) -> None:
    for answer in (
        await live.all.get("/v1/rates?base=BTC&quote=EUR"),
        await live.all.get("/v1/rates?base=USDC&quote=USD"),
        await live.all.post("/v1/invoices", {"amount": "50.00", "currency": "EUR"}),
    ):
        assert (answer.status, answer.code) == (503, "rate_unavailable")
        assert answer.headers["retry-after"] == "5"  # type: ignore[index,call-overload]


async def test_the_history_is_newest_first_in_pages_and_within_a_time(live: Served) -> None:
    for age in (50, 40, 30, 20, 10):
        await say(live, "kraken", str(age), str(age), age=age)
    await say(live, "kraken", "1", "1", Pair("BTC", "USD"))
    path = "/v1/rates/history?base=BTC&quote=EUR&limit=2"
    first = (await live.all.get(path)).json
    second = (await live.all.get(f"{path}&cursor={first['next_cursor']}")).json
    third = (await live.all.get(f"{path}&cursor={second['next_cursor']}")).json

    shown = [quote["rate"] for page in (first, second, third) for quote in page["data"]]
    assert shown == ["10.00", "20.00", "30.00", "40.00", "50.00"]
    assert third["next_cursor"] is None
    assert first["data"][0].keys() == {
        "object", "id", "base", "quote", "source", "bid", "ask", "rate", "at", "fetched_at",
    }  # fmt: skip

    now = live.house.clock.now()
    since, until = (rfc3339(now - timedelta(seconds=age)) for age in (40, 20))
    within = (await live.all.get(f"/v1/rates/history?base=BTC&quote=EUR&from={since}&to={until}")).json
    assert [quote["rate"] for quote in within["data"]] == ["20.00", "30.00", "40.00"]


@pytest.mark.parametrize(
    "query", ["base=BTC", "base=btc&quote=EUR", "base=BTC&quote=EUR&cursor=x", "base=BTC&quote=EUR&from=now"]
)
async def test_a_malformed_question_is_422(live: Served, query: str) -> None:
    assert (await live.all.get(f"/v1/rates/history?{query}")).status == 422
