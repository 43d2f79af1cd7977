"""Invoices in the database: terms written once, standings announced, pages read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec
from asyncpg import CheckViolationError, Record
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, Outdated
from kassa.core.ids import AddressId, InvoiceId, LinkId, StoreId
from kassa.core.money import Asset, currency
from kassa.db.pool import Tx
from kassa.db.rows import as_json, hex_bytes
from kassa.events.model import NewEvent
from kassa.events.store import WAKING, WAKING_ONCE, arguments, writing
from kassa.invoices import policy as policies
from kassa.invoices.model import Announced, Decided, Decision, Flag, Option, Rule, Status, Terms
from kassa.payments.asset_store import unknown_decimals
from kassa.payments.store import read_tiers, write_tiers
from kassa.stores.store import Reading, digests
from kassa.wallets.model import NewAddress, Place


def _putting(guard: str = "") -> str:
    """Return the parts of a statement that write invoices. `guard` as in `events.store.writing`."""
    guarded = f" cross join {guard}" if guard else ""
    # The types are those of the tables themselves.
    return f"""
    invoice as (
        insert into invoices (id, store_id, amount_units, currency, created_at, expires_at, reference,
            description, metadata, customer_id, redirect_url, webhook_url, networks, link_id,
            {policies.COLUMNS}, status, deadline)
        select id, store_id, amount_units, currency, created_at, expires_at, reference,
            description, metadata, customer_id, redirect_url, webhook_url, networks, link_id,
            {policies.COLUMNS}, 'new', expires_at
        from json_populate_recordset(null::invoices, $1){guarded}
    ), issued as (
        insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id,
            created_at, seal)
        select id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id, created_at, seal
        from json_populate_recordset(null::addresses, $2){guarded}
    ), offered as (
        insert into payment_options (invoice_id, asset, network, address_id, due_units, rate, rate_source, rate_at,
            confirmations, rate_method)
        select invoice_id, asset, network, address_id, due_units, rate, rate_source, rate_at, confirmations,
            rate_method
        from json_populate_recordset(null::payment_options, $3){guarded}
    ), {writing(4, guard)}
    """


_PUT = f"with {_putting()} {WAKING}"
# An index is free as long as its keychain's counter has not passed it. All that is wanted is taken and written, or
# nothing is; nothing too when a reading is not what it was. Counters are locked in the order of their ids, as wherever
# indexes are handed out.
_PUT_GUESSED = f"""
with readings as (
    select * from json_to_recordset($7) as r (hash bytea, digest text)
), still as materialized (
    select count(*) = (select count(*) from readings) as so
    from ({digests("array(select hash from readings)")}) now_read join readings using (hash, digest)
), wanted as (
    select keychain_id, min(index) as first, max(index) + 1 as next
    from json_populate_recordset(null::addresses, $2) group by keychain_id
), held as materialized (
    select k.id, k.next_index, wanted.first, wanted.next from keychains k join wanted on wanted.keychain_id = k.id
    order by k.id for update of k
), whole as materialized (
    select from (select count(*) as n, bool_and(next_index <= first) as free from held) h
        join (select count(*) as n from wanted) w on w.n = h.n
    where h.free and (select so from still)
), taken as (
    update keychains k set next_index = held.next from held cross join whole where k.id = held.id
), {_putting("whole")}
select still.so, done.so as done, case when done.so then {WAKING_ONCE} end
from still left join (select true as so from whole) done on true
"""


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """Everything that is written of an invoice when it is made."""

    terms: Terms
    addresses: Sequence[NewAddress]
    event: NewEvent
    reading: Reading | None = None
    """Of what it was made from, where that is to be compared once more when it is written."""


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
    found: Sequence[InvoiceId] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an open invoice stands in the order in which they are gone through."""

    networks: str
    deadline: datetime
    invoice: InvoiceId


FIRST_TURN = Turn("", datetime.fromtimestamp(0, UTC), InvoiceId(""))


@dataclass(frozen=True, slots=True)
class Lock:
    """How long an invoice's rates are held, their currency, the spread they bear, and the assets that have one."""

    until: datetime
    currency: str
    spread_ppm: int
    assets: frozenset[str]


async def put(tx: "Tx | Pool[Any]", made: Sequence[NewInvoice]) -> Sequence[None]:
    """Write new invoices with their addresses, options and events: all of them or none, in one statement.

    The unique constraints on scripts and indexes refuse an address that was ever issued before.
    """
    await _put(tx, _PUT, made)
    return [None] * len(made)


async def put_guessed(pool: "Pool[Any]", made: Sequence[NewInvoice]) -> Sequence[bool]:
    """Write new invoices as `put` does, and take the indexes of their addresses, which were guessed; tell each whether.

    False for all when one of them is not free any more: then nothing was written. Outside any transaction: it holds the
    counters of their keychains until it is committed. Raises `Conflict` when a keychain has no index left, `Outdated`
    when what one was made from is not as it was read; nothing was written then either.
    """
    readings = {each.reading for each in made if each.reading is not None}
    compared = as_json([{"hash": hex_bytes(each.hash), "digest": each.digest} for each in readings])
    try:
        (written,) = await _put(pool, _PUT_GUESSED, made, compared)
    except CheckViolationError as full:
        if full.constraint_name != "keychains_next_index_check":
            raise
        raise Conflict("the wallet has issued every address it has; add another", code="wallet_exhausted") from full
    if not written["so"]:
        raise Outdated("the key, its store or what that can take has changed meanwhile")
    return [bool(written["done"])] * len(made)


async def _put(tx: "Tx | Pool[Any]", statement: str, made: Sequence[NewInvoice], *more: object) -> Sequence[Record]:
    _, announcing = arguments([each.event for each in made], made[0].terms.created_at)
    rows: Sequence[Record] = await tx.fetch(
        statement,
        as_json([_invoice_row(each.terms) for each in made]),
        as_json([_address_row(each.terms, address) for each in made for address in each.addresses]),
        as_json([_option_row(each.terms, option) for each in made for option in each.terms.options]),
        *announcing,
        *more,
    )
    return rows


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
        """select o.*, a.address, a.index, a.seal, k.descriptor, t.decimals
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


async def decisions(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Decided]]:
    """Return what people decided on invoices, in the order of deciding."""
    made: dict[InvoiceId, list[Decided]] = {}
    for row in await tx.fetch("select * from invoice_decisions where invoice_id = any($1) order by id", invoices):
        made.setdefault(InvoiceId(row["invoice_id"]), []).append(_decided(row))
    return made


async def decisions_after(tx: Tx, invoice: str, after: tuple[datetime, int], limit: int) -> list[Decided]:
    """Return what people decided on an invoice, oldest first, after a moment and number."""
    rows = await tx.fetch(
        "select * from invoice_decisions where invoice_id = $1 and (decided_at, id) > ($2, $3)"
        " order by decided_at, id limit $4",
        invoice,
        *after,
        limit,
    )
    return [_decided(row) for row in rows]


async def put_decision(tx: Tx, invoice: InvoiceId, decision: Decision, by: str, now: datetime) -> None:
    """Add a person's word on an invoice."""
    await tx.execute(
        "insert into invoice_decisions (invoice_id, decision, decided_at, decided_by) values ($1, $2, $3, $4)",
        invoice,
        decision.value,
        now,
        by,
    )


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


async def put_fault(tx: Tx, invoice: InvoiceId, assets: Sequence[str], now: datetime) -> bool:
    """Note that addresses of an invoice are not its wallets'; return False when that was noted before."""
    done = await tx.fetchval(
        "insert into address_faults (invoice_id, assets, found_at) values ($1, $2, $3) on conflict do nothing"
        " returning invoice_id",
        invoice,
        list(assets),
        now,
    )
    return done is not None


async def faults(tx: "Tx | Pool[Any]") -> list[InvoiceId]:
    """Return the invoices of which an address was not its wallet's, newest first, a hundred at most."""
    rows = await tx.fetch("select invoice_id from address_faults order by found_at desc limit 100")
    return [InvoiceId(row["invoice_id"]) for row in rows]


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


async def page(tx: Tx, store_id: StoreId, filters: Filters, before: str | None, limit: int) -> list[InvoiceId]:
    """Return the ids of a store's invoices, newest first, those before an id."""
    rows = await tx.fetch(
        """select id from invoices
           where store_id = $1 and ($2::text is null or id < $2) and ($3::text is null or status = $3)
             and ($4::text is null or reference = $4) and ($5::text is null or customer_id = $5)
             and ($6::text is null or link_id = $6)
             and ($7::timestamptz is null or created_at > $7) and ($8::timestamptz is null or created_at < $8)
             and ($9::text is null or flags @> array[$9]) and ($10::text[] is null or id = any($10))
           order by id desc limit $11""",
        store_id,
        before,
        filters.status,
        filters.reference,
        filters.customer_id,
        filters.link_id,
        filters.created_after,
        filters.created_before,
        filters.flag,
        filters.found,
        limit,
    )
    return [InvoiceId(row["id"]) for row in rows]


async def store_of(tx: Tx, invoice: str) -> StoreId | None:
    """Return the store of an invoice."""
    found = await tx.fetchval("select store_id from invoices where id = $1", invoice)
    return None if found is None else StoreId(found)


def _networks(terms: Terms) -> str:
    return " ".join(sorted({option.asset.network for option in terms.options}))


def _invoice_row(terms: Terms) -> dict[str, object]:
    return {
        "id": terms.id,
        "store_id": terms.store_id,
        "amount_units": terms.amount_units,
        "currency": terms.currency.code,
        **policies.named(terms.policy),
        "created_at": terms.created_at,
        "expires_at": terms.expires_at,
        "reference": terms.reference,
        "description": terms.description,
        "metadata": terms.metadata,
        "customer_id": terms.customer_id,
        "redirect_url": terms.redirect_url,
        "webhook_url": terms.webhook_url,
        "networks": _networks(terms),
        "link_id": terms.link_id,
    }


def _address_row(terms: Terms, address: NewAddress) -> dict[str, object]:
    return {
        "id": address.id,
        "network": address.network,
        "script": hex_bytes(address.script),
        "address": address.text,
        "watch_key": address.key,
        "keychain_id": address.keychain_id,
        "index": address.index,
        "store_id": terms.store_id,
        "invoice_id": terms.id,
        "created_at": terms.created_at,
        "seal": hex_bytes(address.seal),
    }


def _option_row(terms: Terms, option: Option) -> dict[str, object]:
    return {
        "invoice_id": terms.id,
        "asset": option.asset.id,
        "network": option.asset.network,
        "address_id": option.address_id,
        "due_units": option.due_units,
        "rate": str(option.rate),
        "rate_source": option.rate_source,
        "rate_at": option.rate_at,
        "confirmations": msgspec.Raw(write_tiers(option.tiers).encode()),
        "rate_method": msgspec.Raw(option.rate_method.encode()),
    }


def _decided(row: Mapping[str, Any]) -> Decided:
    return Decided(row["id"], Decision(row["decision"]), row["decided_at"], row["decided_by"])


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
    )


def _option(row: Mapping[str, Any]) -> Option:
    symbol, _, network = row["asset"].partition("@")
    if (decimals := row["decimals"]) is None:
        raise unknown_decimals(row["asset"])
    return Option(
        asset=Asset(symbol, network, decimals),
        address_id=AddressId(row["address_id"]),
        address=row["address"],
        place=Place(row["descriptor"], row["index"], row["seal"]),
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
