"""Invoices as they are made: terms, addresses, options and events, written once and in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from asyncpg import CheckViolationError, Record, UniqueViolationError
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, Outdated
from kassa.db.pool import Tx
from kassa.db.rows import as_json, hex_bytes
from kassa.events.model import NewEvent
from kassa.events.store import WAKING, WAKING_ONCE, arguments, writing
from kassa.invoices import policy as policies
from kassa.invoices.model import Option, Terms
from kassa.payments.store import write_tiers
from kassa.stores.store import ANSWERED, Kept, Reading, digests
from kassa.wallets.model import NewAddress


def _putting(guard: str = "") -> str:
    """Return the parts of a statement that write invoices. `guard` as in `events.store.writing`."""
    guarded = f" cross join {guard}" if guard else ""
    # The types are those of the tables themselves.
    return f"""
    invoice as (
        insert into invoices (id, store_id, amount_units, currency, created_at, expires_at, reference,
            description, metadata, customer_id, redirect_url, webhook_url, networks, link_id, seal,
            {policies.COLUMNS}, status, deadline)
        select id, store_id, amount_units, currency, created_at, expires_at, reference,
            description, metadata, customer_id, redirect_url, webhook_url, networks, link_id, seal,
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
    ), kept as (
        insert into idempotency_keys (store_id, key, request_hash, status, body, created_at)
        select store_id, key, request_hash, status, body, created_at
        from json_populate_recordset(null::idempotency_keys, $8){guarded}
    ), {writing(4, guard)}
    """


_PUT = f"with {_putting()} {WAKING}"
# Indexes are taken when they go on from their keychain's counter without a hole: what is passed over is never issued,
# and more of it than the gap limit would hide coins from the merchant's own wallet. So whoever guessed on a line that
# lost to another process is refused with it. All that is wanted is taken and written, or nothing is; nothing too when
# a reading is not what it was. Counters are locked in the order of their ids, as wherever indexes are handed out.
_PUT_GUESSED = f"""
with readings as (
    select * from json_to_recordset($9) as r (hash bytea, digest text)
), still as materialized (
    select count(*) = (select count(*) from readings) as so
    from ({digests("array(select hash from readings)")}) now_read join readings using (hash, digest)
), wanted as (
    select keychain_id, min(index) as first, max(index) + 1 as next, count(distinct index) as n
    from json_populate_recordset(null::addresses, $2) group by keychain_id
), held as materialized (
    select k.id, wanted.next, k.next_index = wanted.first and wanted.next = wanted.first + wanted.n as follows
    from keychains k join wanted on wanted.keychain_id = k.id
    order by k.id for update of k
), whole as materialized (
    select from (select count(*) as n, bool_and(follows) as free from held) h
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
    seal: bytes
    reading: Reading | None = None
    """Of what it was made from, where that is to be compared once more when it is written."""
    kept: Kept | None = None
    """The answer for whoever sends the same order again."""


async def put(tx: "Tx | Pool[Any]", made: Sequence[NewInvoice]) -> Sequence[None]:
    """Write new invoices with their addresses, options and events: all of them or none, in one statement.

    The unique constraints on scripts and indexes refuse an address that was ever issued before. Raises `Conflict`
    (`idempotency_in_progress`) when an answer to one of the orders is kept already: nothing may be committed then.
    """
    await _put(tx, _PUT, made)
    return [None] * len(made)


async def put_guessed(pool: "Pool[Any]", made: Sequence[NewInvoice]) -> Sequence[bool]:
    """Write new invoices as `put` does, and take the indexes of their addresses, which were guessed; tell each whether.

    False for all when one of them does not follow on its keychain's counter: then nothing was written. Outside any
    transaction: it holds the counters of their keychains until it is committed. Raises `Conflict` when a keychain has
    no index left or an answer is kept already (as `put` does), `Outdated` when what one was made from is not as it was
    read; nothing was written then either.
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
    # In this order, so that none waits for one who waits for it.
    answers = sorted((each.kept for each in made if each.kept), key=lambda kept: (kept.store_id, kept.key))
    try:
        rows: Sequence[Record] = await tx.fetch(
            statement,
            as_json([_invoice_row(each.terms, each.seal) for each in made]),
            as_json([_address_row(each.terms, address) for each in made for address in each.addresses]),
            as_json([_option_row(each.terms, option) for each in made for option in each.terms.options]),
            *announcing,
            as_json([_kept_row(kept) for kept in answers]),
            *more,
        )
    except UniqueViolationError as repeat:
        if repeat.constraint_name != "idempotency_keys_key":
            raise
        raise Conflict(ANSWERED, code="idempotency_in_progress") from repeat
    return rows


def _networks(terms: Terms) -> str:
    return " ".join(sorted({option.asset.network for option in terms.options}))


def _invoice_row(terms: Terms, seal: bytes) -> dict[str, object]:
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
        "seal": hex_bytes(seal),
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


def _kept_row(kept: Kept) -> dict[str, object]:
    return {
        "store_id": kept.store_id,
        "key": kept.key,
        "request_hash": hex_bytes(kept.answer.request_hash),
        "status": kept.answer.status,
        "body": hex_bytes(kept.answer.body),
        "created_at": kept.at,
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
