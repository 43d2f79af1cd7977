"""What the gauges of rates say of quotes."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from kassa.metrics.stand import _rates
from kassa.rates.model import Pair, Quote

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIR = Pair("BTC", "EUR")


def quote(source: str, price: int, age: int) -> Quote:
    at = NOW - timedelta(seconds=age)
    return Quote(PAIR, source, None, None, Fraction(price), at, at)


def test_a_source_that_fell_silent_counts_in_no_spread() -> None:
    quotes = {PAIR: (quote("a", 60_000, 10), quote("b", 60_600, 20), quote("c", 30_000, 10**6))}
    shown = {family.name: [sample.value for sample in family.samples] for family in _rates(quotes, NOW, 300)}
    assert shown == {"kassa_rate_age_seconds": [10], "kassa_rate_sources": [2], "kassa_rate_spread_ratio": [0.01]}
