"""Look up, after the fact, what the market said when payments were seen and settled: what a store had of its rates."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import kassa.rates.spread_store as spreads
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.flow.pricing import markets_at
from kassa.house import House
from kassa.rates.model import Rate
from kassa.rates.spreads import Measured, Valued, measure

AT_ONCE = 500
_SEEN_WITHIN = timedelta(days=1)
"""A follower that was away hands in payments of hours ago: each look goes over the last day's."""
_SETTLED_WITHIN = timedelta(days=7)


async def measure_spreads(tx: Tx, house: House, now: datetime) -> None:
    """Measure the payments that were not yet, up to `AT_ONCE` of each kind, each by one question of the market.

    Doing it again changes nothing.
    """
    await spreads.put_seen(tx, await _measured(tx, house, await spreads.unseen(tx, now - _SEEN_WITHIN, AT_ONCE)))
    settled = await spreads.unsettled(tx, now - _SETTLED_WITHIN, AT_ONCE)
    await spreads.put_settled(tx, await _measured(tx, house, settled))


async def _measured(tx: Tx, house: House, payments: Sequence[Valued]) -> list[Measured]:
    asked = [((each.asset.partition("@")[0], each.currency), each.at) for each in payments]
    rates = await markets_at(tx, house.settings, asked)
    found = []
    for each, about in zip(payments, asked, strict=True):
        rate = rates[about]
        market = rate.value if isinstance(rate, Rate) else None
        found.append(measure(each, market, currency(each.currency).decimals))
    return found
