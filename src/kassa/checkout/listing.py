"""Which payments of an invoice its payer's page lists, and what is said of the others. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from kassa.core.money import format_units
from kassa.payments.foremost import foremost

Json = Mapping[str, Any]

LIVING = ("detected", "confirming", "settled")
MOST = 10
"""Payments on a page: more than anybody makes, fewer than would hide what the page is for."""


def listed(payments: Sequence[Json], most: int = MOST) -> list[Json]:
    """Return so many of an invoice's payments at most, by the rule by which its resource leaves some off."""
    told = [(payment["status"] in LIVING, _units(payment["value"])) for payment in payments]
    return [payments[place] for place in foremost(told, most)]


def rest(invoice: Json, shown: Sequence[Json]) -> tuple[int, str]:
    """Return how many payments there are besides those that are shown, and what lives of them, exactly, by asset."""
    count = len(invoice["payments"]) + invoice["payments_left_off"] - len(shown)
    known = [*invoice["spends"], *(payment for payment in shown if payment["status"] in LIVING)]
    sums = []
    for option in invoice["payment_options"]:
        told = sum(_units(each["amount"]) for each in known if each["asset"] == option["asset"])
        if units := _units(option["amount_paid"]) - told:
            sums.append(f"{trimmed(format_units(units, option['decimals']))} {option['symbol']}")
    return count, " + ".join(sums)


def trimmed(amount: str) -> str:
    """Return an amount of an asset without the zeros at its end: what a payer types is what a payer reads."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _units(amount: str) -> int:
    # All amounts of an asset have the same decimals.
    return int(amount.replace(".", ""))
