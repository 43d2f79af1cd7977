"""The books as CSV and as lines of JSON. Pure."""

import json
from collections.abc import Iterator, Mapping

from kassa.core.clock import rfc3339
from kassa.core.money import Currency, format_units
from kassa.ledger.export_store import Exported
from kassa.ledger.resource import entry_name, entry_resource

COLUMNS = (
    "entry_id", "booked_at", "reason", "account", "asset", "amount", "value", "currency", "rate", "payment_id",
    "spend_id", "customer_id", "invoice_id", "decision_id", "txid", "reference",
    "rate_source", "rate_at",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")  # noqa: RUF001  # the full-width ones, too


def csv_heading() -> str:
    """Return the first line of a CSV file."""
    return ",".join(COLUMNS) + "\r\n"


def csv_lines(exported: Exported, decimals: Mapping[str, int], currency: Currency) -> Iterator[str]:
    """Write an entry as CSV (RFC 4180), one line for each posting.

    Numbers are written bare. A text that a spreadsheet might take for a formula gets an apostrophe before it; so does
    one that begins with an apostrophe, so that taking one away always gives the text back.
    """
    entry = exported.entry
    at = None if exported.rate.at is None else rfc3339(exported.rate.at)
    for line in entry.lines:
        value = None if line.rate is None else format_units(line.amount.value, currency.decimals)
        cells = [
            cell(entry_name(entry.number)), cell(rfc3339(entry.booked_at)), cell(entry.reason), cell(line.account),
            cell(line.asset), format_units(line.amount.units, decimals[line.asset]), value or "",
            cell(currency.code), cell(line.rate), cell(entry.payment_id), cell(entry.spend_id), cell(entry.customer_id),
            cell(entry.invoice_id), "" if entry.decision_id is None else str(entry.decision_id), cell(exported.txid),
            cell(exported.reference), cell(exported.rate.source), cell(at),
        ]  # fmt: skip
        yield ",".join(cells) + "\r\n"


def cell(text: str | None) -> str:
    """Write a text as a cell that no spreadsheet computes; None is empty."""
    if not text:
        return ""
    safe = f"'{text}" if text.lstrip(" \u00a0\u3000\ufeff").startswith(_FORMULA) or text[0] in _FORMULA else text
    return '"' + safe.replace('"', '""') + '"'


def json_line(exported: Exported, decimals: Mapping[str, int], currency: Currency) -> str:
    """Write an entry as one line of JSON, as the API shows it, with what others call it and how its rate came about."""
    rate = exported.rate
    shown = entry_resource(exported.entry, decimals, currency) | {
        "txid": exported.txid,
        "reference": exported.reference,
        "rate_source": rate.source,
        "rate_at": None if rate.at is None else rfc3339(rate.at),
        "rate_method": None if rate.method is None else json.loads(rate.method),
    }
    return json.dumps(shown, ensure_ascii=False) + "\n"
