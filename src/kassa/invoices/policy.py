"""What a merchant decided beforehand about short, excess and late payments: a store's default, an invoice's term. Pure.

Written outside as percent and amounts ("0.5", "0.10"), kept as parts per million and units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import Currency, format_units, parse_amount

MAX_GRACE_SECONDS = 604_800
_PPM = 1_000_000
_PERCENT_DECIMALS = 4
# What each share may be at most, in parts per million.
_MOST = {"tolerance_percent": 500_000, "short_limit_percent": 999_999, "late_rate_percent": 1_000_000}


class Short(StrEnum):
    """What becomes of a payment that is still short when the time is over."""

    FLAG = "flag"
    ACCEPT = "accept"
    CREDIT = "credit"


class Over(StrEnum):
    """What becomes of the excess over the price."""

    FLAG = "flag"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens without asking anyone. Every bound is inclusive.

    What may be missing is the larger of `tolerance_ppm` of the price and `tolerance_units` of the invoice's currency
    (in a store's default: of the store's). With `short` accept, up to `short_limit_ppm` of the price may be missing
    once the time is over. A late payment is accepted that was first seen up to `late_grace_seconds` after the end, if
    its rate had moved by at most `late_rate_ppm`.
    """

    tolerance_ppm: int = 0
    tolerance_units: int = 0
    short: Short = Short.FLAG
    short_limit_ppm: int = 0
    over: Over = Over.FLAG
    late_grace_seconds: int = 0
    late_rate_ppm: int = 10_000

    @property
    def short_limit(self) -> Fraction:
        return Fraction(self.short_limit_ppm, _PPM)

    @property
    def late_rate(self) -> Fraction:
        return Fraction(self.late_rate_ppm, _PPM)

    def tolerance(self, price_units: int) -> Fraction:
        """Return the share of a price that may be missing: never all of it, one unit is always asked for."""
        wanted = max(Fraction(self.tolerance_ppm, _PPM), Fraction(self.tolerance_units, price_units))
        return min(wanted, 1 - Fraction(1, price_units))


NOTHING = Policy()
"""Nothing is tolerated, everything is flagged."""


def changed(base: Policy, given: Mapping[str, Any], currency: Currency, *, field: str = "policy") -> Policy:
    """Return a policy with some of its public fields replaced; raises `Invalid` naming each that is wrong."""
    values: dict[str, Any] = {}
    faults: list[FieldFault] = []
    for name, value in given.items():
        try:
            values |= _read(name, value, currency, f"{field}.{name}")
        except Invalid as invalid:
            faults += invalid.faults
    if faults:
        raise Invalid(*faults)
    return replace(base, **values) if values else base


def agreed(
    default: Policy, given: Mapping[str, Any], currency: Currency, *, default_currency: str, for_customer: bool
) -> Policy:
    """Return the policy of an invoice: its store's, with what the order says instead.

    A store's amount says nothing about another currency. Without a customer nobody can be credited: then a store's
    default falls back to a flag, and an order that says so itself is refused (`Invalid`).
    """
    base = default if currency.code == default_currency else replace(default, tolerance_units=0)
    if not for_customer and (base.short is Short.CREDIT or base.over is not Over.FLAG):
        short = Short.FLAG if base.short is Short.CREDIT else base.short
        base = replace(base, short=short, over=Over.FLAG)
    policy = changed(base, given, currency)
    wrong = [name for name in ("short", "over") if getattr(policy, name) == "credit" and not for_customer]
    if wrong:
        raise Invalid(*(FieldFault(f"policy.{name}", "credit needs an invoice with a customer_id") for name in wrong))
    return policy


def policy_resource(policy: Policy, currency: Currency) -> dict[str, Any]:  # JSON
    """Return a policy as JSON-ready values."""
    return {
        "tolerance_percent": percent(policy.tolerance_ppm),
        "tolerance_amount": format_units(policy.tolerance_units, currency.decimals),
        "short": policy.short.value,
        "short_limit_percent": percent(policy.short_limit_ppm),
        "over": policy.over.value,
        "late_grace_seconds": policy.late_grace_seconds,
        "late_rate_percent": percent(policy.late_rate_ppm),
    }


def percent(ppm: int) -> str:
    """Write parts per million as percent, with no more decimals than needed."""
    return format_units(ppm, _PERCENT_DECIMALS).rstrip("0").rstrip(".")


def read_percent(text: str, most: int, field: str) -> int:
    """Read a share in percent, such as "0.5", into parts per million, at most so many; raises `Invalid`."""
    ppm = parse_amount(text, _PERCENT_DECIMALS, field=field)
    if ppm > most:
        raise Invalid(FieldFault(field, f'is a share in percent, such as "0.5", of at most {percent(most)}'))
    return ppm


def read_row(row: Mapping[str, Any]) -> Policy:
    """Read the columns of a policy from a row of `stores` or `invoices`."""
    return Policy(
        tolerance_ppm=row["tolerance_ppm"],
        tolerance_units=int(row["tolerance_units"]),
        short=Short(row["on_short"]),
        short_limit_ppm=row["short_limit_ppm"],
        over=Over(row["on_over"]),
        late_grace_seconds=row["late_grace_seconds"],
        late_rate_ppm=row["late_rate_ppm"],
    )


COLUMNS = "tolerance_ppm, tolerance_units, on_short, short_limit_ppm, on_over, late_grace_seconds, late_rate_ppm"


def columns(policy: Policy) -> tuple[Any, ...]:
    """Return a policy's values in the order of `COLUMNS`."""
    return (
        policy.tolerance_ppm,
        policy.tolerance_units,
        policy.short.value,
        policy.short_limit_ppm,
        policy.over.value,
        policy.late_grace_seconds,
        policy.late_rate_ppm,
    )


def named(policy: Policy) -> dict[str, Any]:  # JSON
    """Return a policy's values by column; the amount as text, for it may be of any size."""
    values = dict(zip(COLUMNS.split(", "), columns(policy), strict=True))
    return values | {"tolerance_units": str(policy.tolerance_units)}


def _read(name: str, value: Any, currency: Currency, field: str) -> dict[str, Any]:
    match name:
        case "tolerance_percent" | "short_limit_percent" | "late_rate_percent":
            return {name.replace("percent", "ppm"): read_percent(value, _MOST[name], field)}
        case "tolerance_amount":
            return {"tolerance_units": parse_amount(value, currency.decimals, field=field)}
        case "short":
            return {name: _one_of(Short, value, field)}
        case "over":
            return {name: _one_of(Over, value, field)}
        case "late_grace_seconds":
            if not 0 <= value <= MAX_GRACE_SECONDS:
                raise Invalid(FieldFault(field, f"must be 0 to {MAX_GRACE_SECONDS} seconds"))
            return {name: value}
    raise Invalid(FieldFault(field, "is not a known field"))


def _one_of(kind: type[Short] | type[Over], value: str, field: str) -> Short | Over:
    try:
        return kind(value)
    except ValueError:
        raise Invalid(FieldFault(field, f"must be one of {', '.join(kind)}")) from None
