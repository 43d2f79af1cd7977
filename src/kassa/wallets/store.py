"""Wallets, keychains and the addresses issued from them: the SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Any, Protocol

from asyncpg import CheckViolationError, Record, UniqueViolationError
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import AddressId, CustomerId, InvoiceId, StoreId, WalletId, new_id
from kassa.db.pool import Tx
from kassa.wallets.model import Owner, Unissued, Wallet
from kassa.wallets.seal import Seal

_WALLET = (
    "select w.id, w.store_id, w.network, w.keychain_id, w.created_at, w.seal, w.retired_at,"
    " k.descriptor, k.fingerprint, k.next_index, k.networks"
    " from wallets w join keychains k on k.id = w.keychain_id"
)

# The row lock of a keychain is what parallel invoices of a store queue for, so this commit does not wait for the disk
# (synchronous_commit off, for this transaction only). Safe: the log is flushed in order, therefore the later, durable
# commit of the invoice that uses the index takes this one to disk with it; and an index whose invoice was never
# committed was shown to nobody, so losing it in a crash loses nothing.
# The CTE is materialised and read, otherwise it would not be evaluated; rows are locked in the order of their ids.
_ALLOCATE = """
with relaxed as materialized (select set_config('synchronous_commit', 'off', true) as value),
asked as (
    select id, count(*) as n from unnest($1::bigint[]) as id group by id
), chosen as (
    select keychains.id, asked.n from keychains join asked on asked.id = keychains.id, relaxed
    where relaxed.value = 'off'
    order by keychains.id for update of keychains
)
update keychains k set next_index = k.next_index + chosen.n from chosen where k.id = chosen.id
returning k.id, k.next_index - chosen.n as first
"""


class Account(Protocol):
    """A wallet's canonical descriptor and its fingerprint: what `Addresses.account` returns."""

    @property
    def descriptor(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


RECEIVING_STEADY = """
w.id as wallet_id, w.store_id as wallet_store_id, w.network, w.keychain_id, w.created_at as wallet_created_at, w.seal,
    k.descriptor, k.fingerprint, k.networks,
    n.state <> 'halted' and n.lease_until < now() - interval '60 seconds' as forsaken,
    n.node_behind, n.state,
    exists (select from restraints r where r.network = w.network and r.asset is null and r.kind <> 'raised'
        and r.lifted_at is null and (r.store_id is null or r.store_id = w.store_id)) as held,
    array(select c.asset from contracts c where c.network = w.network and c.frozen_for is not null
        union select r.asset from restraints r where r.network = w.network and r.asset is not null
            and r.kind <> 'raised' and r.lifted_at is null and (r.store_id is null or r.store_id = w.store_id)
        order by 1
    ) as frozen
"""
"""Those of `RECEIVING` that change only when something happens, the same text for the same state."""
RECEIVING = f"{RECEIVING_STEADY}, k.next_index, n.observed_at"
"""The columns of `read_receiving`, of `RECEIVING_FROM`."""
RECEIVING_FROM = (
    "(select * from wallets where retired_at is null) w join keychains k on k.id = w.keychain_id"
    " left join networks n on n.id = w.network"
)
_RECEIVING = f"select {RECEIVING} from {RECEIVING_FROM} where w.store_id = any($1::text[]) order by w.id desc"


@dataclass(frozen=True, slots=True)
class Issued:
    """An address that was issued from a wallet."""

    id: AddressId
    address: str
    index: int
    invoice_id: InvoiceId | None
    customer_id: CustomerId | None
    created_at: datetime
    seal: bytes | None

    @property
    def owner(self) -> str:
        """Whom it was issued for, as its seal says it."""
        return self.invoice_id or self.customer_id or ""


@dataclass(frozen=True, slots=True)
class Keychain:
    """A descriptor in a space of networks and its counter."""

    id: int
    space: str
    descriptor: str
    next_index: int
    created_at: datetime
    networks: Sequence[str] = ()
    fingerprint: str = ""


async def add_wallet(
    tx: Tx, store_id: str, network: str, space: str, account: Account, seal: Seal, now: datetime
) -> Wallet:
    """Give a store a wallet on a network; the keychain of a descriptor is made once and shared, with its one counter.

    `space` is `Chain.space`: the networks in which the keychain's addresses are the same.

    Raises `Conflict` when the store has a wallet on this network.
    """
    keychain = await tx.fetchrow(
        "insert into keychains as k (space, descriptor, fingerprint, created_at, networks)"
        " values ($1, $2, $3, $4, array[$5::text])"
        " on conflict on constraint keychains_descriptor do update"
        " set networks = array(select distinct unnest(k.networks || excluded.networks) order by 1)"
        " returning id, fingerprint, next_index, networks",
        space, account.descriptor, account.fingerprint, now, network,
    )  # fmt: skip
    id_ = WalletId(new_id("wal", now))
    wallet = Wallet(
        id=id_,
        store_id=StoreId(store_id),
        network=network,
        keychain_id=keychain["id"],
        descriptor=account.descriptor,
        fingerprint=keychain["fingerprint"],
        next_index=keychain["next_index"],
        created_at=now,
        seal=seal.of_wallet(id_, store_id, network, account.descriptor),
        networks=tuple(keychain["networks"]),
    )
    try:
        await tx.execute(
            "insert into wallets (id, store_id, network, keychain_id, created_at, seal)"
            " values ($1, $2, $3, $4, $5, $6)",
            wallet.id, store_id, network, wallet.keychain_id, now, wallet.seal,
        )  # fmt: skip
    except UniqueViolationError as repeat:
        if repeat.constraint_name != "wallets_network":
            raise
        raise Conflict(f"the store already has a wallet on {network}", code="wallet_exists") from repeat
    return wallet


async def wallets_of(
    tx: "Tx | Pool[Any]",
    store_id: str,
    *,
    before: str | None = None,
    limit: int | None = None,
    retired: bool = False,
) -> list[Wallet]:
    """Return a store's wallets, newest first, those before an id; `retired` ones too, if told so."""
    rows = await tx.fetch(
        f"{_WALLET} where w.store_id = $1 and ($2::text is null or w.id < $2) and ($4 or w.retired_at is null)"
        " order by w.id desc limit $3",
        store_id,
        before,
        limit,
        retired,
    )
    return [_wallet(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Receiving:
    """A wallet, and how its network is followed: what is needed to offer it. None: the network has no row yet."""

    wallet: Wallet
    state: str | None
    observed_at: datetime | None
    node_behind: bool | None
    forsaken: bool | None  # nobody has followed it for a minute
    held: bool  # by Kassa itself, because of an alert
    frozen: frozenset[str]  # assets about which there is a doubt


async def receiving(pool: "Tx | Pool[Any]", store_ids: Sequence[str]) -> Sequence[Sequence[Receiving]]:
    """Return the wallets of each store, newest first, with the states of their networks: invoices wait for it."""
    found: dict[str, list[Receiving]] = {store_id: [] for store_id in store_ids}
    for row in await pool.fetch(_RECEIVING, list(found)):
        found[row["wallet_store_id"]].append(read_receiving(row))
    return [found[store_id] for store_id in store_ids]


def read_receiving(row: Record) -> Receiving:
    """Read the columns `RECEIVING`."""
    wallet = Wallet(
        id=WalletId(row["wallet_id"]),
        store_id=StoreId(row["wallet_store_id"]),
        network=row["network"],
        keychain_id=row["keychain_id"],
        descriptor=row["descriptor"],
        fingerprint=row["fingerprint"],
        next_index=row["next_index"],
        created_at=row["wallet_created_at"],
        seal=row["seal"],
        networks=tuple(row["networks"]),
    )
    frozen = frozenset(row["frozen"])
    return Receiving(wallet, row["state"], row["observed_at"], row["node_behind"], row["forsaken"], row["held"], frozen)


async def get_wallet(tx: "Tx | Pool[Any]", store_id: str, wallet_id: str) -> Wallet:
    """Return a store's wallet; raises `NotFound`."""
    row = await tx.fetchrow(f"{_WALLET} where w.store_id = $1 and w.id = $2", store_id, wallet_id)
    if row is None:
        raise NotFound("there is no such wallet in this store")
    return _wallet(row)


async def allocate(pool: "Tx | Pool[Any]", keychain_ids: Sequence[int]) -> Sequence[int]:
    """Hand out the next index of each keychain, once and for ever, in a transaction of its own.

    A keychain that is named more than once gives as many indexes, in order. `pool` may be a connection outside any
    transaction; inside one the row lock would last as long as that. Raises `Conflict` when a keychain has too few
    indexes left (of 2**31), `NotFound` when there is no such keychain; nothing was handed out then.
    """
    try:
        rows = await pool.fetch(_ALLOCATE, keychain_ids)
    except CheckViolationError as full:
        raise Conflict("the wallet has issued every address it has; add another", code="wallet_exhausted") from full
    following = {row["id"]: count(row["first"]) for row in rows}
    if missing := set(keychain_ids) - following.keys():
        raise NotFound(f"there is no keychain {min(missing)}")
    return [next(following[keychain]) for keychain in keychain_ids]


async def allocate_each(pool: "Tx | Pool[Any]", orders: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """Hand out the next index of every keychain of each order; see `allocate`."""
    given = iter(await allocate(pool, [keychain for order in orders for keychain in order]))
    return [list(islice(given, len(order))) for order in orders]


async def keychains(tx: "Tx | Pool[Any]", network: str | None = None) -> list[Keychain]:
    """Return every keychain of every store (those used on one network, if given), in the order of their ids."""
    rows = await tx.fetch(
        "select id, space, descriptor, next_index, created_at, networks, fingerprint from keychains k"
        " where $1::text is null or exists (select from wallets w where w.keychain_id = k.id and w.network = $1)"
        " order by id",
        network,
    )
    return [Keychain(**row) for row in rows]


async def keychain(tx: "Tx | Pool[Any]", keychain_id: int) -> Keychain:
    """Return a keychain; raises `NotFound`."""
    row = await tx.fetchrow(
        "select id, space, descriptor, next_index, created_at, networks, fingerprint from keychains where id = $1",
        keychain_id,
    )
    if row is None:
        raise NotFound(f"there is no keychain {keychain_id}")
    return Keychain(**row)


async def jump(tx: Tx, keychain_id: int, to_index: int, reason: str) -> bool:
    """Move a counter up to `to_index` and keep why; return False when it stands there or higher."""
    from_index = await tx.fetchval("select next_index from keychains where id = $1 for update", keychain_id)
    if from_index is None or from_index >= to_index:
        return False
    await tx.execute("update keychains set next_index = $2 where id = $1", keychain_id, to_index)
    await tx.execute(
        "insert into keychain_jumps (keychain_id, from_index, to_index, reason) values ($1, $2, $3, $4)",
        keychain_id,
        from_index,
        to_index,
        reason,
    )
    return True


@dataclass(frozen=True, slots=True)
class Jump:
    """A keychain's counter went from one index to another, past what an earlier life may have issued."""

    id: int
    keychain_id: int
    descriptor: str
    from_index: int
    to_index: int


async def jumps(pool: "Pool[Any]", network: str, known: Collection[int]) -> list[Jump]:
    """Return the jumps of the keychains of a network but those known by their ids, the latest first."""
    rows = await pool.fetch(
        """select j.id, k.id as keychain_id, k.descriptor, j.from_index, j.to_index
           from keychain_jumps j join keychains k on k.id = j.keychain_id
           where not j.id = any($2::bigint[])
               and exists (select from wallets w where w.keychain_id = k.id and w.network = $1)
           order by j.id desc""",
        network,
        known,
    )
    return [Jump(*row.values()) for row in rows]


async def adopt(tx: Tx, network: str, unissued: Unissued, margin: int, now: datetime) -> Owner:
    """Keep an address that the chain showed before we issued it, as nobody's, and move its counter past it."""
    await jump(
        tx, unissued.keychain_id, min(unissued.index + 1 + margin, 2**31), f"the chain paid index {unissued.index}"
    )
    id_ = AddressId(new_id("adr", now))
    await tx.execute(
        "insert into addresses (id, network, script, address, watch_key, keychain_id, index, created_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        id_, network, unissued.script, unissued.text, unissued.key, unissued.keychain_id, unissued.index, now,
    )  # fmt: skip
    return Owner(id_, network, unissued.script, None, None)


async def every_wallet(tx: Tx) -> list[Wallet]:
    """Return the wallets of every store that still issue addresses."""
    return [_wallet(row) for row in await tx.fetch(f"{_WALLET} where w.retired_at is null order by w.id")]


async def stores_on(tx: Tx, network: str) -> list[StoreId]:
    """Return the stores that have a wallet on a network."""
    rows = await tx.fetch("select distinct store_id from wallets where network = $1 order by store_id", network)
    return [StoreId(row["store_id"]) for row in rows]


async def stores_of(tx: Tx, keychain_id: int) -> list[StoreId]:
    """Return the stores whose wallet on any network has a keychain."""
    rows = await tx.fetch("select distinct store_id from wallets where keychain_id = $1 order by store_id", keychain_id)
    return [StoreId(row["store_id"]) for row in rows]


async def sharers(tx: Tx, wallet: Wallet) -> list[tuple[StoreId, WalletId]]:
    """Return the other stores that have, or had, a wallet of the same keychain, each with one of those."""
    rows = await tx.fetch(
        """select distinct on (store_id) store_id, id from wallets where keychain_id = $1 and store_id <> $2
           order by store_id, retired_at is not null, id""",
        wallet.keychain_id,
        wallet.store_id,
    )
    return [(StoreId(row["store_id"]), WalletId(row["id"])) for row in rows]


async def stores_of_address(tx: Tx, address_id: str) -> list[StoreId]:
    """Return the stores whose wallet derives an address that was issued."""
    keychain_id = await tx.fetchval("select keychain_id from addresses where id = $1", address_id)
    return await stores_of(tx, keychain_id)


async def addresses_of(
    tx: "Tx | Pool[Any]", wallet: Wallet, *, below: int | None = None, limit: int = 100
) -> list[Issued]:
    """Return the addresses issued from a wallet to its own store, newest first; with `below`, of smaller index."""
    rows = await tx.fetch(
        "select id, address, index, invoice_id, coalesce(customer_id, watched_for) as customer_id, created_at, seal"
        " from addresses"
        " where keychain_id = $1 and store_id = $2 and network = $3 and ($4::bigint is null or index < $4)"
        " order by index desc limit $5",
        wallet.keychain_id, wallet.store_id, wallet.network, below, limit,
    )  # fmt: skip
    return [Issued(**row) for row in rows]


def _wallet(row: Record) -> Wallet:
    return Wallet(
        id=WalletId(row["id"]),
        store_id=StoreId(row["store_id"]),
        network=row["network"],
        keychain_id=row["keychain_id"],
        descriptor=row["descriptor"],
        fingerprint=row["fingerprint"],
        next_index=row["next_index"],
        created_at=row["created_at"],
        seal=row["seal"],
        retired_at=row["retired_at"],
        networks=tuple(row["networks"]),
    )
