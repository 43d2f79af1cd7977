"""The books in the database: only ever added to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.ledger.model import Amount, Cause, Entry
from kassa.ledger.rules import Balances
from kassa.ledger.view import Filters, Line, Shown, Stand

CUSTOMERS = "customers"
"""The accounts of all customers, `customer:…`, as one."""
FOLDED = f"case when starts_with(p.account, 'customer:') then '{CUSTOMERS}' else p.account end"
"""The account of a posting `p`, in SQL: those of customers as one."""
_LIKE = """
e.store_id = $1 and ($2::bigint is null or e.id < $2) and ($3::text is null or (e.cause = $3 and e.payment_id = $3))
and ($4::text is null or e.invoice_id = $4)
"""
_PAGE = f"select e.* from entries e where {_LIKE} order by e.id desc limit $5"
# By the postings of the account: by the entries, those of a rare account would be looked for in all there are.
_PAGE_OF_ACCOUNT = f"""
with named as materialized (
    select distinct p.entry_id from postings p join entries e on e.id = p.entry_id
    where p.account = $5 and {_LIKE} order by p.entry_id desc limit $6
)
select e.* from named n cross join lateral (select * from entries where id = n.entry_id) e order by e.id desc
"""


async def posted(tx: Tx, causes: Sequence[Cause]) -> dict[Cause, Balances]:
    """Return what the books say of some causes: balances by account and asset."""
    rows = await tx.fetch(
        """select e.cause, p.account, p.asset, sum(p.units) as units, sum(p.value_units) as value
           from entries e join postings p on p.entry_id = e.id
           where e.cause = any($1::text[]) group by 1, 2, 3 having sum(p.units) <> 0 or sum(p.value_units) <> 0""",
        causes,
    )
    found: dict[Cause, dict[tuple[str, str], Amount]] = {}
    for row in rows:
        amount = Amount(int(row["units"]), int(row["value"]))
        found.setdefault(row["cause"], {})[row["account"], row["asset"]] = amount
    return dict(found)


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Write entries with their postings, in one statement; an unbalanced one is refused by the database at commit.

    The transaction has its own number before it takes those of entries: by it `sums_store` tells what is on its way.
    """
    if not entries:
        return
    postings = [(place, posting) for place, entry in enumerate(entries, 1) for posting in entry.postings]
    await tx.execute(
        """with asked as (
               select nextval(case when pg_current_xact_id() is not null
                   then pg_get_serial_sequence('entries', 'id') end) as id, e.* from (
                   select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                       $7::text[]) with ordinality as e (store_id, payment_id, spend_id, customer_id, invoice_id,
                       decision_id, reason, place) order by place) e
           ), written as (
               insert into entries (id, store_id, payment_id, spend_id, customer_id, invoice_id, decision_id, reason,
                   booked_at) overriding system value
               select id, store_id, payment_id, spend_id, customer_id, invoice_id, decision_id, reason, $8 from asked
           )
           insert into postings (entry_id, account, asset, units, value_units, rate)
           select a.id, p.account, p.asset, p.units, p.value_units, p.rate
           from unnest($9::bigint[], $10::text[], $11::text[], $12::numeric[], $13::numeric[], $14::text[])
               as p (place, account, asset, units, value_units, rate) join asked a on a.place = p.place""",
        [entry.store_id for entry in entries],
        [entry.payment_id for entry in entries],
        [entry.spend_id for entry in entries],
        [entry.customer_id for entry in entries],
        [entry.invoice_id for entry in entries],
        [entry.decision_id for entry in entries],
        [entry.reason for entry in entries],
        now,
        [place for place, _ in postings],
        [posting.account for _, posting in postings],
        [posting.asset for _, posting in postings],
        [posting.units for _, posting in postings],
        [posting.value for _, posting in postings],
        [None if posting.rate is None else str(posting.rate) for _, posting in postings],
    )


async def balances(tx: Tx, store_id: StoreId, at: datetime, *, together: bool = False) -> list[Stand]:
    """Return what stood on a store's accounts at a moment, by account and asset, without those that were empty.

    `together`: the accounts of all customers as one, `customers`. All there ever was is read.
    """
    rows = await tx.fetch(
        f"""select {FOLDED if together else "p.account"} as account, p.asset,
               sum(p.units) as units, sum(p.value_units) as value
           from entries e join postings p on p.entry_id = e.id
           where e.store_id = $1 and e.booked_at <= $2
           group by 1, 2 having sum(p.units) <> 0 or sum(p.value_units) <> 0 order by 1, 2""",
        store_id,
        at,
    )
    return [Stand(row["account"], row["asset"], Amount(int(row["units"]), int(row["value"]))) for row in rows]


async def page(tx: Tx, store_id: StoreId, filters: Filters, before: int | None, limit: int) -> list[Shown]:
    """Return a store's entries, newest first, those before a number."""
    rows = await tx.fetch(
        _PAGE if filters.account is None else _PAGE_OF_ACCOUNT,
        store_id,
        before,
        filters.payment_id,
        filters.invoice_id,
        *([] if filters.account is None else [filters.account]),
        limit,
    )
    return await shown(tx, rows)


async def of_invoice(tx: Tx, invoice: str, after: tuple[datetime, int], limit: int) -> list[Shown]:
    """Return the entries about an invoice, oldest first, those after a moment and number."""
    rows = await tx.fetch(
        "select * from entries where invoice_id = $1 and (booked_at, id) > ($2, $3) order by booked_at, id limit $4",
        invoice,
        *after,
        limit,
    )
    return await shown(tx, rows)


async def statement(tx: Tx, account: str, before: int | None, limit: int) -> list[tuple[Shown, Line, int]]:
    """Return what moved on an account, newest first, with the balance (units) of the asset after each."""
    rows = await tx.fetch(
        """select * from (
               select e.*, p.asset, p.units, p.value_units, p.rate,
                   sum(p.units) over (partition by p.asset order by p.entry_id) as balance
               from postings p join entries e on e.id = p.entry_id
               where p.account = $1 and p.units <> 0
           ) moved where $2::bigint is null or id < $2 order by id desc, asset limit $3""",
        account,
        before,
        limit,
    )
    return [(_shown(row, ()), _line(account, row), int(row["balance"])) for row in rows]


async def shown(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[Shown]:
    """Return entries, given their rows, with their postings."""
    found = await tx.fetch(
        "select * from postings where entry_id = any($1) order by entry_id, account, asset", [row["id"] for row in rows]
    )
    lines: dict[int, list[Line]] = {}
    for row in found:
        lines.setdefault(row["entry_id"], []).append(_line(row["account"], row))
    return [_shown(row, tuple(lines.get(row["id"], ()))) for row in rows]


def _shown(row: Mapping[str, Any], lines: tuple[Line, ...]) -> Shown:
    return Shown(
        number=row["id"],
        booked_at=row["booked_at"],
        reason=row["reason"],
        payment_id=row["payment_id"],
        spend_id=row["spend_id"],
        customer_id=row["customer_id"],
        invoice_id=row["invoice_id"],
        decision_id=row["decision_id"],
        lines=lines,
    )


def _line(account: str, row: Mapping[str, Any]) -> Line:
    return Line(account, row["asset"], Amount(int(row["units"]), int(row["value_units"])), row["rate"])
