"""Tell the stores of a network what its operator has to decide."""

from datetime import datetime

import kassa.events.store as events
import kassa.wallets.store as wallets
from kassa.core.clock import rfc3339
from kassa.db.pool import Tx
from kassa.events.model import NewEvent


async def alert(tx: Tx, network: str, type_: str, reason: str, now: datetime) -> None:
    """Write an `alert.opened` or `alert.closed` for every store that has a wallet on a network."""
    body = {"object": "alert", "network": network, "reason": reason, "at": rfc3339(now)}
    await events.write(tx, [NewEvent(store, type_, body) for store in await wallets.stores_on(tx, network)], now)
