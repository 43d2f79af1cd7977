"""The books as the API shows them. Debit is positive: what we hold; credit negative: to whom it belongs."""

from collections.abc import Mapping
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.money import Currency, format_units
from kassa.ledger.view import Line, Shown, Stand

_DIGITS = 29


def entry_name(number: int) -> str:
    """Return the public id of an entry: it sorts like its number."""
    return f"ent_{number:0{_DIGITS}d}"


def entry_number(name: str) -> int | None:
    """Return the number in the public id of an entry; None for what is none."""
    digits = name.removeprefix("ent_")
    return int(digits) if len(digits) == _DIGITS and digits.isascii() and digits.isdigit() else None


def balance_resource(stand: Stand, decimals: Mapping[str, int], currency: Currency) -> dict[str, Any]:  # JSON
    """Return what stands on an account in one asset."""
    return {
        "object": "account_balance",
        "account": stand.account,
        "asset": stand.asset,
        "amount": format_units(stand.amount.units, decimals[stand.asset]),
        "value": format_units(stand.amount.value, currency.decimals),
        "currency": currency.code,
    }


def entry_resource(entry: Shown, decimals: Mapping[str, int], currency: Currency) -> dict[str, Any]:  # JSON
    """Return an entry with its postings."""
    return {
        "object": "entry",
        **_about(entry),
        "postings": [_posting(line, decimals[line.asset], currency) for line in entry.lines],
    }


def statement_resource(
    entry: Shown, line: Line, balance: int, decimals: Mapping[str, int], currency: Currency
) -> dict[str, Any]:  # JSON
    """Return one line of a customer's statement: what was added to their credit (or taken), and what it came to."""
    places = decimals[line.asset]
    return {
        "object": "statement_line",
        **_about(entry),
        "asset": line.asset,
        "amount": format_units(-line.amount.units, places),
        "balance": format_units(-balance, places),
        "value": None if line.rate is None else format_units(-line.amount.value, currency.decimals),
        "currency": currency.code,
        "rate": line.rate,
    }


def _about(entry: Shown) -> dict[str, Any]:  # JSON
    return {
        "id": entry_name(entry.number),
        "reason": entry.reason,
        "payment_id": entry.payment_id,
        "spend_id": entry.spend_id,
        "customer_id": entry.customer_id,
        "invoice_id": entry.invoice_id,
        "decision_id": entry.decision_id,
        "booked_at": rfc3339(entry.booked_at),
    }


def _posting(line: Line, places: int, currency: Currency) -> dict[str, Any]:  # JSON
    return {
        "account": line.account,
        "asset": line.asset,
        "amount": format_units(line.amount.units, places),
        "value": None if line.rate is None else format_units(line.amount.value, currency.decimals),
        "currency": currency.code,
        "rate": line.rate,
    }
