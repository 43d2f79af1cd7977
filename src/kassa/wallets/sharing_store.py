"""Addresses on further networks of their keychain: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import AddressId, StoreId
from kassa.db.pool import Tx
from kassa.wallets.model import NewAddress


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An address that was issued, as it stands on one network of its keychain."""

    network: str
    index: int
    store_id: StoreId
    invoice_id: str | None
    customer_id: str | None
    created_at: datetime
    seal: bytes | None

    @property
    def owner(self) -> str:
        """Whom it was issued for, as its seal says it."""
        return self.invoice_id or self.customer_id or ""


async def missing(tx: Tx, keychain_id: int, network: str, livemode: bool, below: int, limit: int) -> list[Elsewhere]:
    """Return addresses of a keychain that have an owner and no row on a network, below an index, the highest first.

    Only those of stores of the network's mode, `livemode`.
    """
    rows = await tx.fetch(
        """select distinct on (a.index) a.network, a.index, a.store_id, a.invoice_id,
               coalesce(a.customer_id, a.watched_for) as customer_id, a.created_at, a.seal
           from addresses a join stores s on s.id = a.store_id and s.livemode = $5
           where a.keychain_id = $1 and a.network <> $2 and a.index < $3 and not exists
               (select from addresses b where b.keychain_id = $1 and b.index = a.index and b.network = $2)
           order by a.index desc, a.network limit $4""",
        keychain_id,
        network,
        below,
        limit,
        livemode,
    )
    return [Elsewhere(**row) for row in rows]


async def put(tx: Tx, shared: Sequence[tuple[Elsewhere, NewAddress, bytes | None]]) -> None:
    """Write addresses on another network, each with its seal there, if it has any; what is there already stays."""
    await tx.executemany(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id,
               watched_for, created_at, seal)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing""",
        [
            (made.id, made.network, made.script, made.text, made.key, made.keychain_id, made.index, first.store_id,
             first.invoice_id, first.customer_id, first.created_at, seal)
            for first, made, seal in shared
        ],
    )  # fmt: skip


async def put_watched(tx: Tx, store_id: str, customer_id: str, addresses: Sequence[NewAddress], now: datetime) -> None:
    """Watch a customer's new address on networks where it is not theirs to be shown."""
    first = [Elsewhere(a.network, a.index, StoreId(store_id), None, customer_id, now, a.seal) for a in addresses]
    await put(tx, [(each, address, address.seal) for each, address in zip(first, addresses, strict=True)])


async def claim(tx: Tx, customer_id: str, keychain_id: int, networks: Sequence[str]) -> list[AddressId]:
    """Make an address that is watched for a customer theirs, on those of some networks on which they have none."""
    rows = await tx.fetch(
        """update addresses a set customer_id = watched_for, watched_for = null
           where watched_for = $1 and keychain_id = $2 and network = any($3::text[]) and not exists
               (select from addresses b where b.customer_id = $1 and b.network = a.network)
           returning id""",
        customer_id,
        keychain_id,
        networks,
    )
    return [AddressId(row["id"]) for row in rows]
