"""What a network's node was found to be able to show, and how its clock goes, in the database."""

from datetime import datetime
from typing import Any

from asyncpg.pool import Pool

from kassa.db.pool import Tx
from kassa.watch.rules import better


async def note_internal(tx: Tx, network: str, internal: str, *, chosen: bool) -> str | None:
    """Note how a node shows what contracts move; return the best way that it was seen to have before, if any.

    Where the settings have `chosen` the way, there is no better one.
    """
    before: str | None = await tx.fetchval("select internal_best from networks where id = $1 for update", network)
    best = internal if before is None or chosen else better(before, internal)
    await tx.execute("update networks set internal = $2, internal_best = $3 where id = $1", network, internal, best)
    return before


async def read_by_balances(pool: "Pool[Any]") -> list[str]:
    """Return the networks whose nodes show only by balances what contracts move."""
    return [row["id"] for row in await pool.fetch("select id from networks where internal = 'balances' order by id")]


async def note_clock(tx: Tx, network: str, skew_seconds: int | None, now: datetime) -> None:
    """Note by how much the clock of a network's node is ahead of ours; None: it does not tell."""
    await tx.execute(
        "update networks set clock_skew_seconds = $2, clock_read_at = $3 where id = $1", network, skew_seconds, now
    )


async def note_words(tx: Tx, network: str, warning: str, *, outdated: bool) -> None:
    """Note what a network's node warns of, '' where nothing, and whether it is older than its chain's rules."""
    await tx.execute(
        "update networks set node_warning = $2, node_outdated = $3 where id = $1", network, warning, outdated
    )
