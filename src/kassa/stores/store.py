"""Stores, their API keys, and the answers kept for repeated requests: the SQL."""

import base64
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg import Record
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import KeyId, StoreId, new_id
from kassa.core.money import currency as known_currency
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.invoices.policy import COLUMNS, NOTHING, Policy, columns, read_row
from kassa.stores.branding import Branding, logo_name
from kassa.stores.model import SCOPES, ApiKey, Store
from kassa.stores.rules import SECRET_BYTES, checked_name, checked_scopes, key_hash, key_text
from kassa.wallets.store import RECEIVING, RECEIVING_FROM, RECEIVING_STEADY, Receiving, read_receiving

_BRANDING = "colour, logo_hash, frame_ancestors, redirect_origins"
_STORE = (
    "s.id, s.name, s.currency, s.livemode, s.webhook_secret, s.created_at, s.spread_ppm, s.version,"
    f" {_BRANDING}, {COLUMNS}"
)
_STORES = f"select {_STORE} from stores s"
_KEY_STEADY = f"{_STORE}, a.hash, a.id as key_id, a.scopes, a.expires_at, a.revoked_at, a.allowed_from"
_KEY = f"{_KEY_STEADY}, a.last_used_at"
_FROM_KEYS = "from api_keys a join stores s on s.id = a.store_id"
_KEYS = f"select {_KEY} {_FROM_KEYS} where a.hash = any($1::bytea[])"
_FROM_RECEIVERS = f"{_FROM_KEYS} left join ({RECEIVING_FROM}) on w.store_id = s.id"
_RECEIVERS = f"select {_KEY}, {RECEIVING} {_FROM_RECEIVERS} where a.hash = any($1::bytea[]) order by w.id desc"


def digests(hashes: str) -> str:
    """Return a query for `hash` and `digest`: one text over all of a `Receiver` that matters, for keys of some hashes.

    `hashes` is SQL for an array. The same text means that a decision would be the same, expiry apart; what moves with
    every invoice and every look at a chain is left out.
    """
    return f"""
    select r.hash, encode(sha256(convert_to(string_agg(r::text, ' ' order by r.wallet_id), 'UTF8')), 'hex') as digest
    from (
        select {_KEY_STEADY}, {RECEIVING_STEADY}, n.observed_at is null as unseen
        {_FROM_RECEIVERS} where a.hash = any({hashes})
    ) r group by r.hash
    """


ANSWERED = "a request with this Idempotency-Key was running; send it again to get its answer"

_READINGS = f"""
with receivers as (
    select {_KEY}, {RECEIVING} {_FROM_RECEIVERS} where a.hash = any($1::bytea[])
), digests as ({digests("$1::bytea[]")})
select receivers.*, digest from receivers join digests using (hash) order by wallet_id desc
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request with an `Idempotency-Key`; `request_hash` tells which request that was."""

    request_hash: bytes
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer with the store and key of its request, by which it is given again, and when it was made."""

    store_id: StoreId
    key: str
    answer: Answer
    at: datetime


Keep = Callable[[dict[str, Any]], Kept]
"""Makes of a resource (JSON) the answer that is kept for whoever sends the same request again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a key, its store and what that can take, as a text that a later statement compares."""

    hash: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """A key of a store that can take something, and when that was so."""

    key: ApiKey
    takes: list[Receiving]
    reading: Reading


async def create_store(
    tx: Tx,
    name: str,
    currency: str,
    livemode: bool,
    now: datetime,
    *,
    policy: Policy = NOTHING,
    spread_ppm: int = 0,
) -> Store:
    """Write a new store; raises `Invalid`."""
    store = Store(
        id=StoreId(new_id("sto", now)),
        name=checked_name(name),
        currency=known_currency(currency).code,
        livemode=livemode,
        policy=policy,
        webhook_secret=Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()),
        created_at=now,
        spread_ppm=spread_ppm,
    )
    await tx.execute(
        f"insert into stores (id, name, currency, livemode, webhook_secret, created_at, spread_ppm, {COLUMNS})"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        store.id, store.name, store.currency, livemode, store.webhook_secret.reveal(), now, spread_ppm,
        *columns(policy),
    )  # fmt: skip
    return store


async def change_store(tx: Tx, store_id: str, name: str, policy: Policy, spread_ppm: int, version: int) -> Store:
    """Give a store another name, policy or spread, for the invoices to come; return it.

    Raises `Conflict` (`changed_meanwhile`) when the store is no longer at `version`.
    """
    row = await tx.fetchrow(
        f"update stores s set name = $3, spread_ppm = $4, version = version + 1,"
        f" ({COLUMNS}) = ($5, $6, $7, $8, $9, $10, $11) where id = $1 and version = $2 returning {_STORE}",
        store_id, version, checked_name(name), spread_ppm, *columns(policy),
    )  # fmt: skip
    if row is None:
        raise Conflict("the store was changed meanwhile; read it again", code="changed_meanwhile")
    return _store(row)


async def change_branding(tx: Tx, store_id: str, branding: Branding) -> None:
    """Write how a store looks, but for its logo; to be done before `change_store`, which tells who was faster."""
    await tx.execute(
        "update stores set colour = $2, frame_ancestors = $3, redirect_origins = $4 where id = $1",
        store_id, branding.colour, list(branding.frame_ancestors), list(branding.redirect_origins),
    )  # fmt: skip


async def change_logo(tx: Tx, store_id: str, image: bytes | None) -> None:
    """Keep an image that `raster.cleaned` made as a store's logo, or none."""
    name = None if image is None else logo_name(image)
    await tx.execute("update stores set logo = $2, logo_hash = $3 where id = $1", store_id, image, name)


async def get_logo(tx: "Tx | Pool[Any]", name: str) -> bytes:
    """Return an image by the name that its hash gives it; raises `NotFound`."""
    image: bytes | None = await tx.fetchval("select logo from stores where logo_hash = $1 limit 1", name)
    if image is None:
        raise NotFound("there is no such logo")
    return image


async def get_store(tx: Tx, store_id: str) -> Store:
    """Return a store; raises `NotFound`."""
    row = await tx.fetchrow(f"{_STORES} where id = $1", store_id)
    if row is None:
        raise NotFound(f"there is no store {store_id!r}; see `kassa store list`")
    return _store(row)


async def colours(pool: "Pool[Any]") -> list[str]:
    """Return the colours of all stores; of more than a thousand, some."""
    rows = await pool.fetch("select distinct colour from stores where colour is not null order by 1 limit 1000")
    return [row["colour"] for row in rows]


async def get_stores(tx: Tx, store_ids: Sequence[StoreId]) -> dict[StoreId, Store]:
    """Return some stores, by id; unknown ones are left out."""
    rows = await tx.fetch(f"{_STORES} where id = any($1::text[])", store_ids)
    return {StoreId(row["id"]): _store(row) for row in rows}


async def rotate_webhook_secret(tx: Tx, store_id: str, secret: Secret, until: datetime) -> None:
    """Sign deliveries to invoices' own receivers with a new secret, and with the one before it too until a moment.

    Raises `NotFound`.
    """
    done = await tx.execute(
        "update stores set previous_webhook_secret = webhook_secret, previous_webhook_secret_until = $3,"
        " webhook_secret = $2 where id = $1",
        store_id,
        secret.reveal(),
        until,
    )
    if done != "UPDATE 1":
        raise NotFound(f"there is no store {store_id!r}; see `kassa store list`")


async def currencies_of(tx: Tx, store_ids: Sequence[StoreId]) -> dict[StoreId, str]:
    """Return the currencies that stores price in."""
    rows = await tx.fetch("select id, currency from stores where id = any($1::text[])", store_ids)
    return {StoreId(row["id"]): row["currency"] for row in rows}


async def list_stores(tx: Tx) -> list[Store]:
    """Return every store, oldest first: for the operator, never for a tenant."""
    return [_store(row) for row in await tx.fetch(f"{_STORES} order by id")]


async def set_spread(tx: Tx, store_id: str, spread_ppm: int) -> None:
    """Set by how much the rates of a store are lowered from now on; open invoices keep theirs. Raises `NotFound`."""
    if await tx.execute("update stores set spread_ppm = $2 where id = $1", store_id, spread_ppm) != "UPDATE 1":
        raise NotFound(f"there is no store {store_id!r}; see `kassa store list`")


async def currencies(tx: "Tx | Pool[Any]") -> list[str]:
    """Return every currency that some store prices in."""
    return [row["currency"] for row in await tx.fetch("select distinct currency from stores order by 1")]


async def create_key(
    tx: Tx,
    store: Store,
    now: datetime,
    *,
    scopes: Iterable[str] = SCOPES,
    label: str = "",
    expires_at: datetime | None = None,
    allowed_from: Sequence[str] = (),
) -> tuple[KeyId, str]:
    """Make an API key and return its id and its text: the only time the text exists outside the caller's hands."""
    text = key_text(store.livemode, secrets.token_bytes(SECRET_BYTES))
    key_id = KeyId(new_id("key", now))
    await tx.execute(
        "insert into api_keys (id, store_id, hash, scopes, label, created_at, expires_at, allowed_from)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        key_id, store.id, key_hash(text), list(checked_scopes(scopes)), label, now, expires_at,
        list(allowed_from),
    )  # fmt: skip
    return key_id, text


async def find_keys(pool: "Pool[Any]", hashes: Sequence[bytes]) -> Sequence[ApiKey | None]:
    """Return the keys of some hashes with their stores, revoked and expired ones too.

    Nothing is cached, so revocation is instant. Found by the unique index over hashes of 256 random bits, so the time
    taken tells nothing about a key.
    """
    found = {row["hash"]: _key(row) for row in await pool.fetch(_KEYS, list(set(hashes)))}
    return [found.get(each) for each in hashes]


async def find_receivers(
    pool: "Pool[Any]", hashes: Sequence[bytes]
) -> Sequence[tuple[ApiKey, Sequence[Receiving]] | None]:
    """Return the keys of some hashes, as `find_keys` does, each with what its store can take.

    Whoever makes an invoice needs both, and two questions cost twice as much as one.
    """
    found: dict[bytes, tuple[ApiKey, list[Receiving]]] = {}
    for row in await pool.fetch(_RECEIVERS, list(set(hashes))):
        if row["hash"] not in found:
            found[row["hash"]] = _key(row), []
        if row["wallet_id"] is not None:
            found[row["hash"]][1].append(read_receiving(row))
    return [found.get(each) for each in hashes]


async def read_receivers(pool: "Pool[Any]", hashes: Sequence[bytes]) -> Sequence["Receiver | None"]:
    """Return what `find_receivers` does, each with its reading."""
    found: dict[bytes, Receiver] = {}
    for row in await pool.fetch(_READINGS, list(set(hashes))):
        receiver = found.get(row["hash"])
        if receiver is None:
            receiver = found[row["hash"]] = Receiver(_key(row), [], Reading(row["hash"], row["digest"]))
        if row["wallet_id"] is not None:
            receiver.takes.append(read_receiving(row))
    return [found.get(each) for each in hashes]


async def list_keys(tx: Tx, store_id: str) -> list[Record]:
    """Return id, label, scopes, networks and the four moments of each key of a store, oldest first.

    The keys are not kept.
    """
    rows: list[Record] = await tx.fetch(
        "select id, label, scopes, allowed_from, created_at, expires_at, revoked_at, last_used_at from api_keys"
        " where store_id = $1 order by id",
        store_id,
    )
    return rows


async def key_since(tx: Tx, store_id: str, key_id: str) -> datetime | None:
    """Return when a key of a store was made; None for what is no key of it."""
    made: datetime | None = await tx.fetchval(
        "select created_at from api_keys where id = $1 and store_id = $2", key_id, store_id
    )
    return made


async def revoke_key(tx: Tx, key_id: str, now: datetime, *, store_id: str | None = None) -> StoreId:
    """End a key at once and return whose it was; a key that is revoked already keeps its first time.

    Raises `NotFound`; also for a key of another store than the one that is named.
    """
    owner = await tx.fetchval(
        "update api_keys set revoked_at = coalesce(revoked_at, $2), seal = null"
        " where id = $1 and ($3::text is null or store_id = $3) returning store_id",
        key_id,
        now,
        store_id,
    )
    if owner is None:
        raise NotFound(f"there is no key {key_id!r}; see `kassa key list --store sto_…`")
    return StoreId(owner)


async def lock_key(tx: Tx, key_id: str, store_id: str | None) -> tuple[StoreId, tuple[str, ...]]:
    """Keep others from changing a key; return whose it is and the networks that it may be used from.

    Raises `NotFound` as `revoke_key` does, and `Conflict` for one that was revoked.
    """
    row = await tx.fetchrow(
        "select store_id, allowed_from, revoked_at from api_keys"
        " where id = $1 and ($2::text is null or store_id = $2) for update",
        key_id,
        store_id,
    )
    if row is None:
        raise NotFound(f"there is no key {key_id!r}; see `kassa key list --store sto_…`")
    if row["revoked_at"] is not None:
        raise Conflict("this key was revoked: make a new one")
    return StoreId(row["store_id"]), tuple(row["allowed_from"])


async def bind_key(tx: Tx, key_id: str, allowed_from: Sequence[str]) -> None:
    """Let a key that was locked be used from these networks alone, at once; from none: from anywhere."""
    await tx.execute("update api_keys set allowed_from = $2 where id = $1", key_id, allowed_from)


async def note_use(pool: "Pool[Any]", keys: Sequence[KeyId], now: datetime) -> None:
    """Write when keys were last used: in a transaction of its own, rows locked in id order."""
    await pool.execute(
        "with chosen as (select id from api_keys where id = any($1::text[]) order by id for update)"
        " update api_keys k set last_used_at = greatest(k.last_used_at, $2) from chosen where k.id = chosen.id",
        keys,
        now,
    )


async def recall(pool: "Tx | Pool[Any]", asked: Sequence[tuple[StoreId, str]]) -> Sequence[Answer | None]:
    """Return the answers that were committed under `Idempotency-Key`s of stores."""
    rows = await pool.fetch(
        """select store_id, key, request_hash, status, body from idempotency_keys
           join unnest($1::text[], $2::text[]) as a (store_id, key) using (store_id, key)""",
        [store for store, _ in asked],
        [key for _, key in asked],
    )
    found = {(row["store_id"], row["key"]): Answer(row["request_hash"], row["status"], row["body"]) for row in rows}
    return [found.get(each) for each in asked]


async def remember(tx: Tx, answers: Sequence[Kept]) -> None:
    """Keep answers in the transaction of the work that they answer.

    Waits for other transactions that write the same keys. Raises `Conflict` (`idempotency_in_progress`) when one of
    those committed, or two answers have one key: roll back, then `recall`.
    """
    kept = sorted(answers, key=lambda each: (each.store_id, each.key))
    done = await tx.execute(
        """insert into idempotency_keys (store_id, key, request_hash, status, body, created_at)
           select * from unnest($1::text[], $2::text[], $3::bytea[], $4::int[], $5::bytea[], $6::timestamptz[])
           on conflict (store_id, key) do nothing""",
        [each.store_id for each in kept],
        [each.key for each in kept],
        [each.answer.request_hash for each in kept],
        [each.answer.status for each in kept],
        [each.answer.body for each in kept],
        [each.at for each in kept],
    )
    if done != f"INSERT 0 {len(kept)}":
        raise Conflict(ANSWERED, code="idempotency_in_progress")


async def forget_answers(tx: Tx, before: datetime, limit: int) -> int:
    """Delete up to `limit` answers that were kept since before a moment; return how many."""
    done: str = await tx.execute(
        """delete from idempotency_keys where (store_id, key) in (
               select store_id, key from idempotency_keys where created_at < $1 order by created_at limit $2
               for update skip locked)""",
        before,
        limit,
    )
    return int(done.removeprefix("DELETE "))


def _key(row: Record) -> ApiKey:
    return ApiKey(
        id=KeyId(row["key_id"]),
        store=_store(row),
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        allowed_from=tuple(row["allowed_from"]),
    )


def _store(row: Record) -> Store:
    return Store(
        id=StoreId(row["id"]),
        name=row["name"],
        currency=row["currency"],
        livemode=row["livemode"],
        policy=read_row(row),
        webhook_secret=Secret(row["webhook_secret"]),
        created_at=row["created_at"],
        spread_ppm=row["spread_ppm"],
        version=row["version"],
        branding=Branding(
            row["colour"], row["logo_hash"], tuple(row["frame_ancestors"]), tuple(row["redirect_origins"])
        ),
    )
