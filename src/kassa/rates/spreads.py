"""What a store really had of its rates: how far they were below the market when payers paid. Values and rules; pure."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from kassa.core.money import value_units

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Valued:
    """A payment of an invoice as it was valued: by `rate`, which was meant to be `spread_ppm` below the market.

    `at` is the moment whose market is asked for: of first sight, or of settlement.
    """

    payment_id: str
    store_id: str
    invoice_id: str
    asset: str
    decimals: int
    currency: str
    units: int
    rate: Fraction
    spread_ppm: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Measured:
    """What a payment's units were worth by the market of a moment, and how far our rate was below it, in millionths.

    Both None: nobody could say.
    """

    valued: Valued
    value_units: int
    market_units: int | None
    ppm: int | None


@dataclass(frozen=True, slots=True)
class Drift:
    """What a store had of its rates for a pair of late, over payments that the market is known of.

    Shares in millionths, weighted by value: `realised`, and as it was `intended`. `largest` is that of one payment
    (away from what was intended), `invoices` those with the largest, the first first.
    """

    store_id: str
    base: str
    quote: str
    payments: int
    realised: int
    intended: int
    largest: int
    invoices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What a store's payments in an asset came to by its rates and by the market, in units of the currency.

    `seen_value` and `seen_market` are of those that the market at first sight is known of (it is not of `unknown`),
    with `intended_ppm` as the spread that their rates were meant to have; `settled_…` of those that it is known of at
    their settlement.
    """

    asset: str
    currency: str
    payments: int
    unknown: int
    seen_value: int
    seen_market: int
    intended_ppm: int
    settled_value: int
    settled_market: int


def measure(valued: Valued, market: Fraction | None, currency_decimals: int) -> Measured:
    """Compare the rate that a payment was valued by with the market's; None: the market is not known.

    Values are rounded half-even, and so is the share.
    """
    value = value_units(valued.units, valued.decimals, valued.rate, currency_decimals)
    if market is None:
        return Measured(valued, value, None, None)
    worth = value_units(valued.units, valued.decimals, market, currency_decimals)
    return Measured(valued, value, worth, round((1 - valued.rate / market) * PPM))


def share(value: int, market: int) -> Fraction | None:
    """Return by which share a value is below what the market made of the same units; None: that is nothing."""
    return 1 - Fraction(value, market) if market else None
