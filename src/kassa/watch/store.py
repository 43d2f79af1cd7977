"""Where we stand on each network, in the database; and who may move it: one holder of a lease, fenced by a number."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from asyncpg.pool import Pool

from kassa.core.ahead import AHEAD
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import LeaseLost
from kassa.core.facts import BlockRef, Tip
from kassa.db.pool import Tx
from kassa.watch.model import ChainUpdate, Position, Restraint

_POSITION = """id, fence, height, hash, state, observed_at, allowed_reorg, final_height,
    array(select c.asset from contracts c where c.network = networks.id and c.frozen_for is not null) as frozen,
    coalesce(lease_until > now() - interval '60 seconds', false) as followed,
    array(select (r.kind, r.made_at, r.asset, r.store_id, r.blocks) from restraints r
          where r.network = networks.id and r.lifted_at is null) as restraints, left_until, node_behind,
    state <> 'halted' and coalesce(lease_until < now() - interval '60 seconds', false) as forsaken"""

HELD = """exists (select from restraints r where r.network = networks.id and r.kind = 'held'
    and r.asset is null and r.store_id is null and r.lifted_at is null)"""
STATE = f"""case when {HELD} then 'halted'
    when state <> 'halted' and lease_until < now() - interval '60 seconds' then 'unreachable' else state end"""
"""The state in which a network is shown: one that is held does not settle, one that nobody follows is not seen."""


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """What is known of a network, for those who only look at it; `held` by Kassa itself, until a person decides."""

    name: str
    chain: str
    state: str
    detail: str
    height: int | None
    hash: str | None
    node_height: int | None
    node_time: datetime | None
    contacted_at: datetime | None
    observed_at: datetime | None
    followed: bool
    held: bool
    final_height: int | None
    final_at: datetime | None


async def register(tx: Tx, network: str, chain: str) -> None:
    """Make sure that a network has its row; raise nothing when it has. Who follows it says that it is not gone."""
    await tx.execute("insert into networks (id, chain) values ($1, $2) on conflict (id) do nothing", network, chain)
    await tx.execute("delete from networks_gone where network = $1", network)


async def take_lease(tx: Tx, network: str, holder: str, seconds: int) -> Position | None:
    """Become the one follower of a network, or return None while another one's lease runs.

    By the database's clock; a lease that ends later than any could was given while that was ahead, and is over. Each
    taking raises the fence: whoever held the lease before can commit nothing more.
    """
    row = await tx.fetchrow(
        f"""update networks set fence = fence + 1, holder = $2, lease_until = now() + make_interval(secs => $3)
            where id = $1 and (lease_until is null or lease_until <= now()
                or lease_until > now() + make_interval(secs => $3 + 60)) returning {_POSITION}""",
        network,
        holder,
        seconds,
    )
    return None if row is None else replace(_position(row), tip=await put_right(tx, network))


async def release_lease(tx: Tx, network: str, fence: int) -> None:
    """Let the next follower start at once."""
    await tx.execute("update networks set lease_until = now() where id = $1 and fence = $2", network, fence)


async def hold(tx: Tx, network: str, fence: int, seconds: int) -> Position:
    """Lock the network's row for this transaction and prolong the lease; raise `LeaseLost` if another took it."""
    row = await tx.fetchrow(
        f"""update networks set lease_until = now() + make_interval(secs => $3)
            where id = $1 and fence = $2 returning {_POSITION}""",
        network,
        fence,
        seconds,
    )
    if row is None:
        raise LeaseLost(f"another process follows {network} now")
    return _position(row)


async def held_blocks(tx: Tx, network: str, first: int) -> list[BlockRef]:
    """Return our chain from a height upwards, ascending."""
    rows = await tx.fetch(
        "select height, hash from blocks where network = $1 and height >= $2 order by height", network, first
    )
    return [BlockRef(row["height"], row["hash"]) for row in rows]


async def block_hash(tx: Tx, network: str, height: int) -> str | None:
    """Return the hash of the block of our chain at a height; None where we hold none."""
    found: str | None = await tx.fetchval("select hash from blocks where network = $1 and height = $2", network, height)
    return found


async def put_update(tx: Tx, network: str, update: ChainUpdate) -> BlockRef:
    """Replace the upper end of our chain and return its new tip. The caller holds the network's row."""
    if update.undo:
        await tx.execute("delete from blocks where network = $1 and height >= $2", network, update.undo[-1].height)
    await tx.execute(
        """insert into blocks (network, height, hash, parent, time)
           select $1, * from unnest($2::bigint[], $3::text[], $4::text[], $5::timestamptz[])""",
        network,
        [block.ref.height for block in update.apply],
        [block.ref.hash for block in update.apply],
        [block.parent for block in update.apply],
        [block.time for block in update.apply],
    )
    crashpoint("chain.linked")
    tip = update.apply[-1].ref
    # Only an operator's word lets a final block be undone; what replaces it has to become final again. Not least(): of
    # NULL and a height that is the height, and where nothing was called final nothing would be free to be undone.
    await tx.execute(
        """update networks set height = $2, hash = $3, allowed_reorg = null,
               final_height = case when final_height > $4 then $4 else final_height end where id = $1""",
        network,
        tip.height,
        tip.hash,
        update.apply[0].ref.height - 1 if update.undo else None,
    )
    return tip


async def note_final(tx: Tx, network: str, height: int, now: datetime) -> None:
    """Note up to which height the network calls its blocks final; the height never falls by this."""
    await tx.execute(
        """update networks set final_height = $2, final_at = $3
           where id = $1 and (final_height is null or final_height < $2)""",
        network,
        height,
        now,
    )


async def put_right(tx: Tx, network: str) -> BlockRef | None:
    """Return our highest block, and have the network stand there if it does not. The caller holds its row."""
    row = await tx.fetchrow("select height, hash from blocks where network = $1 order by height desc limit 1", network)
    top = None if row is None else BlockRef(row["height"], row["hash"])
    await tx.execute(
        """update networks set height = $2, hash = $3
           where id = $1 and (height is distinct from $2 or hash is distinct from $3)""",
        network,
        None if top is None else top.height,
        None if top is None else top.hash,
    )
    return top


async def lower_final(tx: Tx, network: str, height: int | None) -> None:
    """Take back up to which height the network calls its blocks final. The caller holds its row."""
    await tx.execute("update networks set final_height = $2 where id = $1", network, height)


async def note_observed(tx: Tx, network: str, moment: datetime) -> None:
    """Note that everything the node had at a moment has been seen; only one that is yet to come is taken back."""
    await tx.execute(
        "update networks set observed_at = case when observed_at > $3 then $2 else greatest(observed_at, $2) end"
        " where id = $1",
        network,
        moment,
        moment + AHEAD,
    )


async def note_left(tx: Tx, networks: Collection[str], now: datetime) -> None:
    """Note that invoices were judged without waiting for networks that nobody follows any more."""
    if networks:
        await tx.execute("update networks set left_until = $2 where id = any($1)", list(networks), now)


async def note_reorganisation(tx: Tx, network: str, undone: Sequence[BlockRef], now: datetime) -> None:
    """Keep that blocks were undone, the highest first."""
    await tx.execute(
        "insert into reorganisations (network, at, depth, height) values ($1, $2, $3, $4)",
        network,
        now,
        len(undone),
        undone[-1].height,
    )


async def note_empty(tx: Tx, network: str, count: int, now: datetime) -> None:
    """Count transfers of nothing to our addresses."""
    await tx.execute(
        """insert into empty_transfers as e (network, hour, count) values ($1, date_trunc('hour', $2::timestamptz), $3)
           on conflict (network, hour) do update set count = e.count + excluded.count""",
        network,
        now,
        count,
    )


async def note_node(
    tx: Tx,
    network: str,
    fence: int,
    tip: Tip | None,
    state: str,
    detail: str,
    now: datetime,
    *,
    behind: bool = False,
    refused: bool = False,
) -> bool:
    """Note what the node says of itself (None: nothing was heard) and the state that follows.

    `behind`: what is paid now would not be seen there. `refused`: it is no node of this network. Returns whether the
    state changed; raises `LeaseLost` when another process follows the network.
    """
    row = await tx.fetchrow(
        """update networks n set state = $4, detail = $5, node_height = coalesce($3, n.node_height),
               node_time = coalesce($6, n.node_time),
               contacted_at = case when $3::bigint is null then n.contacted_at else $7 end,
               node_behind = coalesce($8, n.node_behind), node_refused = $9
           from (select state from networks where id = $1 for update) as before
           where n.id = $1 and n.fence = $2 returning before.state is distinct from n.state as changed""",
        network,
        fence,
        None if tip is None else tip.best_header,
        state,
        detail,
        None if tip is None else tip.time,
        now,
        None if tip is None else behind,
        refused,
    )
    if row is None:
        raise LeaseLost(f"another process follows {network} now")
    return bool(row["changed"])


async def decide(tx: Tx, network: str, decision: str, detail: str, now: datetime) -> None:
    """Keep an operator's decision about a network, or what the system did on its own account."""
    await tx.execute(
        "insert into network_decisions (network, decided_at, decision, detail) values ($1, $2, $3, $4)",
        network,
        now,
        decision,
        detail,
    )


async def resume(tx: Tx, network: str, depth: int) -> bool:
    """End a halt, allowing one reorganisation of up to `depth` blocks; return whether the network was halted."""
    done = await tx.fetchval(
        """update networks set state = 'syncing', detail = '', allowed_reorg = $2
           where id = $1 and state = 'halted' returning id""",
        network,
        depth,
    )
    return done is not None


async def note_caught_up(tx: Tx) -> None:
    """Note, once every network that matters was seen whole after a restore, that news are news again."""
    restored_at = await behind_since(tx)
    if restored_at is not None and not await awaited(tx, restored_at):
        await tx.execute("update restores set caught_up_at = now() where caught_up_at is null")


async def behind_since(tx: "Tx | Pool[Any]") -> datetime | None:
    """Return when the last restore was that was not caught up with yet."""
    found: datetime | None = await tx.fetchval("select max(restored_at) from restores where caught_up_at is null")
    return found


async def awaited(tx: "Tx | Pool[Any]", restored_at: datetime) -> list[str]:
    """Return the networks whose news since a restore may still have been told before it: not seen whole again yet.

    Those that are followed, and those with a wallet or an open invoice that nobody follows: a follower may be added
    later, and tells all of it again. Not those that a person said are gone.
    """
    rows = await tx.fetch(
        """select id from (
               select id from networks where lease_until > now() - interval '60 seconds'
               union select network from wallets where retired_at is null
               union select f.network from invoices i join payment_options o on o.invoice_id = i.id
                   join addresses f on f.id = o.address_id where i.deadline is not null
               except select network from networks_gone
           ) mattering left join networks n using (id)
           where n.observed_at is null or n.observed_at < $1 or n.state <> 'ok'
               or n.lease_until is null or n.lease_until < now() - interval '60 seconds' order by id""",
        restored_at,
    )
    return [row["id"] for row in rows]


async def give_up(tx: Tx, network: str, now: datetime) -> bool:
    """Keep that a network will not be followed any more; return False while somebody does, or where it is unknown."""
    done = await tx.fetchval(
        """insert into networks_gone (network, said_at) select $1::text, $2
           where not exists (select from networks where id = $1 and lease_until > now())
               and (exists (select from networks where id = $1) or exists (select from wallets where network = $1))
           on conflict (network) do update set said_at = excluded.said_at returning network""",
        network,
        now,
    )
    return done is not None


async def given_up(tx: "Tx | Pool[Any]") -> frozenset[str]:
    """Return the networks that a person said will not be followed any more."""
    return frozenset(row["network"] for row in await tx.fetch("select network from networks_gone"))


async def positions(tx: Tx) -> dict[str, Position]:
    """Return where we stand on every network that was ever followed."""
    rows = await tx.fetch(f"select {_POSITION} from networks")
    return {row["id"]: _position(row) for row in rows}


async def used_names(tx: Any) -> list[tuple[str, str]]:  # a transaction or the pool
    """Return the name and the chain of every network that was followed and has wallets or addresses of any store."""
    rows = await tx.fetch(
        """select id, chain from networks n where exists (select from wallets where network = n.id)
               or exists (select from addresses where network = n.id) order by id"""
    )
    return [(row["id"], row["chain"]) for row in rows]


async def network_rows(tx: Any) -> list[NetworkRow]:  # a transaction or the pool
    """Return what is known of every network; one that nobody has followed for a minute is unreachable."""
    rows = await tx.fetch(
        f"""select id, chain, {STATE} as state, detail, height, hash, node_height, node_time, contacted_at, observed_at,
               coalesce(lease_until > now(), false) as followed, {HELD} as held, final_height, final_at
           from networks order by id"""
    )
    return [NetworkRow(*row.values()) for row in rows]


def _position(row: Any) -> Position:  # an asyncpg record
    tip = None if row["height"] is None else BlockRef(row["height"], row["hash"])
    return Position(
        row["id"],
        row["fence"],
        tip,
        row["state"],
        row["observed_at"],
        row["allowed_reorg"],
        row["final_height"],
        frozenset(row["frozen"]),
        row["followed"],
        tuple(Restraint(*each) for each in row["restraints"]),
        row["left_until"],
        row["node_behind"],
        row["forsaken"],
    )
