"""Look up, after the fact, what the market said when payments were seen and settled: what a store had of its rates."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import kassa.rates.spread_store as spreads
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.flow.pricing import market_at
from kassa.house import House
from kassa.rates.model import Rate
from kassa.rates.spreads import Measured, Valued, measure

AT_ONCE = 500
_SEEN_WITHIN = timedelta(days=1)
"""A follower that was away hands in payments of hours ago: each look goes over the last day's."""
_SETTLED_WITHIN = timedelta(days=7)


async def measure_spreads(tx: Tx, house: House, now: datetime) -> None:
    """Measure the payments that were not yet, up to `AT_ONCE` of each kind. Doing it again changes nothing."""
    await spreads.put_seen(tx, await _measured(tx, house, await spreads.unseen(tx, now - _SEEN_WITHIN, AT_ONCE)))
    settled = await spreads.unsettled(tx, now - _SETTLED_WITHIN, AT_ONCE)
    await spreads.put_settled(tx, await _measured(tx, house, settled))


async def _measured(tx: Tx, house: House, payments: Sequence[Valued]) -> list[Measured]:
    moments: dict[datetime, list[Valued]] = {}
    for each in payments:
        moments.setdefault(each.at, []).append(each)
    found = []
    for moment, together in moments.items():
        pairs = {each: (each.asset.partition("@")[0], each.currency) for each in together}
        rates = await market_at(tx, house.settings, set(pairs.values()), moment)
        for each, pair in pairs.items():
            rate = rates[pair]
            market = rate.value if isinstance(rate, Rate) else None
            found.append(measure(each, market, currency(each.currency).decimals))
    return found
