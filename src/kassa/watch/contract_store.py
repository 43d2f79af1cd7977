"""What the contracts behind tokens looked like, and which of them are in doubt."""

from collections.abc import Sequence
from typing import Any

from asyncpg.pool import Pool

from kassa.core.facts import Contract
from kassa.db.pool import Tx
from kassa.watch.model import KnownContract


async def known(tx: Tx, network: str) -> dict[str, KnownContract]:
    """Return what is known of a network's contracts, by asset."""
    rows = await tx.fetch("select asset, code, frozen_for from contracts where network = $1", network)
    return {row["asset"]: KnownContract(**row) for row in rows}


async def frozen(pool: "Tx | Pool[Any]") -> list[tuple[str, str]]:
    """Return the frozen assets of every network, each with the doubt about it."""
    rows = await pool.fetch("select asset, frozen_for from contracts where frozen_for is not null order by asset")
    return [(row["asset"], row["frozen_for"]) for row in rows]


async def put(tx: Tx, network: str, seen: Sequence[Contract]) -> None:
    """Keep how contracts look that were never seen before; what is known of the others stays."""
    await tx.execute(
        """insert into contracts (asset, network, code) select a, $1, c from unnest($2::text[], $3::text[]) as s (a, c)
           on conflict (asset) do update set code = excluded.code where contracts.code is null""",
        network,
        [contract.asset for contract in seen],
        [contract.code for contract in seen],
    )


async def freeze(tx: Tx, network: str, asset: str, reason: str) -> bool:
    """Note a doubt about an asset; return False when there was one already."""
    done = await tx.fetchval(
        """insert into contracts (asset, network, frozen_for) values ($1, $2, $3)
           on conflict (asset) do update set frozen_for = $3 where contracts.frozen_for is null returning asset""",
        asset,
        network,
        reason,
    )
    return done is not None


async def thaw(tx: Tx, asset: str) -> str | None:
    """End the doubt about an asset and accept its contract as the next look shows it; return its network.

    None: there was no doubt.
    """
    found: str | None = await tx.fetchval(
        """update contracts set frozen_for = null, code = null where asset = $1 and frozen_for is not null
           returning network""",
        asset,
    )
    return found
