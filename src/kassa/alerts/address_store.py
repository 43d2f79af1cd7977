"""Addresses and terms that were found not to be as they were made, until they are right again: the SQL."""

from collections.abc import Collection, Iterable
from datetime import datetime

from kassa.alerts.seen import Owned, WrongAddresses
from kassa.core.ids import StoreId
from kassa.db.pool import Tx

NAMED = 20
_LOCK = 0x61646472  # "addr": the class of the advisory locks below


async def lock(tx: Tx, stores: Iterable[StoreId]) -> None:
    """Let nobody else count what is wrong of these stores until the transaction ends."""
    for store in sorted(set(stores)):
        await tx.execute("select pg_advisory_xact_lock($1, hashtext($2))", _LOCK, store)


async def keep(tx: Tx, wrong: Collection[Owned], right: Collection[Owned], now: datetime) -> None:
    """Keep what was found wrong, once for as long as it is; and of what was wrong, that it is right. Hold the lock."""
    if wrong:
        await tx.execute(
            """insert into wrong_addresses (store_id, network, owner, found_at)
               select s, n, o, $4 from unnest($1::text[], $2::text[], $3::text[]) as w (s, n, o) order by o, n
               on conflict (owner, network) where over_at is null do nothing""",
            [each.store_id for each in wrong],
            [each.network for each in wrong],
            [each.owner for each in wrong],
            now,
        )
    await tx.execute(
        """update wrong_addresses w set over_at = $3 from unnest($1::text[], $2::text[]) as r (owner, network)
           where w.owner = r.owner and w.network = r.network and w.over_at is null""",
        [each.owner for each in right],
        [each.network for each in right],
        now,
    )


async def open_among(tx: Tx, checked: Collection[Owned]) -> list[Owned]:
    """Return which of these are kept as wrong."""
    rows = await tx.fetch(
        """select w.store_id, w.network, w.owner from wrong_addresses w
           join unnest($1::text[], $2::text[]) as c (owner, network) using (owner, network) where w.over_at is null""",
        [each.owner for each in checked],
        [each.network for each in checked],
    )
    return [Owned(**row) for row in rows]


async def of_ended(tx: Tx) -> list[Owned]:
    """Return what is kept as wrong of invoices that ask nobody any more: they are not looked at again."""
    rows = await tx.fetch(
        """select w.store_id, w.network, w.owner from wrong_addresses w
           join invoices i on i.id = w.owner where w.over_at is null and i.deadline is null"""
    )
    return [Owned(**row) for row in rows]


async def count(tx: Tx, stores: Collection[StoreId]) -> list[WrongAddresses]:
    """Return what is wrong now of these stores, by network, with the newest few."""
    rows = await tx.fetch(
        """select store_id, network, count(*) filter (where over_at is null) as count, count(*) as ever, array(
               select owner from wrong_addresses n
               where n.store_id = w.store_id and n.network = w.network and n.over_at is null order by id desc limit $2
           ) as newest
           from wrong_addresses w where store_id = any($1) group by 1, 2
           having count(*) filter (where over_at is null) > 0 order by 1, 2""",
        list(stores),
        NAMED,
    )
    return [WrongAddresses(**{**row, "newest": tuple(row["newest"])}) for row in rows]
