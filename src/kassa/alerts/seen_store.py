"""What detectors look at in chains and payments: the SQL. Each reads only what came of late, by index."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from kassa.alerts.holdings_store import LAST_ENTRIES
from kassa.alerts.seen import (
    Dust,
    Followed,
    InDebit,
    NodeSeen,
    Overtaken,
    Reorganised,
    Reversed,
    ReversedMore,
    Unowned,
    Volume,
)
from kassa.core.ids import first_id
from kassa.db.pool import Tx

_MOST = 200

# Whoever pays more for the same is no thief: what overtook a payment must not have paid its address, nor may a living
# payment have brought it as much since (an earlier transaction was replaced, and all that spent it was sent anew).
_OVERTAKEN = """
with found as (
    select * from payments where id >= $1 and conflict_txid is not null
    union all
    select p.* from unnest($2::text[], $3::bigint[]) as late (network, blocks) join networks n on n.id = late.network
    join payments p on p.network = n.id and p.conflict_height > n.height - late.blocks where p.id < $1
), overtaken as (
    select p.id, p.store_id, p.network, p.txid, p.invoice_id, coalesce(p.customer_id, i.customer_id) as customer_id
    from found p left join invoices i on i.id = p.invoice_id
    where p.conflict_txid is not null and p.status in ('replaced', 'reversed') and p.store_id is not null
      and not exists (
          select from payments r where r.network = p.network and r.txid = p.conflict_txid
              and r.address_id = p.address_id)
      and not exists (
          select from payments r where r.address_id = p.address_id and r.asset = p.asset and r.units >= p.units
              and r.id > p.id and r.status in ('detected', 'confirming', 'settled'))
)
select store_id, network, null as payer, count(*) as count from overtaken group by 1, 2
union all
select store_id, network, customer_id, count(*) from overtaken where customer_id is not null group by 1, 2, 3
union all
select o.store_id, o.network, 'coin ' || s.outpoint, count(distinct o.invoice_id)
from overtaken o join payment_inputs s on s.network = o.network and s.txid = o.txid
group by 1, 2, 3 having count(distinct o.invoice_id) > 1
"""
# What has an alert of its own keeps it: when an older payment is reversed later, the loss told before is not over.
_REVERSED = """
with placed as (
    select *, row_number() over (partition by store_id, network order by id in (
        select subject from alerts where kind = 'settled_reversed' and (closed_at is null or over_at is null)
    ) desc, id) as place
    from payments where status = 'reversed' and store_id is not null
)
"""
_SINGLY = (
    _REVERSED
    + """
select id, store_id, invoice_id, customer_id, network, asset, confirmations_required
from placed where place <= $1 order by id
"""
)
_BEYOND = (
    _REVERSED
    + """
select store_id, network, count(*), max(confirmations_required)
from placed where place > $1 group by 1, 2 order by 1, 2
"""
)
_VOLUMES = """
with seen as (
    select p.store_id, coalesce(i.currency, s.currency) as currency, p.value_units, p.id >= $2 as late,
        date_trunc('hour', p.first_seen_at) as hour
    from payments p join stores s on s.id = p.store_id left join invoices i on i.id = p.invoice_id
    where p.id >= $1 and p.value_units > 0
), hours as (
    select store_id, currency, hour,
        count(*) filter (where not late) as n, max(value_units) filter (where not late) as m,
        count(*) filter (where late) as late_n, max(value_units) filter (where late) as late_m
    from seen group by 1, 2, 3
)
select store_id, currency, sum(late_n)::bigint as count, coalesce(max(late_m), 0) as largest,
    sum(n)::bigint as before_count, coalesce(max(m), 0) as before_largest, max(n) as before_busiest_hour
from hours group by 1, 2 having sum(late_n) > 0
"""


async def followed(tx: Tx) -> list[Followed]:
    """Return how every network that was ever followed is followed now."""
    rows = await tx.fetch(
        """select id, state, detail, coalesce(lease_until > now() - interval '60 seconds', false) as followed,
               node_refused, observed_at, node_behind and coalesce(node_height < height, false) as below
           from networks order by id"""
    )
    return [Followed(*row.values()) for row in rows]


async def nodes(tx: Tx) -> list[NodeSeen]:
    """Return what the nodes of the networks that are followed now show."""
    rows = await tx.fetch(
        """select id, node_time, final_at, internal, internal_best, clock_skew_seconds, observed_at,
               coalesce(node_warning, ''), coalesce(node_outdated, false) from networks
           where lease_until > now() - interval '60 seconds' order by id"""
    )
    return [NodeSeen(*row.values()) for row in rows]


async def reorganised(tx: Tx, since: datetime) -> list[Reorganised]:
    """Return the reorganisations since a moment, by network."""
    rows = await tx.fetch(
        "select network, max(depth), count(*) from reorganisations where at >= $1 group by 1 order by 1", since
    )
    return [Reorganised(*row.values()) for row in rows]


async def reversed_payments(tx: Tx, singly: int) -> tuple[list[Reversed], list[ReversedMore]]:
    """Return the settled payments that the chain took back and did not give again: none is left out.

    A few of each store and network one by one, which stay the same when more come, the others by number.
    """
    rows, more = await tx.fetch(_SINGLY, singly), await tx.fetch(_BEYOND, singly)
    return [Reversed(*row.values()) for row in rows], [ReversedMore(*row.values()) for row in more]


async def overtaken(tx: Tx, since: datetime, blocks: Mapping[str, int]) -> list[Overtaken]:
    """Return the payments since a moment that were overtaken, by store and network, and by payer.

    Older ones too, if what overtook them is in one of so many last `blocks` of their network.
    """
    rows = await tx.fetch(_OVERTAKEN, first_id("pay", since), list(blocks), list(blocks.values()))
    return [Overtaken(*row.values()) for row in rows]


async def dust(tx: Tx, since: datetime) -> list[Dust]:
    """Return how many payments of less than a hundredth of what was asked for came since a moment, by store."""
    rows = await tx.fetch(
        """select p.store_id, count(*) from payments p
           left join payment_options o on o.invoice_id = p.invoice_id and o.asset = p.asset
           where p.id >= $1 and p.store_id is not null
             and case when o.due_units is null then p.value_units < 100 else p.units * 100 < o.due_units end
           group by 1""",
        first_id("pay", since),
    )
    return [Dust(*row.values()) for row in rows]


async def empty_transfers(tx: Tx, since: datetime) -> dict[str, int]:
    """Return how many transfers of nothing came to our addresses since the hour of a moment, by network."""
    rows = await tx.fetch(
        """select network, sum(count)::bigint from empty_transfers where hour >= date_trunc('hour', $1::timestamptz)
           group by 1""",
        since,
    )
    return dict(tuple(row.values()) for row in rows)


async def unowned(tx: Tx, before: datetime) -> list[Unowned]:
    """Return living money without an owner that was first seen before a moment, oldest first."""
    rows = await tx.fetch(
        """select p.id, p.network, p.asset, a.address, p.first_seen_at,
               array(select w.store_id from wallets w where w.keychain_id = a.keychain_id order by 1) as stores
           from payments p join addresses a on a.id = p.address_id
           where p.store_id is null and p.block_height is not null and p.first_seen_at < $1 order by p.id limit $2""",
        before,
        _MOST,
    )
    return [
        Unowned(r["id"], r["network"], r["asset"], r["address"], r["first_seen_at"], tuple(r["stores"])) for r in rows
    ]


async def volumes(tx: Tx, now: datetime) -> list[Volume]:
    """Return the payments of the last hour beside those of the 30 days before, for each store that had any."""
    hour = now - timedelta(hours=1)
    rows = await tx.fetch(_VOLUMES, first_id("pay", hour - timedelta(days=30)), first_id("pay", hour))
    return [Volume(row["store_id"], row["currency"], *(int(value) for value in list(row.values())[2:])) for row in rows]


async def in_debit(tx: Tx) -> list[InDebit]:
    """Return the customers who, by the books, owe an asset: of those whom one of the last entries concerns."""
    rows = await tx.fetch(
        """with late as (
               select distinct p.account, p.asset from entries e join postings p on p.entry_id = e.id
               where e.id > (select coalesce(max(id), 0) - $1 from entries) and p.account like 'customer:%'
           )
           select c.store_id, c.id, l.asset, sum(p.units) as units
           from late l join postings p on p.account = l.account and p.asset = l.asset
           join customers c on c.id = substr(l.account, 10)
           group by 1, 2, 3 having sum(p.units) > 0 order by 2, 3""",
        LAST_ENTRIES,
    )
    return [InDebit(r["store_id"], r["id"], r["asset"], int(r["units"])) for r in rows]
