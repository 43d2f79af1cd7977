"""Invoices in the database: read by their ids or by the page, locked, and announced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from kassa.core.ids import AddressId, InvoiceId, LinkId, StoreId, first_id
from kassa.core.money import Asset, currency
from kassa.db.pool import Tx
from kassa.invoices import policy as policies
from kassa.invoices.flags import sets_with, write_set
from kassa.invoices.model import Announced, Flag, Option, Rule, Status, Terms
from kassa.payments.asset_store import unknown_decimals
from kassa.payments.store import read_tiers
from kassa.wallets.model import Place

_NEAR = timedelta(hours=1)
"""An id was made within this time of what it belongs to."""
_FIRST, _LAST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which invoices of a store to list; None: any."""

    status: str | None = None
    reference: str | None = None
    customer_id: str | None = None
    link_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    flag: str | None = None
    waiting: bool = False
    found: Sequence[InvoiceId] | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """How long an invoice's rates are held, their currency, the spread they bear, and the assets that have one."""

    until: datetime
    currency: str
    spread_ppm: int
    assets: frozenset[str]


async def lock(tx: Tx, invoices: Sequence[InvoiceId]) -> None:
    """Lock invoices, in id order.

    Not against payments that refer to them: two networks' followers that each wrote one would wait for each other.
    """
    await tx.execute("select from invoices where id = any($1) order by id for no key update", sorted(invoices))


async def hold(tx: Tx, store_id: StoreId, invoice: InvoiceId) -> bool:
    """Lock an invoice of a store; return False for one of another store, which is neither locked nor waited for."""
    found = await tx.fetchval(
        "select true from invoices where id = $1 and store_id = $2 for no key update", invoice, store_id
    )
    return found is not None


PATIENCE = "200ms"
"""So long those who share a transaction wait together for what somebody else holds; then each goes alone."""


async def hold_free(tx: Tx, asked: Sequence[tuple[StoreId, InvoiceId]]) -> set[InvoiceId]:
    """Lock invoices of stores, in id order, and return them; not those that somebody else holds.

    The transaction then waits for no other lock for longer than `PATIENCE`: it raises `LockNotAvailableError`.
    """
    rows = await tx.fetch(
        f"""select i.id, set_config('lock_timeout', '{PATIENCE}', true)
           from invoices i join unnest($1::text[], $2::text[]) as a (store_id, id) using (store_id, id)
           order by i.id for no key update of i skip locked""",
        [store for store, _ in asked],
        [id_ for _, id_ in asked],
    )
    return {InvoiceId(row["id"]) for row in rows}


async def load(
    tx: Tx, invoices: Sequence[InvoiceId], *, store_id: StoreId | None = None
) -> list[tuple[Terms, Announced]]:
    """Read invoices with their options (in the order of `invoices`; of one store, if given; unknown ones are left out).

    Their assets have the decimals that their amounts were written with, configured or not.
    """
    rows = await tx.fetch(
        """select i.*, s.livemode, s.currency as store_currency from invoices i join stores s on s.id = i.store_id
           where i.id = any($1) and ($2::text is null or i.store_id = $2)""",
        invoices,
        store_id,
    )
    options = await tx.fetch(
        """select o.*, a.address, a.index, a.seal, a.script, a.watch_key, k.descriptor, t.decimals
           from payment_options o join addresses a on a.id = o.address_id join keychains k on k.id = a.keychain_id
           left join assets t on t.id = o.asset
           where o.invoice_id = any($1) order by o.asset""",
        invoices,
    )
    of_invoice: dict[str, list[Option]] = {}
    for option in options:
        of_invoice.setdefault(option["invoice_id"], []).append(_option(option))
    found = {row["id"]: row for row in rows}
    return [
        (_terms(found[id_], tuple(of_invoice.get(id_, ()))), _announced(found[id_])) for id_ in invoices if id_ in found
    ]


async def announce(tx: Tx, said: Sequence[tuple[InvoiceId, Announced]]) -> None:
    """Store what was announced of invoices."""
    if not said:
        return
    await tx.execute(
        """update invoices i set status = s.status, flags = string_to_array(s.flags, ' '),
               rules = string_to_array(s.rules, ' '), is_final = s.is_final, paid_units = s.paid,
               settled_units = s.settled, settled_at = s.settled_at, deadline = s.deadline
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::numeric[], $7::numeric[],
               $8::timestamptz[], $9::timestamptz[])
               as s (id, status, flags, rules, is_final, paid, settled, settled_at, deadline)
           where i.id = s.id""",
        [id_ for id_, _ in said],
        [a.status.value for _, a in said],
        [" ".join(a.flags) for _, a in said],
        [" ".join(a.rules) for _, a in said],
        [a.is_final for _, a in said],
        [a.paid_units for _, a in said],
        [a.settled_units for _, a in said],
        [a.settled_at for _, a in said],
        [a.deadline for _, a in said],
    )


async def locks(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, Lock]:
    """Return which rates of invoices are held, until when, and what a later payment is valued by."""
    rows = await tx.fetch(
        """select i.id, i.expires_at, i.currency,
               -- The invoice's own: its store may have been given another since.
               coalesce((select max((rate_method ->> 'spread_ppm')::integer) from payment_options
                   where invoice_id = i.id), s.spread_ppm) as spread_ppm,
               array(select asset from payment_options where invoice_id = i.id) as assets
           from invoices i join stores s on s.id = i.store_id where i.id = any($1)""",
        invoices,
    )
    return {
        InvoiceId(row["id"]): Lock(row["expires_at"], row["currency"], row["spread_ppm"], frozenset(row["assets"]))
        for row in rows
    }


# Ids begin with when invoices were made: of some days nothing else is read.
_WANTED = """store_id = $1 and ($2::text is null or id < $2) and ($3::text is null or status = $3)
    and ($4::text is null or reference = $4) and ($5::text is null or customer_id = $5)
    and ($6::text is null or link_id = $6)
    and ($7::timestamptz is null or created_at > $7) and ($8::timestamptz is null or created_at < $8)
    and ($9::text[] is null or id = any($9))
    and ($10::text is null or id >= $10) and ($11::text is null or id < $11)"""
WAITING = """flags <> '{}' and not flags @> '{marked}'
    and (flags @> '{reversed}' or rules && '{short.flag}' or (flags @> '{overpaid}' and rules && '{over.flag}')
        or (status = 'expired' and rules && '{late.flag,late.rate}' and not rules && '{short.credit}'))"""
"""Of an invoice: a person has to decide. Not where its policy did, and accepted or credited what came.

Where the price was there without what came late, only what is over is to be decided.
"""
_PAGE = f"select id from invoices where {_WANTED} order by id desc limit $12"
_PAGE_OF_FLAGS = """select found.id from unnest($13::text[]) as s (flags) cross join lateral (
        select id from invoices where flags = s.flags::text[] and {having} and {wanted} order by id desc limit $12
    ) as found order by id desc limit $12"""
_PAGE_OF_FLAG = _PAGE_OF_FLAGS.format(having="flags <> '{}'", wanted=_WANTED)
_PAGE_OF_WAITING = _PAGE_OF_FLAGS.format(having=WAITING, wanted=_WANTED)


async def page(tx: Tx, store_id: StoreId, filters: Filters, before: str | None, limit: int) -> list[InvoiceId]:
    """Return the ids of a store's invoices, newest first, those before an id."""
    given = (
        store_id,
        before,
        filters.status,
        filters.reference,
        filters.customer_id,
        filters.link_id,
        filters.created_after,
        filters.created_before,
        filters.found,
        _id_near(filters.created_after, -_NEAR),
        _id_near(filters.created_before, _NEAR),
        limit,
    )
    if filters.flag is None and not filters.waiting:
        rows = await tx.fetch(_PAGE, *given)
    else:
        flag = None if filters.flag is None else Flag(filters.flag)
        sets = [write_set(each) for each in sets_with(flag, undecided=filters.waiting)]
        rows = await tx.fetch(_PAGE_OF_WAITING if filters.waiting else _PAGE_OF_FLAG, *given, sets)
    return [InvoiceId(row["id"]) for row in rows]


def _id_near(at: datetime | None, by: timedelta) -> str | None:
    return None if at is None else first_id("inv", min(max(at, _FIRST), _LAST) + by)


async def store_of(tx: Tx, invoice: str) -> StoreId | None:
    """Return the store of an invoice."""
    found = await tx.fetchval("select store_id from invoices where id = $1", invoice)
    return None if found is None else StoreId(found)


def _terms(row: Mapping[str, Any], options: tuple[Option, ...]) -> Terms:
    return Terms(
        id=InvoiceId(row["id"]),
        store_id=StoreId(row["store_id"]),
        livemode=row["livemode"],
        amount_units=int(row["amount_units"]),
        currency=currency(row["currency"]),
        policy=policies.read_row(row),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        options=options,
        store_currency=currency(row["store_currency"]),
        reference=row["reference"],
        description=row["description"],
        metadata=row["metadata"],
        customer_id=row["customer_id"],
        redirect_url=row["redirect_url"],
        webhook_url=row["webhook_url"],
        link_id=None if row["link_id"] is None else LinkId(row["link_id"]),
        seal=row["seal"],
    )


def _option(row: Mapping[str, Any]) -> Option:
    symbol, _, network = row["asset"].partition("@")
    if (decimals := row["decimals"]) is None:
        raise unknown_decimals(row["asset"])
    return Option(
        asset=Asset(symbol, network, decimals),
        address_id=AddressId(row["address_id"]),
        address=row["address"],
        place=Place(row["descriptor"], row["index"], row["seal"], row["script"], row["watch_key"]),
        due_units=int(row["due_units"]),
        rate=Fraction(row["rate"]),
        rate_source=row["rate_source"],
        rate_at=row["rate_at"],
        tiers=read_tiers(row["confirmations"]),
        rate_method=row["rate_method"],
    )


def _announced(row: Mapping[str, Any]) -> Announced:
    return Announced(
        status=Status(row["status"]),
        flags=tuple(Flag(flag) for flag in row["flags"]),
        rules=tuple(Rule(rule) for rule in row["rules"]),
        is_final=row["is_final"],
        paid_units=int(row["paid_units"]),
        settled_units=int(row["settled_units"]),
        settled_at=row["settled_at"],
        deadline=row["deadline"],
    )
