"""What sources answer, in their recorded shapes: how a pair is named, and that every number is read exactly."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.errors import SourceInvalid
from kassa.rates.model import Pair, Ticker
from kassa.rates.reading import number
from kassa.rates.sources import SOURCES
from tests.tools.exchanges import ABSENT, SHAPES

BTC_EUR, USDC_USD, EUR_USD = Pair("BTC", "EUR"), Pair("USDC", "USD"), Pair("EUR", "USD")
AT = datetime(2026, 7, 26, 13, 5, 51, 234745, tzinfo=UTC)
SECOND = AT.replace(microsecond=0)
ONE_SIDED = ("coingecko", "ecb")


def own(source: str) -> Pair:
    return EUR_USD if source == "ecb" else BTC_EUR


@pytest.mark.parametrize(
    ("source", "pair", "path"),
    [
        ("kraken", BTC_EUR, "/0/public/Ticker?pair=XBTEUR"),
        ("kraken", Pair("DOGE", "BTC"), "/0/public/Ticker?pair=XDGXBT"),
        ("kraken", USDC_USD, "/0/public/Ticker?pair=USDCUSD"),
        ("coinbase", BTC_EUR, "/products/BTC-EUR/ticker"),
        ("bitstamp", USDC_USD, "/api/v2/ticker/usdcusd/"),
        ("binance", BTC_EUR, "/api/v3/ticker/24hr?symbol=BTCEUR"),
        ("bitfinex", BTC_EUR, "/v2/tickers?symbols=tBTCEUR"),
        ("bitfinex", USDC_USD, "/v2/tickers?symbols=tUDCUSD"),
        ("bitfinex", Pair("DOGE", "USD"), "/v2/tickers?symbols=tDOGE:USD"),
        ("ecb", EUR_USD, "/stats/eurofxref/eurofxref-daily.xml"),
        ("ecb", BTC_EUR, None),
        ("kraken", EUR_USD, None),
        ("coingecko", EUR_USD, None),
        ("coingecko", Pair("NOBODY", "EUR"), None),
    ],
)
def test_a_pair_is_named_as_the_source_names_it(source: str, pair: Pair, path: str | None) -> None:
    assert SOURCES[source].path(pair) == path


def test_one_answer_of_the_aggregator_holds_all_that_could_be_wanted() -> None:
    paths = {SOURCES["coingecko"].path(pair) for pair in (BTC_EUR, USDC_USD, Pair("LTC", "CHF"))}
    (path,) = paths
    assert path is not None
    assert path.startswith("/api/v3/simple/price?ids=avalanche-2,binancecoin,bitcoin,")
    assert path.endswith("&include_last_updated_at=true&precision=full")


@pytest.mark.parametrize("source", SHAPES)
def test_a_recorded_answer_is_read_exactly(source: str) -> None:
    bid, ask = "60000.10000000", "60000.30000001"
    read = SOURCES[source].read(SHAPES[source](own(source), bid, ask, AT).encode(), own(source))

    at = {"coinbase": AT, "bitstamp": SECOND, "binance": SECOND, "coingecko": SECOND}.get(source)
    if source == "ecb":
        at = datetime(2026, 7, 26, 12, tzinfo=UTC)
    if source in ONE_SIDED:
        assert read == Ticker(None, None, Fraction(bid), at)
    else:
        middle = Fraction("60000.200000005")
        assert read is not None
        assert (read.bid, read.ask, read.price) == (Fraction(bid), Fraction(ask), middle)
        # Nanoseconds are rounded, as ours end at microseconds.
        assert (read.at is None) if at is None else abs((read.at or AT) - at).microseconds <= 1


@pytest.mark.parametrize("source", ["kraken", "bitfinex", "coingecko"])
def test_a_pair_that_is_not_traded_is_told_apart_from_a_fault(source: str) -> None:
    status, body = ABSENT[source]
    assert status == 200
    assert SOURCES[source].read(body.encode(), BTC_EUR) is None


@pytest.mark.parametrize("source", ["coinbase", "bitstamp", "binance"])
def test_a_status_may_say_that_a_pair_is_not_traded(source: str) -> None:
    status, body = ABSENT[source]
    assert SOURCES[source].absent(status, body.encode())
    assert not SOURCES[source].absent(500, body.encode())
    assert not SOURCES["binance"].absent(400, b'{"code":-1003,"msg":"Too much request weight used"}')
    assert not SOURCES["binance"].absent(400, b"<html>")


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("kraken", SHAPES["kraken"](Pair("LTC", "EUR"), "1", "1", AT)),
        ("kraken", '{"error":["EGeneral:Temporary lockout"],"result":{}}'),
        ("kraken", '{"error":[],"result":{}}'),
        ("kraken", '{"error":[],"result":{"XXBTZEUR":{"a":[],"b":["1"]}}}'),
        ("binance", SHAPES["binance"](Pair("LTC", "EUR"), "1", "1", AT)),
        ("bitfinex", SHAPES["bitfinex"](Pair("LTC", "EUR"), "1", "1", AT)),
        ("bitfinex", '["error",10020,"symbol: invalid"]'),
        ("coinbase", '{"bid":"1","ask":"1","time":"2026-07-26T13:05:51"}'),
        ("coinbase", '{"bid":"1","ask":"1","time":"0001-01-01T00:00:00+23:00"}'),
        ("bitstamp", '{"bid":"1","ask":"1","timestamp":"12"}'),
        ("bitstamp", '{"bid":"1","ask":"1","timestamp":"1e99"}'),
        ("coingecko", '{"bitcoin":{"eur":1}}'),
        ("coingecko", '{"status":{"error_code":429}}'),
        ("ecb", "<Cube time='2026-13-45'><Cube currency='USD' rate='1'/>"),
    ],
)
def test_an_answer_about_something_else_is_refused(source: str, body: str) -> None:
    with pytest.raises(SourceInvalid):
        SOURCES[source].read(body.encode(), own(source))


@pytest.mark.parametrize("source", SHAPES)
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_is_answered_is_read_or_refused(source: str, body: bytes) -> None:
    with suppress(SourceInvalid):
        SOURCES[source].read(body, own(source))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.parametrize("source", SHAPES)
@given(bid=JSON, ask=JSON)
def test_whatever_stands_in_place_of_a_price_is_read_or_refused(source: str, bid: object, ask: object) -> None:
    body = SHAPES[source](own(source), "BID", "ASK", AT).replace('"BID"', "BID").replace('"ASK"', "ASK")
    for place, value in (("BID", bid), ("ASK", ask)):
        body = body.replace(place, json.dumps(value))
    for text in (body, body.replace(json.dumps(str(int(AT.timestamp()))), json.dumps(bid))):
        with suppress(SourceInvalid):
            SOURCES[source].read(text.encode(), own(source))


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"60000", Fraction(60_000)), (b'"0.00000001"', Fraction(1, 10**8)), (b"1.2e-7", Fraction(12, 10**8)),
        (b"1E+3", Fraction(1000)), (b"-5", Fraction(-5)), (b"0.1", Fraction(1, 10)),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_written(raw: bytes, read: Fraction) -> None:
    assert number(raw) == read


@pytest.mark.parametrize(
    "raw",
    [
        b"NaN",
        b'"NaN"',
        b'"Infinity"',
        b"null",
        b"true",
        b'""',
        b'"1,5"',
        b'" 1"',
        b'"0x10"',
        b"1e999",
        b"1" * 50,
        b"{}",
    ],
)
def test_what_is_not_plainly_a_number_is_refused(raw: bytes) -> None:
    with pytest.raises(SourceInvalid):
        number(raw)
