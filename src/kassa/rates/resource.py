"""The public form of rates and quotes, and the record of how a rate came about that is kept with what it priced."""

from fractions import Fraction
from typing import Any

import msgspec

from kassa.core.clock import rfc3339
from kassa.core.money import format_rate
from kassa.rates.model import Leg, Pair, Quote, Rate
from kassa.rates.store import Kept


def rate_resource(pair: Pair, rate: Rate) -> dict[str, Any]:  # JSON
    """Return a rate with everything that went into it."""
    return {
        "object": "rate",
        "base": pair.base,
        "quote": pair.quote,
        "rate": format_rate(rate.value),
        "bid": _side(rate.bid),
        "ask": _side(rate.ask),
        "source": rate.source,
        "at": rfc3339(rate.at),
        "pivot": rate.pivot,
        "inputs": _inputs(rate),
    }


def quote_resource(kept: Kept) -> dict[str, Any]:  # JSON
    """Return a quote of the history."""
    return {"object": "quote", "id": str(kept.id)} | _quote(kept.quote)


def method_text(rate: Rate) -> str:
    """Write how a rate came about, as JSON: what is kept with an option and with a late payment."""
    method = {
        "method": rate.source,
        "rate": format_rate(rate.value),
        "at": rfc3339(rate.at),
        "pivot": rate.pivot,
        "spread_ppm": rate.spread_ppm,
        "inputs": _inputs(rate),
    }
    return msgspec.json.encode(method).decode()


def _inputs(rate: Rate) -> list[dict[str, Any]]:  # JSON
    return [_input for leg in rate.legs for _input in _leg(leg)]


def _leg(leg: Leg) -> list[dict[str, Any]]:  # JSON
    if leg.how == "fixed":
        fixed = {"base": leg.pair.base, "quote": leg.pair.quote, "source": "fixed", "bid": None, "ask": None}
        return [fixed | {"rate": format_rate(leg.value), "at": None, "fetched_at": None, "dropped": None}]
    used = [_quote(quote) | {"dropped": None} for quote in leg.used]
    return used + [_quote(each.quote) | {"dropped": each.reason.value} for each in leg.dropped]


def _quote(quote: Quote) -> dict[str, Any]:  # JSON
    return {
        "base": quote.pair.base,
        "quote": quote.pair.quote,
        "source": quote.source,
        "bid": _side(quote.bid),
        "ask": _side(quote.ask),
        "rate": format_rate(quote.price),
        "at": rfc3339(quote.at),
        "fetched_at": rfc3339(quote.fetched_at),
    }


def _side(price: Fraction | None) -> str | None:
    return None if price is None else format_rate(price)
