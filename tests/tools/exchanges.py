"""A stand-in for the sources of rates: answers in their recorded shapes, and with every fault that a test asks for.

The shapes are those of the public interfaces in 2026; only prices, names and times are filled in.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from kassa.rates.model import Pair

Shape = Callable[[Pair, str, str, datetime], str]

IDS = {"BTC": "bitcoin", "LTC": "litecoin", "USDC": "usd-coin", "ETH": "ethereum"}


def kraken(pair: Pair, bid: str, ask: str, _at: datetime) -> str:
    base = {"BTC": "XBT"}.get(pair.base, pair.base)
    name = f"{base}{pair.quote}" if base == "USDC" else f"X{base}Z{pair.quote}"
    return (
        f'{{"error":[],"result":{{"{name}":{{"a":["{ask}","9","9.000"],"b":["{bid}","1","1.000"],'
        f'"c":["{bid}","0.00015150"],"v":["211.25271021","411.15151866"],"p":["1.69609","1.99965"],'
        f'"t":[12099,24375],"l":["1.90000","1.20000"],"h":["1.90000","1.90000"],"o":"1.90000"}}}}}}'
    )


def coinbase(_pair: Pair, bid: str, ask: str, at: datetime) -> str:
    return (
        f'{{"ask":"{ask}","bid":"{bid}","volume":"1821.87214427","trade_id":1062403639,"price":"{bid}",'
        f'"size":"0.00571275","time":"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}517Z","rfq_volume":"24.795539"}}'
    )


def bitstamp(_pair: Pair, bid: str, ask: str, at: datetime) -> str:
    return (
        f'{{"timestamp": "{int(at.timestamp())}", "open": "60940", "high": "61868", "low": "59959", "last": "{bid}", '
        f'"volume": "1008.29813067", "vwap": "60962", "bid": "{bid}", "ask": "{ask}", "side": "1", "open_24": "60652", '
        '"percent_change_24": "-0.76"}'
    )


def binance(pair: Pair, bid: str, ask: str, at: datetime) -> str:
    return (
        f'{{"symbol":"{pair.base}{pair.quote}","priceChange":"298.64000000","priceChangePercent":"0.466",'
        f'"lastPrice":"{bid}","lastQty":"0.00061000","bidPrice":"{bid}","bidQty":"3.35145000","askPrice":"{ask}",'
        f'"askQty":"0.84347000","openTime":1784984751013,"closeTime":{int(at.timestamp() * 1000)},'
        '"firstId":6533397648,"lastId":6534262346,"count":864699}'
    )


def bitfinex(pair: Pair, bid: str, ask: str, _at: datetime) -> str:
    base = {"USDC": "UDC"}.get(pair.base, pair.base)
    return f'[["t{base}{pair.quote}",{bid},7.73,{ask},11.42,298,0.0047,{bid},436.65,64600,64053]]'


def coingecko(pair: Pair, bid: str, _ask: str, at: datetime) -> str:
    return f'{{"{IDS[pair.base]}":{{"{pair.quote.lower()}":{bid},"last_updated_at":{int(at.timestamp())}}}}}'


def ecb(pair: Pair, bid: str, _ask: str, at: datetime) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"'
        ' xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n\t<gesmes:subject>Reference rates'
        f"</gesmes:subject>\n\t<Cube>\n\t\t<Cube time='{at:%Y-%m-%d}'>\n"
        f"\t\t\t<Cube currency='{pair.quote}' rate='{bid}'/>\n\t\t</Cube>\n\t</Cube>\n</gesmes:Envelope>"
    )


SHAPES: dict[str, Shape] = {
    each.__name__: each for each in (kraken, coinbase, bitstamp, binance, bitfinex, coingecko, ecb)
}
FOLLOWED = "-followed"
"""A redirect leads here, to an answer that is well: who follows it uses it."""
ABSENT = {
    "kraken": (200, '{"error":["EQuery:Unknown asset pair"]}'),
    "coinbase": (404, '{"message":"NotFound"}'),
    "bitstamp": (404, "<html><body>Page not found</body></html>"),
    "binance": (400, '{"code":-1121,"msg":"Invalid symbol."}'),
    "bitfinex": (200, "[]"),
    "coingecko": (200, "{}"),
    "ecb": (404, "gone"),
}


def asked(source: str, path: str) -> Pair:
    """Tell which pair a request is about: by what the source's documentation says, not by what our code says."""
    parts, query = urlsplit(path), parse_qs(urlsplit(path).query)
    quotes = ("EUR", "USD", "CHF", "BTC", "USDC")
    match source:
        case "kraken":
            name = query["pair"][0].replace("XBT", "BTC")
        case "coinbase":
            name = parts.path.split("/")[2].replace("-", "")
        case "bitstamp":
            name = parts.path.strip("/").split("/")[-1].upper()
        case "binance":
            name = query["symbol"][0]
        case "bitfinex":
            name = query["symbols"][0].removeprefix("t").replace(":", "").replace("UDC", "USDC")
        case "coingecko":
            return Pair("BTC", "EUR")
        case _:
            return Pair("EUR", "USD")
    quote = next(code for code in quotes if name.endswith(code) and name != code)
    return Pair(name.removesuffix(quote), quote)


class Exchanges:
    """Every source on one port.

    `prices` are the middle prices, `faults` what is wrong with a source, or with what it says of one pair.
    """

    def __init__(self) -> None:
        self.port = 0
        self.prices: dict[str, str] = {}
        self.faults: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.over = asyncio.Event()

    def urls(self, *sources: str) -> dict[str, str]:
        """Return base URLs for the settings; a source with the fault `tls` is asked by https, which is not spoken."""
        return {
            name: f"http{'s' if self.faults.get(name) == 'tls' else ''}://127.0.0.1:{self.port}/{name}"
            for name in sources or SHAPES
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as a source would, or as its fault would have it."""
        source, _, path = request.raw_path.removeprefix("/").partition("/")
        self.requests.append((source, path))
        followed, source = source.endswith(FOLLOWED), source.removesuffix(FOLLOWED)
        pair = asked(source, "/" + path)
        fault = "" if followed else self.faults.get(f"{source} {pair}", self.faults.get(source, ""))
        price = self.prices.get(f"{source} {pair}", self.prices.get(str(pair)))
        if price is None:
            status, text = ABSENT[source]
            return web.Response(status=status, text=text)
        if fault == "hang":
            await self.over.wait()
        if fault.isdigit():
            headers = {"Retry-After": "7"} if fault == "429" else {}
            return web.Response(status=int(fault), text='{"code":0,"msg":"restricted"}', headers=headers)
        if fault == "redirect":
            return web.Response(status=302, headers={"Location": f"/{source}{FOLLOWED}/{path}"})
        body = self._body(source, pair, Decimal(price), fault)
        return web.Response(body=body, content_type="application/json")

    def _body(self, source: str, pair: Pair, price: Decimal, fault: str) -> bytes:
        # Today's file of reference rates comes in the afternoon.
        at = datetime.now(UTC) - timedelta(days=1 if source == "ecb" else 0)
        if fault in ("stale", "future"):
            far = timedelta(days=8) if source == "ecb" else timedelta(minutes=10)
            at = at - far if fault == "stale" else at + far
        bid = ask = format(price, "f")
        literal = {"zero": "0", "negative": "-1", "nan": "NaN", "infinity": "Infinity", "garbage": "lots"}.get(fault)
        match fault:
            case "inverted":
                bid = ask = format(round(1 / price, 20), "f")
            case "tenfold":
                bid = ask = format(price * 10, "f")
            case "ten million":
                bid = ask = format(price * 10**7, "f")
            case "thousandth":
                bid = ask = format(price / 1000, "f")
            case "crossed":
                bid = format(price * 2, "f")
            case "html":
                return b"<!DOCTYPE html><html><body>Checking your browser</body></html>"
            case "deep":
                return b"[" * 100_000
            case "binary":
                return b"\xff\xfe\x00" * 100
            case "missing":
                return b"{}" if source != "bitfinex" else b"[[]]"
            case "renamed":
                return SHAPES[source](pair, bid, ask, at).replace("b", "x").replace("last_up", "x").encode()
        text = SHAPES[source](pair, literal or bid, literal or ask, at)
        if fault == "huge":
            text += " " * 300_000
        return text[: len(text) // 2].encode() if fault == "truncated" else text.encode()


@asynccontextmanager
async def exchanges() -> AsyncIterator[Exchanges]:
    """Serve the stand-in on a free port of loopback."""
    made = Exchanges()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.over.set()
        await runner.cleanup()
