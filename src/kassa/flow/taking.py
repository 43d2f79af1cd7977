"""Take addresses within the quota of a store, and the bound of those in a row that nobody paid."""

from collections.abc import Collection, Sequence
from datetime import datetime

import kassa.wallets.run_store as runs
from kassa.core.errors import Throttled
from kassa.house import House
from kassa.limits.model import Kind
from kassa.stores.model import Store
from kassa.wallets.model import Taker, Wallet


def count_issued(house: House, store: Store, now: datetime, *, again: bool = False) -> None:
    """Count addresses that a store takes; with `again` they were counted before. Raises `Throttled` beyond its quota.

    Test stores have none unless the settings say so: nobody looks for their coins.
    """
    if store.livemode or house.settings.limits.addresses_per_store is not None:
        house.limits.check(Kind.ISSUED, store.id, now, count=not again)


async def take(
    house: House,
    wallets: Collection[Wallet],
    by: Taker,
    *,
    livemode: bool,
    counted: bool = False,
    whole: bool = False,
) -> frozenset[int]:
    """Return the keychains of which one more address may be taken, which is counted.

    Raises `Throttled` when none may, or (`whole`) not of each.
    Nothing is asked but before a refusal: a payment of a moment ago may have made room.
    """
    try:
        return house.unpaid.take(wallets, by, livemode=livemode, counted=counted, whole=whole)
    except Throttled:
        keychains = house.unpaid.to_read_again(wallets)
        if not keychains:
            raise
        await recount(house, keychains)
        return house.unpaid.take(wallets, by, livemode=livemode, counted=counted, whole=whole)


async def recount(house: House, keychains: Sequence[tuple[int, int]]) -> None:
    """Read anew how far keychains are, each with how far back to look."""
    counted = house.unpaid.counted(keychain for keychain, _ in keychains)
    for known in await house.database.run(lambda tx: runs.unpaid_of(tx, keychains)):
        house.unpaid.know(known, counted[known.keychain_id])
