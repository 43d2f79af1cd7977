"""What stands on a store's accounts, from sums that are kept and the entries since: the customers' as one account."""

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.model import Amount
from kassa.ledger.store import FOLDED
from kassa.ledger.until_store import advance
from kassa.ledger.view import Stand

_FIRST_SECONDS = 3_600
_SINCE = f"""
select {FOLDED} as account, p.asset, p.units, p.value_units from entries e join postings p on p.entry_id = e.id
where e.store_id = $1 and e.id > $3
"""  # noqa: S608  # constants of this file
_STANDS = f"""
select u.entry as since, s.* from book_sums_until u left join (
    select account, asset, sum(units) as units, sum(value_units) as value from (
        select account, asset, units, value_units from book_sums where store_id = $1 union all {_SINCE}
    ) each where $2::text is null or account = $2
    group by 1, 2 having sum(units) <> 0 or sum(value_units) <> 0
) s on true order by s.account, s.asset
"""  # noqa: S608  # constants of this file
_ADDING = f"""
insert into book_sums as s (store_id, account, asset, units, value_units)
select e.store_id, {FOLDED}, p.asset, sum(p.units), sum(p.value_units)
from entries e join postings p on p.entry_id = e.id
where e.id > $1 and e.id <= $2 and e.store_id is not null group by 1, 2, 3 order by 1, 2, 3
on conflict (store_id, account, asset) do update
set units = s.units + excluded.units, value_units = s.value_units + excluded.value_units
"""  # noqa: S608  # constants of this file


async def stands(tx: Tx, store_id: StoreId, account: str | None = None) -> list[Stand]:
    """Return what stands on a store's accounts now, or on one of them, without those that are empty."""
    # Known beforehand: what PostgreSQL finds out only while it adds up, it cannot plan with.
    since: int = await tx.fetchval("select entry from book_sums_until")
    rows = await tx.fetch(_STANDS, store_id, account, since)
    while rows[0]["since"] != since:  # meanwhile entries went into the sums: they must not count twice
        since = rows[0]["since"]
        rows = await tx.fetch(_STANDS, store_id, account, since)
    return [
        Stand(row["account"], row["asset"], Amount(int(row["units"]), int(row["value"])))
        for row in rows
        if row["account"] is not None
    ]


async def keep(tx: Tx) -> None:
    """Add to the sums what was the newest entry at the last call, and all before it, once nothing there may change."""
    since, until = await advance(tx, "book_sums_until")
    if since < until:
        await tx.execute(_ADDING, since, until, timeout=_FIRST_SECONDS)
