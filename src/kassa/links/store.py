"""Payment links, how their invoices stand, and the attempts to pay them: the SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Record

from kassa.core.errors import NotFound
from kassa.core.ids import InvoiceId, LinkId, StoreId
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.invoices.model import Status as InvoiceStatus
from kassa.links.model import Alike, Announced, Attempt, Chosen, Fixed, Flag, Link, Payer, Status

_KEPT = timedelta(hours=1)  # so far back the rules look
_MOST_ATTEMPTS = 500
_EACH = """
select link_id, status, 'late' = any(flags) as late, 'reversed' = any(flags) as reversed,
    sum(amount_units) as asked_units, sum(paid_units) as paid_units, sum(settled_units) as settled_units,
    count(*) as count
from invoices where link_id = any($1) group by 1, 2, 3, 4, amount_units, invoices.paid_units, invoices.settled_units
"""
_SUMS = """
select link_id, status, false as late, false as reversed, 0 as asked_units, sum(paid_units) as paid_units,
    sum(settled_units) as settled_units, sum(invoices) as count
from link_sums where link_id = any($1) group by 1, 2 having sum(invoices) <> 0
"""
# One statement: whoever reads meanwhile sees either all the summands or what they were made into.
_FOLDING = """
with many as (select link_id, status from link_sums group by 1, 2 having count(*) > 1),
folded as (delete from link_sums s using many m where (s.link_id, s.status) = (m.link_id, m.status) returning s.*)
insert into link_sums
select link_id, status, sum(invoices), sum(paid_units), sum(settled_units) from folded group by 1, 2
"""


async def put(tx: Tx, link: Link) -> None:
    """Write a new link."""
    least, most = (link.ask.least, link.ask.most) if isinstance(link.ask, Chosen) else (None, None)
    await tx.execute(
        """insert into payment_links (id, store_id, title, description, reference, metadata, currency, amount_units,
               least_units, most_units, asset, payment_options, reusable, show_received, invoice_seconds, redirect_url,
               expires_at, closed_at, created_at, deadline)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $17)""",
        link.id, link.store_id, link.title, link.description, link.reference, link.metadata, link.currency.code,
        link.ask.units if isinstance(link.ask, Fixed) else None, least, most, link.asset, link.payment_options,
        link.reusable, link.show_received, link.invoice_seconds, link.redirect_url, link.expires_at, link.closed_at,
        link.created_at,
    )  # fmt: skip


async def change(tx: Tx, link: Link) -> None:
    """Write what may change of a link; it must be locked."""
    await tx.execute(
        """update payment_links set title = $2, description = $3, reference = $4, metadata = $5, show_received = $6,
               redirect_url = $7, expires_at = $8, closed_at = $9 where id = $1""",
        link.id, link.title, link.description, link.reference, link.metadata, link.show_received, link.redirect_url,
        link.expires_at, link.closed_at,
    )  # fmt: skip


async def get(tx: Tx, link: str, *, store_id: StoreId | None = None, lock: bool = False) -> Link:
    """Return a link (of one store, if given), locked if asked; raises `NotFound`."""
    locking = "for no key update" if lock else ""
    row = await tx.fetchrow(
        f"select * from payment_links where id = $1 and ($2::text is null or store_id = $2) {locking}", link, store_id
    )
    if row is None:
        raise NotFound("there is no such payment link in this store")
    return _link(row)


async def page(
    tx: Tx, store_id: StoreId, status: str | None, reference: str | None, before: str | None, limit: int,
    found: Sequence[LinkId] | None = None,
) -> list[Link]:  # fmt: skip
    """Return a store's links, newest first, those before an id; `found`: these alone."""
    rows = await tx.fetch(
        """select * from payment_links where store_id = $1 and ($2::text is null or status = $2)
             and ($3::text is null or reference = $3) and ($4::text is null or id < $4)
             and ($6::text[] is null or id = any($6)) order by id desc limit $5""",
        store_id,
        status,
        reference,
        before,
        limit,
        found,
    )
    return [_link(row) for row in rows]


async def hold(tx: Tx, links: Sequence[LinkId]) -> list[tuple[Link, Announced]]:
    """Lock links, in id order, and return them with what was last announced of each."""
    rows = await tx.fetch("select * from payment_links where id = any($1) order by id for no key update", sorted(links))
    return [(_link(row), _announced(row)) for row in rows]


async def single_use(tx: Tx, links: Sequence[LinkId]) -> list[LinkId]:
    """Return which of some links are used up by a payment: only these change where their invoices do."""
    rows = await tx.fetch("select id from payment_links where id = any($1) and not reusable", links)
    return [LinkId(row["id"]) for row in rows]


async def due(tx: Tx, now: datetime, limit: int) -> list[LinkId]:
    """Return links whose deadline has passed."""
    rows = await tx.fetch("select id from payment_links where deadline < $1 order by deadline limit $2", now, limit)
    return [LinkId(row["id"]) for row in rows]


async def announce(tx: Tx, link: LinkId, said: Announced, deadline: datetime | None) -> None:
    """Store what was announced of a link."""
    await tx.execute(
        "update payment_links set status = $2, flags = $3, paid_units = $4, settled_units = $5, deadline = $6"
        " where id = $1",
        link,
        said.status.value,
        [flag.value for flag in said.flags],
        said.paid_units,
        said.settled_units,
        deadline,
    )


async def invoices_of(tx: Tx, links: Sequence[Link]) -> Mapping[LinkId, list[Alike]]:
    """Return how the invoices of links stand, as last announced: those that stand alike together.

    Of a reusable link only how many have each status and what they got play a part, and nothing else is told. There may
    be very many: these sums are kept.
    """
    found: dict[LinkId, list[Alike]] = {link.id: [] for link in links}
    once, often = ([link.id for link in links if link.reusable is reusable] for reusable in (False, True))
    rows = await tx.fetch(_EACH, once) if once else []
    rows += await tx.fetch(_SUMS, often) if often else []
    for row in rows:
        found[LinkId(row["link_id"])].append(_alike(row))
    return found


async def fold(tx: Tx) -> None:
    """Make the summands of each link and status one. To be called by one at a time."""
    await tx.execute(_FOLDING)


async def attempts(tx: Tx, link: Link, payer: Payer, now: datetime) -> list[Attempt]:
    """Return the attempts to pay a link that may matter now, newest first."""
    rows = await tx.fetch(
        """select a.payer = $2 as mine, coalesce(a.origin = $5, false) as near, a.began_at,
               a.invoice_id, i.status, i.amount_units, i.paid_units, i.expires_at
           from link_attempts a left join invoices i on i.id = a.invoice_id
           where a.link_id = $1 and a.began_at > $3 order by a.id desc limit $4""",
        link.id,
        payer.mark,
        now - max(_KEPT, timedelta(seconds=link.invoice_seconds)),
        _MOST_ATTEMPTS,
        payer.origin,
    )
    return [_attempt(row) for row in rows]


async def last_invoice(tx: Tx, link: LinkId, mark: bytes) -> InvoiceId | None:
    """Return the invoice that a payer was given last."""
    found = await tx.fetchval(
        "select invoice_id from link_attempts where link_id = $1 and payer = $2 and invoice_id is not null"
        " order by id desc limit 1",
        link,
        mark,
    )
    return None if found is None else InvoiceId(found)


async def begin_attempt(tx: Tx, link: LinkId, payer: Payer, now: datetime) -> int:
    """Note that an invoice is being made for a payer; return the attempt's number."""
    number: int = await tx.fetchval(
        "insert into link_attempts (link_id, payer, origin, began_at) values ($1, $2, $3, $4) returning id",
        link,
        payer.mark,
        payer.origin,
        now,
    )
    return number


async def end_attempt(tx: Tx, attempt: int, invoice: InvoiceId) -> None:
    """Note which invoice an attempt led to."""
    await tx.execute("update link_attempts set invoice_id = $2 where id = $1", attempt, invoice)


async def drop_attempt(tx: Tx, attempt: int) -> None:
    """Forget an attempt for which no invoice could be made."""
    await tx.execute("delete from link_attempts where id = $1 and invoice_id is null", attempt)


def _link(row: Record) -> Link:
    least, most = row["least_units"], row["most_units"]
    fixed = row["amount_units"]
    return Link(
        id=LinkId(row["id"]),
        store_id=StoreId(row["store_id"]),
        title=row["title"],
        ask=Chosen(int(least), None if most is None else int(most)) if fixed is None else Fixed(int(fixed)),
        currency=currency(row["currency"]),
        reusable=row["reusable"],
        created_at=row["created_at"],
        asset=row["asset"],
        payment_options=None if row["payment_options"] is None else tuple(row["payment_options"]),
        description=row["description"],
        reference=row["reference"],
        metadata=row["metadata"],
        show_received=row["show_received"],
        invoice_seconds=row["invoice_seconds"],
        redirect_url=row["redirect_url"],
        expires_at=row["expires_at"],
        closed_at=row["closed_at"],
    )


def _announced(row: Record) -> Announced:
    flags = tuple(Flag(flag) for flag in row["flags"])
    return Announced(Status(row["status"]), flags, int(row["paid_units"]), int(row["settled_units"]))


def _alike(row: Mapping[str, Any]) -> Alike:
    return Alike(
        InvoiceStatus(row["status"]),
        row["late"],
        row["reversed"],
        int(row["asked_units"]),
        int(row["paid_units"]),
        int(row["settled_units"]),
        int(row["count"]),
    )


def _attempt(row: Record) -> Attempt:
    begun = Attempt(row["mine"], row["began_at"], near=row["near"])
    if row["invoice_id"] is None:
        return begun
    return replace(
        begun,
        invoice=InvoiceId(row["invoice_id"]),
        status=InvoiceStatus(row["status"]),
        asked_units=int(row["amount_units"]),
        paid_units=int(row["paid_units"]),
        expires_at=row["expires_at"],
    )
