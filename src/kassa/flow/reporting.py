"""A store's reports, as the API and the command line show them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import kassa.ledger.report_store as reports
import kassa.rates.spread_store as spreads
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import Currency, currency, format_units
from kassa.db.pool import Tx
from kassa.flow.days import day_of, time_of
from kassa.house import House
from kassa.ledger.model import Amount
from kassa.payments.asset_store import decimals
from kassa.rates.spreads import PPM, Line, share
from kassa.stores.model import Store

NAMES = ("sales", "outstanding", "liabilities", "receivables", "costs", "spread")
MOST_DAYS = 366
_DEFAULT_DAYS = 31
_EVER = timedelta(days=36_500)


async def report(
    tx: Tx,
    house: House,
    store: Store,
    name: str,
    days: tuple[str | None, str | None],
    now: datetime,
    *,
    invoice: str | None = None,
) -> list[dict[str, Any]]:  # JSON
    """Return the lines of a report; those of `sales`, `costs` and `spread` are of some days. Raises `Invalid`.

    `invoice` narrows `spread` to one invoice, whenever it was paid.

    Days are in UTC, the last one included; without them, the last 31.
    """
    places, kept = await decimals(tx), currency(store.currency)
    match name:
        case "sales":
            found = await reports.sales(tx, store.id, *_time(days, now))
            return [
                {"object": "sales", "day": s.day.isoformat(), "asset": s.asset, "status": s.status}
                | {"invoices": s.invoices, **_amounts(s.asset, s.amount, 1, places, kept)}
                for s in found
            ]
        case "outstanding":
            return [_outstanding(each) for each in await reports.outstanding(tx, store.id)]
        case "liabilities":
            return [
                {"object": "liability", "asset": held.asset, "customers": held.customers}
                | _amounts(held.asset, held.amount, -1, places, kept)
                for held in await reports.liabilities(tx, store.id)
            ]
        case "receivables":
            return [
                {"object": "receivable", "asset": held.asset, "customers": held.customers}
                | _amounts(held.asset, held.amount, 1, places, kept)
                for held in await reports.receivables(tx, store.id)
            ]
        case "costs":
            return [
                {"object": "cost", "account": held.account, "asset": held.asset}
                | _amounts(held.asset, held.amount, 1, places, kept)
                for held in await reports.costs(tx, store.id, *_time(days, now))
            ]
        case "spread":
            time = (now - _EVER, now) if invoice is not None and days == (None, None) else _time(days, now)
            return [_spread(each) for each in await spreads.lines(tx, store.id, *time, invoice)]
    raise Invalid(FieldFault("report", f"{name[:20]!r} is not one of {', '.join(NAMES)}"))


def _outstanding(each: reports.Outstanding) -> dict[str, Any]:  # JSON
    places = currency(each.currency).decimals
    return {
        "object": "outstanding",
        "status": each.status,
        "currency": each.currency,
        "invoices": each.invoices,
        "amount": format_units(each.price_units, places),
        "amount_paid": format_units(each.paid_units, places),
    }


def _spread(each: Line) -> dict[str, Any]:  # JSON
    places = currency(each.currency).decimals
    return {
        "object": "spread",
        "asset": each.asset,
        "currency": each.currency,
        "payments": each.payments,
        "unknown": each.unknown,
        "value": format_units(each.seen_value, places),
        "market_value": format_units(each.seen_market, places),
        "spread_percent": _percent(share(each.seen_value, each.seen_market)),
        "intended_percent": format_units(each.intended_ppm, 4),
        "settled_value": format_units(each.settled_value, places),
        "settled_market_value": format_units(each.settled_market, places),
        "settled_spread_percent": _percent(share(each.settled_value, each.settled_market)),
    }


def _percent(part: Fraction | None) -> str | None:
    return None if part is None else format_units(round(part * PPM), 4)


def _amounts(asset: str, amount: Amount, sign: int, places: Mapping[str, int], kept: Currency) -> dict[str, Any]:
    return {
        "amount": format_units(sign * amount.units, places[asset]),
        "value": format_units(sign * amount.value, kept.decimals),
        "currency": kept.code,
    }


def _time(days: tuple[str | None, str | None], now: datetime) -> tuple[datetime, datetime]:
    last = day_of("to", days[1]) if days[1] is not None else now.date()
    first = day_of("from", days[0]) if days[0] is not None else last - timedelta(days=_DEFAULT_DAYS - 1)
    if last - first >= timedelta(days=MOST_DAYS):
        raise Invalid(FieldFault("to", f"must be at most {MOST_DAYS - 1} days after from"))
    return time_of(first, last)
