"""The sources: one record of data each. Another one is a function that reads its answer, and an entry in `SOURCES`.

Each says where it is asked (`path`), and reads what is answered (`read`) into a `Ticker`, or None for a pair that it
does not trade. The price is the middle of bid and ask where both are told.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec import Raw, Struct, field

from kassa.core.errors import SourceInvalid
from kassa.rates.markets import ANCHOR, REFERENCE, is_fiat
from kassa.rates.model import Pair, Ticker
from kassa.rates.reading import decode, first, middle, moment, number, utc

Read = Callable[[bytes, Pair], Ticker | None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where and how a source is asked. Pairs with the same path are read from one answer.

    `path` is None for a pair that the source cannot name. `absent` tells from a status other than 200, and the body
    with it, that a pair is not traded there. It is asked every `least_seconds` at most.
    """

    name: str
    url: str
    path: Callable[[Pair], str | None]
    read: Read
    absent: Callable[[int, bytes], bool] = lambda _status, _body: False
    least_seconds: int = 1


# ---------------------------------------------------------------- Kraken
# https://docs.kraken.com/api/docs/rest-api/get-ticker-information: tells no time; errors come with status 200.

_KRAKEN = {"BTC": "XBT", "DOGE": "XDG"}


class _KrakenTicker(Struct):
    a: list[Raw]
    b: list[Raw]


class _Kraken(Struct):
    error: list[str]
    result: dict[str, _KrakenTicker] = {}


def _kraken_names(pair: Pair) -> tuple[str, str]:
    return _KRAKEN.get(pair.base, pair.base), _KRAKEN.get(pair.quote, pair.quote)


def _read_kraken(body: bytes, pair: Pair) -> Ticker | None:
    answer = decode(body, _Kraken)
    if any(error.startswith("EQuery:Unknown asset pair") for error in answer.error):
        return None
    if answer.error:
        raise SourceInvalid(f"it says {answer.error[0][:100]!r}")
    base, quote = _kraken_names(pair)
    # The old four-letter names come back for old pairs: XXBTZEUR for XBTEUR.
    names = {base + quote, f"X{base}Z{quote}", f"X{base}X{quote}"}
    if len(answer.result) != 1 or not names & answer.result.keys():
        raise SourceInvalid(f"it answered about {', '.join(answer.result)[:60]!r}, not {pair}")
    (ticker,) = answer.result.values()
    bid, ask = first(ticker.b), first(ticker.a)
    return Ticker(bid, ask, middle(bid, ask), None)


# ---------------------------------------------------------------- Coinbase Exchange
# https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-ticker: the time is that of the
# last trade, so a market in which nobody trades counts as stale.


class _Coinbase(Struct):
    bid: Raw
    ask: Raw
    time: datetime


def _read_coinbase(body: bytes, _pair: Pair) -> Ticker:
    answer = decode(body, _Coinbase)
    bid, ask = number(answer.bid), number(answer.ask)
    return Ticker(bid, ask, middle(bid, ask), utc(answer.time))


# ---------------------------------------------------------------- Bitstamp
# https://www.bitstamp.net/api/#tag/Tickers


class _Bitstamp(Struct):
    bid: Raw
    ask: Raw
    time: Raw = field(name="timestamp")


def _read_bitstamp(body: bytes, _pair: Pair) -> Ticker:
    answer = decode(body, _Bitstamp)
    bid, ask = number(answer.bid), number(answer.ask)
    return Ticker(bid, ask, middle(bid, ask), moment(answer.time))


# ---------------------------------------------------------------- Binance
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints: closeTime is in ms.


class _Binance(Struct):
    symbol: str
    bidPrice: Raw  # noqa: N815  the names are theirs
    askPrice: Raw  # noqa: N815
    closeTime: Raw  # noqa: N815


def _read_binance(body: bytes, pair: Pair) -> Ticker:
    answer = decode(body, _Binance)
    if answer.symbol != pair.base + pair.quote:
        raise SourceInvalid(f"it answered about {answer.symbol[:60]!r}, not {pair}")
    bid, ask = number(answer.bidPrice), number(answer.askPrice)
    return Ticker(bid, ask, middle(bid, ask), moment(answer.closeTime, per_second=1000))


# ---------------------------------------------------------------- Bitfinex
# https://docs.bitfinex.com/reference/rest-public-tickers: rows [symbol, bid, its size, ask, …]; tells no time.

_BITFINEX = {"USDC": "UDC", "USDT": "UST"}


def _bitfinex_name(pair: Pair) -> str:
    base, quote = (_BITFINEX.get(code, code) for code in (pair.base, pair.quote))
    return f"t{base}{':' if len(base) > 3 or len(quote) > 3 else ''}{quote}"


def _read_bitfinex(body: bytes, pair: Pair) -> Ticker | None:
    rows = decode(body, list[list[Raw]])
    if not rows:
        return None
    (row, *more) = rows
    if more or len(row) < 4 or bytes(row[0]) != f'"{_bitfinex_name(pair)}"'.encode():
        raise SourceInvalid(f"it did not answer about {pair}")
    bid, ask = number(row[1]), number(row[3])
    return Ticker(bid, ask, middle(bid, ask), None)


# ---------------------------------------------------------------- CoinGecko
# https://docs.coingecko.com/reference/simple-price: an aggregator of exchanges. Without a key it allows a few calls a
# minute, so one answer holds everything that could be wanted.

_COINGECKO = {
    "BTC": "bitcoin", "LTC": "litecoin", "ETH": "ethereum", "USDC": "usd-coin", "USDT": "tether", "DAI": "dai",
    "DOGE": "dogecoin", "BCH": "bitcoin-cash", "XMR": "monero", "SOL": "solana", "XRP": "ripple", "POL":
    "polygon-ecosystem-token", "BNB": "binancecoin", "AVAX": "avalanche-2", "EURC": "euro-coin",
}  # fmt: skip
_COINGECKO_QUOTES = (
    "USD EUR GBP CHF JPY AUD CAD CNY CZK DKK HUF INR KRW MXN NOK NZD PLN SEK SGD TRY ZAR BRL AED BTC ETH".split()
)


def _coingecko_path(pair: Pair) -> str | None:
    if pair.base not in _COINGECKO or pair.quote not in _COINGECKO_QUOTES:
        return None
    ids, codes = ",".join(sorted(_COINGECKO.values())), ",".join(_COINGECKO_QUOTES).lower()
    options = "include_last_updated_at=true&precision=full"
    return f"/api/v3/simple/price?ids={ids}&vs_currencies={codes}&{options}"


def _read_coingecko(body: bytes, pair: Pair) -> Ticker | None:
    coins = decode(body, dict[str, dict[str, Raw]])
    coin = coins.get(_COINGECKO[pair.base])
    if coin is None:
        if not coins.keys() <= set(_COINGECKO.values()):
            raise SourceInvalid("the answer has not the known shape: it names no coin that was asked for")
        return None
    if (raw := coin.get(pair.quote.lower())) is None:
        return None
    if "last_updated_at" not in coin:
        raise SourceInvalid("the answer has not the known shape: it tells no time")
    return Ticker(None, None, number(raw), moment(coin["last_updated_at"]))


# ---------------------------------------------------------------- European Central Bank
# https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates: one file a working day.
# Its markup is read by pattern: two kinds of line, no entities, nothing that a parser could be led astray by.

_DAY = re.compile(rb"<Cube\s+time=['\"](\d{4}-\d\d-\d\d)['\"]\s*>")
_LINE = re.compile(rb"<Cube\s+currency=['\"]([A-Z]{3})['\"]\s+rate=['\"]([^'\"]{1,40})['\"]\s*/>")


def _read_ecb(body: bytes, pair: Pair) -> Ticker | None:
    day, lines = _DAY.search(body), dict(_LINE.findall(body))
    if day is None or not lines:
        raise SourceInvalid("the answer has not the known shape: it names no day or no rates")
    raw = lines.get(pair.quote.encode())
    if raw is None:
        return None
    try:
        # Rates are those of the central banks' talk at 14:10 in Frankfurt: noon in UTC is not younger.
        at = datetime.fromisoformat(day[1].decode() + "T12:00:00+00:00")
    except ValueError:
        raise SourceInvalid(f"{day[1]!r} is not a day") from None
    return Ticker(None, None, number(raw), utc(at))


def _reference_path(pair: Pair) -> str | None:
    known = pair.base == ANCHOR and is_fiat(pair.quote)
    return "/stats/eurofxref/eurofxref-daily.xml" if known else None


def _traded(path: Callable[[Pair], str]) -> Callable[[Pair], str | None]:
    # Exchanges quote some fiat pairs too; those are left to the reference.
    return lambda pair: None if is_fiat(pair.base) else path(pair)


class _BinanceError(Struct):
    code: int


def _binance_absent(status: int, body: bytes) -> bool:
    try:
        return status == 400 and msgspec.json.decode(body, type=_BinanceError).code == -1121
    except msgspec.DecodeError:
        return False


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            "kraken",
            "https://api.kraken.com",
            _traded(lambda pair: f"/0/public/Ticker?pair={''.join(_kraken_names(pair))}"),
            _read_kraken,
        ),
        Source(
            "coinbase",
            "https://api.exchange.coinbase.com",
            _traded(lambda pair: f"/products/{pair.base}-{pair.quote}/ticker"),
            _read_coinbase,
            lambda status, _body: status == 404,
        ),
        Source(
            "bitstamp",
            "https://www.bitstamp.net",
            _traded(lambda pair: f"/api/v2/ticker/{pair.base}{pair.quote}/".lower()),
            _read_bitstamp,
            lambda status, _body: status == 404,
        ),
        Source(
            "binance",
            "https://api.binance.com",
            _traded(lambda pair: f"/api/v3/ticker/24hr?symbol={pair.base}{pair.quote}"),
            _read_binance,
            _binance_absent,
        ),
        Source(
            "bitfinex",
            "https://api-pub.bitfinex.com",
            _traded(lambda pair: f"/v2/tickers?symbols={_bitfinex_name(pair)}"),
            _read_bitfinex,
        ),
        Source("coingecko", "https://api.coingecko.com", _coingecko_path, _read_coingecko, least_seconds=60),
        Source(REFERENCE, "https://www.ecb.europa.eu", _reference_path, _read_ecb, least_seconds=3_600),
    )
}
