"""Sums that are kept, so that pages need not read all there ever was. What they are derived from decides."""

from datetime import datetime

import kassa.ledger.sums_store as sums
import kassa.links.store as links
import kassa.wallets.gap_store as gaps
from kassa.db.pool import Tx

KEYCHAINS = 10
"""So many are looked through in one transaction."""


async def keep_sums(tx: Tx, now: datetime) -> bool:
    """Add up what came since the last time; tell whether there is more to do."""
    await sums.keep(tx)  # first: whoever else adds up waits here
    await links.fold(tx)
    return await gaps.keep(tx, now, KEYCHAINS) == KEYCHAINS
