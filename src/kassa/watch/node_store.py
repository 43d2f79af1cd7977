"""What a network's node was found to be able to show, what it says of itself, and how its clock goes: the SQL."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Node:
    """What a network's node last said of itself, and when. None: it does not tell, or nobody asked yet.

    `block_at` is the time of its last block, `pushed_at` when it last gave a hint by itself.
    """

    name: str | None
    outdated: bool
    warning: str
    peers: int | None
    fee: str | None
    skew_seconds: int | None
    read_at: datetime | None
    block_at: datetime | None
    pushed_at: datetime | None


async def note_words(tx: Tx, network: str, node: Node) -> None:
    """Note what a network's node says of itself, and when it last pushed a hint (None: as noted before)."""
    await tx.execute(
        """update networks set node_name = $2, node_outdated = $3, node_warning = $4, node_peers = $5, node_fee = $6,
               node_read_at = $7, pushed_at = coalesce($8, pushed_at) where id = $1""",
        network, node.name, node.outdated, node.warning, node.peers, node.fee, node.read_at, node.pushed_at,
    )  # fmt: skip


async def nodes(tx: Tx) -> dict[str, Node]:
    """Return what the nodes of all networks last said of themselves."""
    rows = await tx.fetch(
        """select id, node_name, coalesce(node_outdated, false), coalesce(node_warning, ''), node_peers, node_fee,
               clock_skew_seconds, node_read_at, node_time, pushed_at from networks"""
    )
    return {row["id"]: Node(*list(row.values())[1:]) for row in rows}
