"""How a store's business goes: what settled, where invoices stand, what a person should look at."""

from datetime import datetime, timedelta
from typing import Any

import kassa.invoices.overview_store as invoices
from kassa.core.ids import first_id
from kassa.core.money import currency, format_units
from kassa.db.pool import Tx
from kassa.invoices.model import Flag, Status
from kassa.invoices.policy import percent
from kassa.stores.model import Store

_LOOK_AT = (Flag.UNDERPAID, Flag.OVERPAID, Flag.LATE, Flag.REVERSED)


async def overview(tx: Tx, store: Store, days: int, now: datetime) -> dict[str, Any]:  # JSON
    """Return the figures of the last `days` days (UTC), today included; what waits for a decision, of whatever age."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=days - 1)
    first = first_id("inv", since)
    stand = await invoices.statuses(tx, store.id, first)
    # An invoice that may still be paid says nothing yet about who pays.
    ended = sum(stand.get(status, 0) for status in (Status.PROCESSING, Status.SETTLED, Status.EXPIRED))
    paid = stand.get(Status.PROCESSING, 0) + stand.get(Status.SETTLED, 0)
    flags = await invoices.waiting(tx, store.id, _LOOK_AT)
    return {
        "object": "overview",
        "since": since.date().isoformat(),
        "until": midnight.date().isoformat(),
        "currency": store.currency,
        "invoices": {status.value: stand.get(status, 0) for status in Status},
        "conversion_percent": percent(paid * 1000 // ended * 1000) if ended else None,
        "volume": [
            {
                "day": each.day.isoformat(),
                "currency": each.currency,
                "invoices": each.invoices,
                "amount": format_units(each.units, currency(each.currency).decimals),
            }
            for each in await invoices.volume(tx, store.id, since)
        ],
        "flagged": {flag.value: flags[flag] for flag in _LOOK_AT},
        "failed_deliveries": await invoices.failed_deliveries(tx, store.id, since),
    }
