"""Which key made the seals in the database, and the sealing of what was issued before there were any: the SQL."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncpg.pool import Pool

from kassa.db.pool import Tx
from kassa.wallets.seal import Seal, fits

PAGE = 1_000

Derived = Callable[[str, str, int], str | None]
"""(network, descriptor, index) → address text, None where it cannot be derived here."""


async def fingerprint(tx: "Tx | Pool[Any]") -> bytes | None:
    """Return the fingerprint of the key that made the seals here, if any were made."""
    found: bytes | None = await tx.fetchval("select fingerprint from seal_keys")
    return found


async def adopt_key(tx: Tx, seal: Seal, *, renew: bool = False) -> bool:
    """Keep which key makes the seals from now on; return whether it is new here. Others wait until this commits."""
    done = await tx.execute(
        "insert into seal_keys (fingerprint) values ($1) on conflict (one) do update set fingerprint = $1"
        " where $2 and seal_keys.fingerprint <> $1",
        seal.fingerprint,
        renew,
    )
    return bool(done == "INSERT 0 1")


async def is_needed(tx: Tx) -> bool:
    """Tell whether there is anything that a seal protects: a wallet, an address, a key, or a member."""
    return bool(
        await tx.fetchval(
            """select exists (select from wallets) or exists (select from addresses)
                   or exists (select from api_keys) or exists (select from members)"""
        )
    )


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed anew: how many addresses were, and were not; and the ids of the wallets that were not."""

    addresses: int
    left: int
    wallets_left: tuple[str, ...]


async def seal_all(tx: Tx, seal: Seal, derived: Derived, former: Seal | None = None) -> Sealed:
    """Seal every wallet, also replaced ones, and every owned address anew; with the former key, only what that sealed.

    An address that is not what its wallet derives gets no seal. What has none stays hidden.
    """
    wallets_left = []
    descriptors = [row["descriptor"] for row in await tx.fetch("select distinct descriptor from keychains")]
    for wallet in await tx.fetch(
        "select w.id, w.store_id, w.network, w.seal, k.descriptor from wallets w"
        " join keychains k on k.id = w.keychain_id order by w.id"
    ):
        parts = wallet["id"], wallet["store_id"], wallet["network"]
        descriptor = wallet["descriptor"]
        if former is not None and not fits(wallet["seal"], former.of_wallet(*parts, descriptor)):
            # Another was put in its place: its store was given one of these, and what was issued of that stays its own.
            given = (each for each in descriptors if fits(wallet["seal"], former.of_wallet(*parts, each)))
            descriptor = next(given, None)
        made = None if descriptor is None else seal.of_wallet(*parts, descriptor)
        await tx.execute("update wallets set seal = $2 where id = $1", wallet["id"], made)
        if descriptor != wallet["descriptor"]:
            wallets_left.append(wallet["id"])
    after, done, left = "", 0, 0
    while rows := await tx.fetch(
        "select a.id, a.network, a.index, a.address, a.seal, k.descriptor,"
        " coalesce(a.invoice_id, a.customer_id, a.watched_for) as owner"
        " from addresses a join keychains k on k.id = a.keychain_id"
        " where a.id > $1 and coalesce(a.invoice_id, a.customer_id, a.watched_for) is not null order by a.id limit $2",
        after, PAGE,
    ):  # fmt: skip
        seals = [_seal(seal, row, derived, former) for row in rows]
        await tx.execute(
            "update addresses a set seal = s.seal from unnest($1::text[], $2::bytea[]) as s (id, seal)"
            " where a.id = s.id",
            [row["id"] for row in rows],
            seals,
        )
        after, sealed = rows[-1]["id"], sum(each is not None for each in seals)
        done, left = done + sealed, left + len(seals) - sealed
    return Sealed(done, left, tuple(wallets_left))


def _seal(seal: Seal, row: Any, derived: Derived, former: Seal | None) -> bytes | None:  # row: asyncpg's record
    parts = row["network"], row["descriptor"], row["index"], row["address"], row["owner"]
    if former is not None and not fits(row["seal"], former.of_address(*parts)):
        return None
    return seal.of_address(*parts) if derived(*parts[:3]) == row["address"] else None
