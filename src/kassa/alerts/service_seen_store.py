"""What detectors look at in orders, queues and our own loops: the SQL."""

from datetime import datetime, timedelta

from kassa.alerts.seen import Compared, Ordered, Queue, Sending, UnpaidRun
from kassa.core.ids import first_id
from kassa.db.pool import Tx

_LONGEST_RUN = 10_000


async def ordered(tx: Tx, now: datetime) -> list[Ordered]:
    """Return the invoices of the last ten minutes, by store, beside those of the day before."""
    rows = await tx.fetch(
        """with made as (select store_id, count(*) as made,
               count(*) filter (where exists (select from payments p where p.invoice_id = i.id)) as paid
               from invoices i where id >= $2 group by 1)
           select m.store_id, m.made, m.paid,
               (select count(*) from invoices b where b.store_id = m.store_id and b.id >= $1 and b.id < $2)
           from made m""",
        first_id("inv", now - timedelta(days=1)),
        first_id("inv", now - timedelta(minutes=10)),
    )
    return [Ordered(*row.values()) for row in rows]


async def queues(tx: Tx, before: datetime) -> list[Queue]:
    """Return the receivers for whom something waits since before a moment."""
    rows = await tx.fetch(
        """select store_id, min(webhook_id) as webhook_id, count(*) as waiting, min(created_at) as oldest_at,
               max(attempts) as attempts
           from deliveries where state = 'due' and due_at is not null group by store_id, lane
           having min(created_at) < $1""",
        before,
    )
    return [Queue(*row.values()) for row in rows]


async def sending(tx: Tx, now: datetime) -> Sending:
    """Return whether anybody numbers and sends, and what was given up of late."""
    unnumbered = await tx.fetchval("select min(created_at) from events where sequence is null")
    overdue = await tx.fetchval(
        "select min(due_at) from deliveries where state = 'due' and due_at < $1 and claimed_until is null", now
    )
    rows = await tx.fetch(
        """select store_id, count(*) from deliveries d where id >= $1 and state = 'failed'
             and not exists (select from webhooks w where w.id = d.webhook_id and w.deleted_at is not null)
           group by 1""",
        first_id("dlv", now - timedelta(days=4)),
    )
    return Sending(unnumbered, overdue, dict(tuple(row.values()) for row in rows))


async def compared(tx: Tx) -> list[Compared]:
    """Return when the books of each network were last compared with its node."""
    return [
        Compared(*row.values()) for row in await tx.fetch("select network, first_at, ended_at from reconciliations")
    ]


async def unpaid_runs(tx: Tx) -> list[UnpaidRun]:
    """Return for each wallet that issues addresses how many in a row, up to the newest, nobody paid.

    No further than `_LONGEST_RUN` back: what a wallet that nobody ever pays costs is bounded.
    """
    rows = await tx.fetch(
        """select w.id, w.store_id, w.network, k.next_index - 1 - coalesce(
               (select a.index from addresses a
                where a.keychain_id = k.id and a.index >= k.next_index - $1::bigint
                  and exists (select from payments p where p.address_id = a.id and p.block_height is not null)
                order by a.index desc limit 1), greatest(-1, k.next_index - 1 - $1)) as length
           from wallets w join keychains k on k.id = w.keychain_id where w.retired_at is null order by w.id""",
        _LONGEST_RUN,
    )
    return [UnpaidRun(*row.values()) for row in rows]
