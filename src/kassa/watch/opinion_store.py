"""What second nodes say of our chains: the SQL."""

from asyncpg import Record

from kassa.db.pool import Tx
from kassa.watch.model import Opinion


async def block_hash(tx: Tx, network: str, height: int) -> str | None:
    """Return the hash of the block of our chain at a height."""
    found: str | None = await tx.fetchval("select hash from blocks where network = $1 and height = $2", network, height)
    return found


async def first_height(tx: Tx, network: str) -> int | None:
    """Return the height of the lowest block that we hold."""
    found: int | None = await tx.fetchval("select min(height) from blocks where network = $1", network)
    return found


async def parted_at(tx: Tx, network: str) -> int | None:
    """Return the height at which the second node's chain parted from ours when it was last asked; None: nowhere."""
    found: int | None = await tx.fetchval("select parted_at from second_opinions where network = $1", network)
    return found


async def put(tx: Tx, opinion: Opinion) -> Opinion:
    """Keep an opinion; return it with since when the second node has been silent, and has held another chain."""
    row = await tx.fetchrow(
        """insert into second_opinions as s (network, asked_at, answered_at, silent_since, fault, refused, our_height,
               their_height, height, ours, theirs, parted_at, parted_since)
           values ($1, $2::timestamptz, case when $3 = '' then $2 end, case when $3 <> '' then $2 end, $3::text,
               $4, $5, $6, $7, $8, $9, $10,
               case when $7::bigint is not null and $8::text is distinct from $9::text then $2 end)
           on conflict (network) do update set asked_at = $2,
               answered_at = coalesce(excluded.answered_at, s.answered_at),
               silent_since = case when $3 <> '' then coalesce(s.silent_since, $2) end, fault = $3, refused = $4,
               our_height = $5, their_height = $6, height = $7, ours = $8, theirs = $9,
               parted_at = case when $7 is null then s.parted_at else $10 end,
               parted_since = case when $7 is null then s.parted_since
                   when $8 is distinct from $9 then coalesce(s.parted_since, $2) end
           returning *""",
        opinion.network,
        opinion.asked_at,
        opinion.fault,
        opinion.refused,
        opinion.our_height,
        opinion.their_height,
        opinion.height,
        opinion.ours,
        opinion.theirs,
        opinion.parted_at,
    )
    return _opinion(row)


async def opinions(tx: Tx) -> list[Opinion]:
    """Return the last opinion of every second node."""
    return [_opinion(row) for row in await tx.fetch("select * from second_opinions order by network")]


def _opinion(row: Record) -> Opinion:
    return Opinion(
        row["network"],
        row["asked_at"],
        row["fault"],
        row["refused"],
        row["our_height"],
        row["their_height"],
        row["height"],
        row["ours"],
        row["theirs"],
        row["parted_at"],
        row["silent_since"],
        row["parted_since"],
    )
