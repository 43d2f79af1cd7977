"""What stands on a store's accounts, from sums that are kept and the entries since: the customers' as one account."""

from datetime import datetime, timedelta

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.model import Amount
from kassa.ledger.view import Stand

CUSTOMERS = "customers"
"""The accounts of all customers, `customer:…`, as one."""
_OPEN = timedelta(days=1)
_FIRST_SECONDS = 3_600
_FOLDED = f"case when starts_with(p.account, 'customer:') then '{CUSTOMERS}' else p.account end"
_SINCE = f"""
select {_FOLDED} as account, p.asset, p.units, p.value_units from entries e join postings p on p.entry_id = e.id
where e.store_id = $1 and e.id > $3
"""  # noqa: S608  # constants of this file
_STANDS = f"""
select account, asset, sum(units) as units, sum(value_units) as value from (
    select account, asset, units, value_units from book_sums where store_id = $1 union all {_SINCE}
) each where $2::text is null or account = $2
group by 1, 2 having sum(units) <> 0 or sum(value_units) <> 0 order by 1, 2
"""  # noqa: S608  # constants of this file
# An entry gets its number before it is committed: up to the day before yesterday none is on its way any more.
_UNTIL = """
select coalesce((select min(id) - 1 from entries where booked_at >= $1), (select max(id) from entries), 0)
"""
_ADDING = f"""
insert into book_sums as s (store_id, account, asset, units, value_units)
select e.store_id, {_FOLDED}, p.asset, sum(p.units), sum(p.value_units)
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
    return [Stand(row["account"], row["asset"], Amount(int(row["units"]), int(row["value"]))) for row in rows]


async def keep(tx: Tx, now: datetime) -> None:
    """Add the entries of days that are over to the sums."""
    known: int = await tx.fetchval("select entry from book_sums_until for update")
    midnight = (now - _OPEN).replace(hour=0, minute=0, second=0, microsecond=0)
    until: int = await tx.fetchval(_UNTIL, midnight)
    if until <= known:
        return
    await tx.execute(_ADDING, known, until, timeout=_FIRST_SECONDS)
    await tx.execute("update book_sums_until set entry = $1", until)
