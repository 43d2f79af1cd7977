"""What the books hold of each asset, and what is owed of it, from sums that are kept and the entries since."""

from datetime import datetime

from kassa.alerts.seen import Credited, Held
from kassa.db.pool import Tx
from kassa.ledger.until_store import advance, begin_again

LAST_ENTRIES = 1_000  # more than a detector's minute has on a busy day
_UNTIL = "held_sums_until"
_FIRST_SECONDS = 600
_WALLET = "p.account = 'wallet:' || split_part(p.asset, '@', 2)"
_SUMS = f"""
sums as (
    select asset, sum(units) as units, sum(entries) as entries from (
        select asset, units, entries from held_sums
        union all select p.asset, p.units, 1 from postings p where p.entry_id > $1 and {_WALLET}
    ) each group by asset
)
"""  # noqa: S608  # constants of this file
_HELD = f"""
with owed as (select asset, sum(units) as units from customer_balances group by 1 having sum(units) > 0), {_SUMS}
select o.asset, coalesce(s.units, 0) as holdings, o.units
from owed o left join sums s on s.asset = o.asset order by 1
"""  # noqa: S608  # constants of this file
_CREDITED = f"""
with late as (
    select distinct on (p.asset) e.store_id, e.id, p.account, p.asset, -p.units as units
    from entries e join postings p on p.entry_id = e.id
    where e.id > (select coalesce(max(id), 0) - $2 from entries) and e.booked_at >= $3
      and p.account like 'customer:%' and p.units < 0
    order by p.asset, p.units, e.id
), {_SUMS}
select l.*, coalesce(s.units, 0) as holdings, coalesce(s.entries, 0) - (
    select count(*) from postings p where p.entry_id >= l.id and p.asset = l.asset and {_WALLET}
) as known
from late l left join sums s on s.asset = l.asset order by l.asset
"""  # noqa: S608  # constants of this file
_ADDING = f"""
insert into held_sums as s (asset, units, entries)
select p.asset, sum(p.units), count(*) from postings p
where p.entry_id > $1 and p.entry_id <= $2 and {_WALLET} group by 1 order by 1
on conflict (asset) do update set units = s.units + excluded.units, entries = s.entries + excluded.entries
"""  # noqa: S608  # constants of this file


async def held(tx: Tx) -> list[Held]:
    """Return what the books hold of each asset in which customers have credit, and what is owed to them."""
    found = await _held(tx)
    if any(each.owed > each.holdings for each in found):
        # Before that is said, all is added up.
        await tx.execute("delete from held_sums")
        await begin_again(tx, _UNTIL)
        found = await _held(tx)
    return found


async def _held(tx: Tx) -> list[Held]:
    rows = await tx.fetch(_HELD, await _kept(tx), timeout=_FIRST_SECONDS)
    return [Held(row["asset"], int(row["holdings"]), int(row["units"])) for row in rows]


async def credited(tx: Tx, since: datetime) -> list[Credited]:
    """Return the largest credit since a moment for each asset in which there was one, among the last entries."""
    rows = await tx.fetch(_CREDITED, await _kept(tx), LAST_ENTRIES, since, timeout=_FIRST_SECONDS)
    return [
        Credited(
            r["store_id"],
            r["account"].removeprefix("customer:"),
            r["asset"],
            r["id"],
            int(r["units"]),
            int(r["holdings"]),
            int(r["known"]),
        )
        for r in rows
    ]


async def _kept(tx: Tx) -> int:
    """Add to the sums what can be added; return the entry up to which they go, which is held."""
    since, until = await advance(tx, _UNTIL)
    if since < until:
        await tx.execute(_ADDING, since, until, timeout=_FIRST_SECONDS)
    return until
