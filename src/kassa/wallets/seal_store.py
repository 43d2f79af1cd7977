"""Which key made the seals in the database, and the sealing of what was issued before there were any: the SQL."""

from collections.abc import Callable
from typing import Any

from asyncpg.pool import Pool

from kassa.db.pool import Tx
from kassa.wallets.seal import Seal

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
    """Tell whether there is anything that a seal protects: a wallet, or an address."""
    return bool(await tx.fetchval("select exists (select from wallets) or exists (select from addresses)"))


async def seal_all(tx: Tx, seal: Seal, derived: Derived) -> tuple[int, int]:
    """Seal every wallet and every owned address anew; return how many addresses were, and how many were not.

    An address that is not what its wallet derives gets no seal, and so stays hidden.
    """
    for wallet in await tx.fetch(
        "select w.id, w.store_id, w.network, k.descriptor from wallets w join keychains k on k.id = w.keychain_id"
        " where w.retired_at is null"
    ):
        made = seal.of_wallet(wallet["id"], wallet["store_id"], wallet["network"], wallet["descriptor"])
        await tx.execute("update wallets set seal = $2 where id = $1", wallet["id"], made)
    after, done, left = "", 0, 0
    while rows := await tx.fetch(
        "select a.id, a.network, a.index, a.address, coalesce(a.invoice_id, a.customer_id, a.watched_for) as owner,"
        " k.descriptor from addresses a join keychains k on k.id = a.keychain_id"
        " where a.id > $1 and coalesce(a.invoice_id, a.customer_id, a.watched_for) is not null order by a.id limit $2",
        after, PAGE,
    ):  # fmt: skip
        seals = [_seal(seal, row, derived) for row in rows]
        await tx.execute(
            "update addresses a set seal = s.seal from unnest($1::text[], $2::bytea[]) as s (id, seal)"
            " where a.id = s.id",
            [row["id"] for row in rows],
            seals,
        )
        after, sealed = rows[-1]["id"], sum(each is not None for each in seals)
        done, left = done + sealed, left + len(seals) - sealed
    return done, left


def _seal(seal: Seal, row: Any, derived: Derived) -> bytes | None:  # asyncpg's record
    if derived(row["network"], row["descriptor"], row["index"]) != row["address"]:
        return None
    return seal.of_address(row["network"], row["descriptor"], row["index"], row["address"], row["owner"])
