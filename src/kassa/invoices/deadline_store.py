"""Invoices that the clock may still change: those that are due, and all of them in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an open invoice stands in the order in which they are gone through."""

    networks: str
    deadline: datetime
    invoice: InvoiceId


FIRST_TURN = Turn("", datetime.fromtimestamp(0, UTC), InvoiceId(""))
# A walk from set to set of networks over the index: how many invoices are held plays no part. An invoice whose set is
# not known (a version that knew no sets wrote it) waits for every network.
_DUE = """
with recursive held as (
    select network, min(made_at) as since from restraints
    where kind = 'held' and asset is null and lifted_at is null group by network
), followed as (
    select w.id, least(coalesce(n.observed_at, '-infinity'), h.since) as until
    from unnest($3::text[]) as w (id) left join networks n on n.id = w.id left join held h on h.network = w.id
    union
    select n.id, least(coalesce(n.observed_at, '-infinity'), h.since)
    from networks n left join held h on h.network = n.id where n.lease_until > now() - interval '60 seconds'
), sets as (
    (select networks, deadline from invoices where deadline is not null order by networks, deadline limit 1)
    union all
    select n.networks, n.deadline from sets cross join lateral (
        select networks, deadline from invoices where deadline is not null and networks > sets.networks
        order by networks, deadline limit 1
    ) n
), horizons as (
    select s.networks, least($1, min(f.until)) as until
    from sets s left join followed f on s.networks = '' or f.id = any(string_to_array(s.networks, ' '))
    where s.deadline < $1 group by s.networks
)
select d.id from horizons h cross join lateral (
    select id from invoices i
    where deadline is not null and networks = h.networks and deadline < h.until and not exists (
        select from alerts where kind = 'record_unreadable' and subject = i.id and closed_at is null)
    order by deadline limit $2 for no key update of i skip locked
) d limit $2
"""


async def due(tx: Tx, now: datetime, limit: int, configured: Sequence[str]) -> list[InvoiceId]:
    """Lock and return invoices whose deadline has passed on every network that they could be paid on.

    A network that has not been looked at since the deadline, or is held back, holds it: money that came in time may
    still turn up there. One that is neither `configured` nor followed by anyone holds nothing. Rows that another worker
    holds are left to it, and those that cannot be read to a person.
    """
    return [InvoiceId(row["id"]) for row in await tx.fetch(_DUE, now, limit, configured)]


async def open_page(tx: Tx, after: Turn, limit: int) -> list[Turn]:
    """Return some of the invoices that the clock may still change, in an order of their own, those after one."""
    rows = await tx.fetch(
        """select networks, deadline, id from invoices
           where deadline is not null and (networks, deadline, id) > ($1, $2, $3)
           order by networks, deadline, id limit $4""",
        after.networks,
        after.deadline,
        after.invoice,
        limit,
    )
    return [Turn(row["networks"], row["deadline"], InvoiceId(row["id"])) for row in rows]
