"""What must hold in the books whatever happened, asked of the database alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from kassa.core.ids import InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.ledger.store import FOLDED

SHOWN = 20
"""Offending ids that are named; all are counted."""
SECONDS = 3_600
"""How long one question may take: it reads every posting."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold; `offenders` selects the id of whatever it does not hold of, as `id`."""

    name: str
    offenders: str


CHECKS = (
    Check(
        "every entry balances, in units and in value",
        """select distinct 'entry ' || entry_id as id from postings group by entry_id, asset
           having sum(units) <> 0 or sum(value_units) <> 0""",
    ),
    Check(
        "every entry has its postings",
        """select 'entry ' || e.id as id from entries e left join postings p on p.entry_id = e.id
           group by e.id having count(p.account) < 2""",
    ),
    Check(
        "every customer's balance is the sum of their postings",
        """with said as (
               select substr(p.account, 10) as customer_id, p.asset, -sum(p.units) as units from postings p
               where p.account like 'customer:%' group by 1, 2
           )
           select coalesce(s.customer_id, b.customer_id) || ' ' || coalesce(s.asset, b.asset) as id
           from said s full join customer_balances b on b.customer_id = s.customer_id and b.asset = s.asset
           where coalesce(s.units, 0) <> coalesce(b.units, 0)""",
    ),
    Check(
        "every receivable and loss is what its customer owes, and what was written off of it",
        """with claims as (
               select e.customer_id, p.asset, coalesce(sum(p.units) filter (where p.account = 'losses'), 0) as lost,
                   sum(p.units) as units
               from postings p join entries e on e.id = p.entry_id
               where p.account in ('receivables', 'losses') group by 1, 2
           ), decided as (select customer_id, asset, sum(units) as units from write_offs group by 1, 2)
           select coalesce(c.customer_id, b.customer_id) || ' ' || coalesce(c.asset, b.asset) as id
           from claims c full join customer_balances b on b.customer_id = c.customer_id and b.asset = c.asset
           left join decided d on d.customer_id = b.customer_id and d.asset = b.asset
           where coalesce(c.units, 0) <> coalesce(b.owed, 0) or coalesce(c.lost, 0) <> coalesce(b.written_off, 0)
               or b.written_off > least(b.owed, coalesce(d.units, 0))""",
    ),
    Check(
        "no balance is below zero",
        "select customer_id || ' ' || asset as id from customer_balances where units < 0 or owed < 0",
    ),
    Check(
        "no customer spent more than was credited to them",
        """select a.customer_id || ' ' || a.asset as id from (
               select substr(p.account, 10) as customer_id, p.asset,
                   -coalesce(sum(p.units) filter (where e.payment_id is not null), 0) as credited,
                   coalesce(sum(p.units) filter (where e.spend_id is not null), 0) as spent
               from postings p join entries e on e.id = p.entry_id where p.account like 'customer:%' group by 1, 2
           ) a left join customer_balances b on b.customer_id = a.customer_id and b.asset = a.asset
           where a.spent > a.credited + coalesce(b.owed, 0)""",
    ),
    Check(
        "every spend took from its customer's credit what it says, or gave the rest back",
        """select s.id from spends s left join (
               select e.spend_id, sum(p.units) as units from postings p join entries e on e.id = p.entry_id
               where e.spend_id is not null and p.account = 'customer:' || e.customer_id group by 1
           ) b on b.spend_id = s.id where coalesce(b.units, 0) not between 0 and s.units""",
    ),
    Check(
        "every settled invoice is so since its event",
        """select i.id from invoices i left join (
               select invoice_id, max(created_at) as at from events where type = 'invoice.settled' group by 1
           ) e on e.invoice_id = i.id where i.settled_at is not null and i.settled_at is distinct from e.at""",
    ),
    Check(
        "every payment was settled first when its event says so",
        """select coalesce(p.id, e.id) as id from (
               select id, settled_at from payments where settled_at is not null
           ) p full join (
               select object::json ->> 'id' as id, min(created_at) as at from events
               where type = 'payment.settled' group by 1
           ) e on e.id = p.id where p.settled_at is distinct from e.at""",
    ),
    Check(
        "the sums that are kept of the books are those of their entries",
        f"""with said as (
               select e.store_id, p.asset, sum(p.units) as units, sum(p.value_units) as value_units, {FOLDED} as account
               from entries e join postings p on p.entry_id = e.id
               where e.store_id is not null and e.id <= (select entry from book_sums_until) group by 1, 2, 5
           )
           select store_id || ' ' || account || ' ' || asset as id
           from said s full join book_sums b using (store_id, account, asset)
           where (s.units, s.value_units) is distinct from (b.units, b.value_units)""",  # noqa: S608  # a constant
    ),
    Check(
        "the sums that are kept of payment links are those of their invoices",
        """with said as (
               select i.link_id, i.status, count(*) as invoices, sum(i.paid_units) as paid_units,
                   sum(i.settled_units) as settled_units
               from invoices i join payment_links l on l.id = i.link_id where l.reusable group by 1, 2
           ), kept as (
               select link_id, status, sum(invoices) as invoices, sum(paid_units) as paid_units,
                   sum(settled_units) as settled_units from link_sums group by 1, 2
           )
           select link_id || ' ' || status as id from said s full join kept k using (link_id, status)
           where (coalesce(s.invoices, 0), coalesce(s.paid_units, 0), coalesce(s.settled_units, 0)) is distinct from
               (coalesce(k.invoices, 0), coalesce(k.paid_units, 0), coalesce(k.settled_units, 0))""",
    ),
    Check(
        "the decimals of every asset are known",
        """select distinct p.asset as id from postings p left join assets a on a.id = p.asset where a.id is null
           union select distinct o.asset from payment_options o left join assets a on a.id = o.asset
           where a.id is null""",
    ),
    Check(
        "the events of every store are numbered without gaps",
        """select store_id as id from events where sequence is not null group by store_id
           having count(*) <> max(sequence) or min(sequence) <> 1""",
    ),
    Check(
        "what guards the books is switched on",
        """select g.name as id from unnest(array['entries_append_only', 'postings_append_only', 'entries_no_truncate',
               'postings_no_truncate', 'postings_balance', 'spends_append_only', 'spends_no_truncate',
               'given_back_append_only', 'given_back_no_truncate', 'assignments_append_only',
               'assignments_no_truncate', 'assets_in_use', 'assets_no_truncate', 'write_offs_append_only',
               'write_offs_no_truncate']) as g (name)
           left join pg_trigger t on t.tgname = g.name and t.tgrelid in
               ('entries'::regclass, 'postings'::regclass, 'spends'::regclass, 'given_back'::regclass,
                'assignments'::regclass, 'assets'::regclass, 'write_offs'::regclass)
           where t.tgenabled is null or t.tgenabled = 'D'""",
    ),
)


async def only_read(tx: Tx) -> None:
    """Let a fresh transaction see one moment and change nothing."""
    await tx.execute("set transaction isolation level repeatable read, read only")


async def offenders(tx: Tx, check: Check) -> tuple[int, list[str]]:
    """Return of how many a check does not hold, and the first of them."""
    rows = await tx.fetch(
        f"select id, count(*) over () as every from ({check.offenders}) o order by id limit $1",  # noqa: S608  # a constant
        SHOWN,
        timeout=SECONDS,
    )
    return (rows[0]["every"] if rows else 0), [row["id"] for row in rows]


async def counts(tx: Tx) -> dict[str, int]:
    """Return how much there is to verify."""
    row = await tx.fetchrow(
        """select (select count(*) from entries) as entries, (select count(*) from postings) as postings,
               (select count(*) from payments) as payments, (select count(*) from spends) as spends,
               (select count(*) from invoices) as invoices""",
        timeout=SECONDS,
    )
    return dict(row)


async def invoices(tx: Tx, after: str, limit: int) -> list[InvoiceId]:
    """Return invoices, in the order of their ids, those after one."""
    rows = await tx.fetch("select id from invoices where id > $1 order by id limit $2", after, limit, timeout=SECONDS)
    return [InvoiceId(row["id"]) for row in rows]


async def deposits(tx: Tx, after: str, limit: int) -> list[PaymentId]:
    """Return the deposits of customers, in the order of their ids, those after one."""
    rows = await tx.fetch(
        """select id from payments where invoice_id is null and store_id is not null and id > $1
           order by id limit $2""",
        after,
        limit,
    )
    return [PaymentId(row["id"]) for row in rows]


async def unowned_wrong(tx: Tx) -> Sequence[str]:
    """Return the payments without an owner that are not in the books exactly while a block holds them."""
    rows = await tx.fetch(
        """select p.id from payments p left join (
               select e.payment_id, coalesce(sum(o.units) filter (where o.account = 'wallet:' || m.network), 0) as held,
                   coalesce(sum(o.units) filter (where o.account = 'unowned'), 0) as owed
               from entries e join postings o on o.entry_id = e.id join payments m on m.id = e.payment_id
               where m.store_id is null group by 1
           ) b on b.payment_id = p.id
           where p.store_id is null and (
               coalesce(b.held, 0) <> (case when p.block_height is null then 0 else p.units end)
               or coalesce(b.owed, 0) <> -coalesce(b.held, 0)) order by p.id""",
        timeout=SECONDS,
    )
    return [row["id"] for row in rows]
