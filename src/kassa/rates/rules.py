"""Which rate applies to a pair."""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction

from kassa.rates.model import Rate


def find(symbol: str, currency: str, fixed: Mapping[str, Fraction], now: datetime) -> Rate | None:
    """Return the rate of a symbol in a currency, or None where nobody has said one.

    The same code on both sides needs no rate. A fixed pair ("BTC/EUR") holds at every moment: it is as fresh as `now`.
    """
    if symbol == currency:
        return Rate(Fraction(1), "same", now)
    value = fixed.get(f"{symbol}/{currency}")
    return None if value is None else Rate(value, "fixed", now)
