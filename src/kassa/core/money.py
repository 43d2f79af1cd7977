"""Money: a whole number of smallest units beside the name of what it counts. No float, no binary fraction.

An `Asset` lives on a network ("BTC@bitcoin", 8 decimals); a `Currency` is what a merchant prices in ("EUR", 2
decimals). Shares and rates are `Fraction`, so nothing is rounded before the edge. Every rounding below says which way
and for whom.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from kassa.core.errors import FieldFault, Invalid

MAX_DIGITS = 60  # of a written amount; 2**256 has 78, but no invoice is priced there
MAX_UNITS = 10**78 - 1  # numeric(78,0)
TYPED_DECIMALS = 8
"""Exchanges and many wallets take no more decimals of an amount, whatever the asset has."""

# Decimals that differ from two, from ISO 4217; then what is priced like a currency without being in it.
_DECIMALS = (
    dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0)
    | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)
    | dict.fromkeys("CLF UYW".split(), 4)
    | dict.fromkeys(
        """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP
        CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
        JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
        NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
        SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG""".split(),
        2,
    )
    | {"XAU": 6, "XAG": 6, "BTC": 8, "LTC": 8, "ETH": 18, "USDC": 6, "USDT": 6}
)
_AMOUNT = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Currency:
    """What a merchant prices in: a code and its decimals."""

    code: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Asset:
    """What moves on a network. `id` is `SYMBOL@network`, the only identity an asset has.

    `least_units` is the least that its network carries in one payment, where that is known.
    """

    symbol: str
    network: str
    decimals: int
    least_units: int = field(default=1, compare=False)

    @property
    def id(self) -> str:
        return f"{self.symbol}@{self.network}"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the settings name it. By its symbol alone it is the one that its network is known for."""

    symbol: str
    contract: str | None = None
    decimals: int | None = None


def currency(code: str) -> Currency:
    """Return the currency of a code such as "EUR"; raise `Invalid` for one that is not known."""
    decimals = _DECIMALS.get(code)
    if decimals is None:
        raise Invalid(FieldFault("currency", f"{code[:12]!r} is not a known currency code such as EUR or BTC"))
    return Currency(code, decimals)


def parse_amount(text: str, decimals: int, *, field: str = "amount") -> int:
    """Read a decimal string such as "49.90" into smallest units.

    The grammar is strict: ASCII digits, at most one point, no sign, exponent, blank or leading zero. Digits beyond
    `decimals` are refused rather than rounded. Raises `Invalid` naming `field`.
    """
    match = _AMOUNT.match(text) if len(text) <= MAX_DIGITS else None
    if match is None:
        raise Invalid(FieldFault(field, f'must be a decimal string such as "49.90" of at most {MAX_DIGITS} characters'))
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise Invalid(FieldFault(field, f"has {len(fraction)} decimals where {decimals} are possible"))
    return int(whole + fraction.ljust(decimals, "0"))


def format_units(units: int, decimals: int) -> str:
    """Write smallest units as a decimal string with exactly `decimals` decimals; exact for any size."""
    sign, digits = ("-", str(-units)) if units < 0 else ("", str(units))
    if decimals == 0:
        return sign + digits
    digits = digits.rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def typed_step(decimals: int) -> int:
    """Return the smallest units of an asset in the least amount that can be typed everywhere; 1 where it has so few."""
    return int(10 ** max(0, decimals - TYPED_DECIMALS))


def parse_rate(text: str) -> Fraction:
    """Read a positive decimal string into an exact rate; raise `ValueError` for anything else, including zero."""
    match = _AMOUNT.match(text) if len(text) <= MAX_DIGITS else None
    if match is None or (rate := Fraction(text)) == 0:
        raise ValueError(f"{text[:40]!r} is not a positive decimal number")
    return rate


def format_rate(rate: Fraction, decimals: int = 2) -> str:
    """Write a rate with `decimals` decimals, or as many more as it exactly has; 18 at most (rounded half-even)."""
    units, rest = divmod(rate.numerator * 10**18, rate.denominator)
    if 2 * rest > rate.denominator or (2 * rest == rate.denominator and units % 2):
        units += 1
    whole, fraction = format_units(units, 18).split(".")
    kept = fraction.rstrip("0").ljust(decimals, "0")
    return f"{whole}.{kept}" if kept else whole


def due_units(price_units: int, price_decimals: int, rate: Fraction, decimals: int) -> int:
    """Return the asset units that are worth a price, at `rate` whole currency units per whole asset unit.

    Rounded UP, in the merchant's favour: the payer never sends less than the price.
    """
    # In whole numbers: the fraction in between need not be reduced.
    due: int = -(-price_units * 10**decimals * rate.denominator // (10**price_decimals * rate.numerator))
    return due


def value_units(asset_units: int, decimals: int, rate: Fraction, price_decimals: int) -> int:
    """Return what asset units are worth in smallest currency units; rounded half-even, in nobody's favour."""
    return round(Fraction(asset_units * 10**price_decimals, 10**decimals) * rate)
