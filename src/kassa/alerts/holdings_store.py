"""What the books hold of each asset, and what is owed of it, added up from the last days alone."""

from datetime import datetime, timedelta

from kassa.alerts.seen import Credited, Held
from kassa.db.pool import Tx

LAST_ENTRIES = 1_000  # more than a detector's minute has on a busy day
_OPEN = timedelta(days=1)
_FIRST_SECONDS = 600
_RECENT = """
with recent as materialized (
    select p.entry_id, p.asset, p.units from entries e join postings p on p.entry_id = e.id
    where e.booked_at >= $1 and p.account = 'wallet:' || split_part(p.asset, '@', 2)
)
"""
_HELD = (
    _RECENT  # noqa: S608  # constants
    + """, owed as (select asset, sum(units) as units from customer_balances group by 1 having sum(units) > 0)
select o.asset, coalesce(h.units, 0) + coalesce(sum(r.units), 0) as holdings, o.units
from owed o left join holdings h on h.asset = o.asset left join recent r on r.asset = o.asset
group by o.asset, o.units, h.units order by 1
"""
)
_CREDITED = (
    _RECENT  # noqa: S608  # constants
    + """, late as (
    select distinct on (p.asset) e.store_id, e.id, p.account, p.asset, -p.units as units
    from entries e join postings p on p.entry_id = e.id
    where e.id > (select coalesce(max(id), 0) - $2 from entries) and e.booked_at >= $3
      and p.account like 'customer:%' and p.units < 0
    order by p.asset, p.units, e.id
)
select l.*, coalesce(h.units, 0) + coalesce(sum(r.units), 0) as holdings,
    coalesce(h.entries, 0) + count(*) filter (where r.entry_id < l.id) as known
from late l left join holdings h on h.asset = l.asset left join recent r on r.asset = l.asset
group by l.store_id, l.id, l.account, l.asset, l.units, h.units, h.entries order by l.asset
"""
)


async def held(tx: Tx, now: datetime) -> list[Held]:
    """Return what the books hold of each asset in which customers have credit, and what is owed to them."""
    found = await _held(tx, now)
    if any(each.owed > each.holdings for each in found):
        # Before that is said, all is added up: a clock that was ahead, and is no longer, books into days that are over.
        await tx.execute("delete from holdings")
        await tx.execute("update holdings_until set until = null")
        found = await _held(tx, now)
    return found


async def _held(tx: Tx, now: datetime) -> list[Held]:
    rows = await tx.fetch(_HELD, await _until(tx, now))
    return [Held(row["asset"], int(row["holdings"]), int(row["units"])) for row in rows]


async def credited(tx: Tx, since: datetime, now: datetime) -> list[Credited]:
    """Return the largest credit since a moment for each asset in which there was one, among the last entries."""
    rows = await tx.fetch(_CREDITED, await _until(tx, now), LAST_ENTRIES, since)
    return [
        Credited(
            r["store_id"],
            r["account"].removeprefix("customer:"),
            r["asset"],
            r["id"],
            int(r["units"]),
            int(r["holdings"]),
            r["known"],
        )
        for r in rows
    ]


async def _until(tx: Tx, now: datetime) -> datetime:
    """Add the days that are over to the sums; return the moment up to which they go."""
    until: datetime | None = await tx.fetchval("select until from holdings_until for update")
    wanted = (now - _OPEN).replace(hour=0, minute=0, second=0, microsecond=0)
    if until is not None and until >= wanted:
        return until
    await tx.execute(
        """insert into holdings as h (asset, units, entries)
           select p.asset, sum(p.units), count(*) from entries e join postings p on p.entry_id = e.id
           where ($1::timestamptz is null or e.booked_at >= $1) and e.booked_at < $2
             and p.account = 'wallet:' || split_part(p.asset, '@', 2)
           group by 1 order by 1
           on conflict (asset) do update
           set units = h.units + excluded.units, entries = h.entries + excluded.entries""",
        until,
        wanted,
        timeout=_FIRST_SECONDS,
    )
    await tx.execute("update holdings_until set until = $1", wanted)
    return wanted
