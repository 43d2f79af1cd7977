"""The books as a node could confirm them, and the differences that are open."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from asyncpg import Record

from kassa.core.ahead import AHEAD
from kassa.core.audits import Claim, Movement
from kassa.core.facts import BlockRef
from kassa.db.pool import Tx
from kassa.ledger.audit import Booked, Difference, Owner
from kassa.ledger.model import wallet

_FINDING_ENTRIES = 100


async def booked(tx: Tx, network: str) -> Booked | None:
    """Read the books of a network and where we stand on it, at one moment; None before the first block.

    `tx` must be fresh: all is read from one snapshot.
    """
    await tx.execute("set transaction isolation level repeatable read, read only")
    row = await tx.fetchrow(
        "select height, hash, (select min(height) from blocks where network = $1) as first from networks where id = $1",
        network,
    )
    if row is None or row["height"] is None:
        return None
    owners = await tx.fetch("select * from addresses where network = $1", network)
    moved = await tx.fetch(
        """with held as (
               select e.payment_id, p.asset, sum(p.units) as units from postings p join entries e on e.id = p.entry_id
               where p.account = $2 group by 1, 2 having sum(p.units) <> 0
           )
           select h.asset, h.units, a.id as address_id, p.txid, p.position, p.block_hash,
               p.block_hash is null and p.status = 'settled' and p.confirmations_required = 0 as accepted
           from held h left join payments p on p.id = h.payment_id and p.network = $1
           left join addresses a on a.id = p.address_id and a.network = $1""",
        network,
        wallet(network),
    )
    found = {row["id"]: _owner(row) for row in owners}
    movements: dict[tuple[str, str], list[Movement]] = {}
    accepted: dict[str, int] = {}
    astray: dict[str, int] = {}
    for line in moved:
        asset, units = line["asset"], int(line["units"])
        if line["address_id"] is None:
            astray[asset] = astray.get(asset, 0) + units
        elif line["accepted"]:
            accepted[asset] = accepted.get(asset, 0) + units
        else:
            movement = Movement(line["txid"], line["position"], units, line["block_hash"])
            movements.setdefault((line["address_id"], asset), []).append(movement)
    claims = {key: Claim(found[key[0]].script, key[1], tuple(each)) for key, each in movements.items()}
    return Booked(BlockRef(row["height"], row["hash"]), row["first"], found, claims, accepted, astray)


async def entries_on(tx: Tx, network: str, difference: Difference) -> list[int]:
    """Return the numbers of the entries behind a difference, the first hundred."""
    rows = await tx.fetch(
        """select distinct e.id from postings p join entries e on e.id = p.entry_id
           left join payments m on m.id = e.payment_id and m.network = $1
           where p.account = $2 and p.asset = $3 and m.address_id is not distinct from $4 order by e.id limit $5""",
        network,
        wallet(network),
        difference.asset,
        difference.key[0],
        _FINDING_ENTRIES,
    )
    return [row["id"] for row in rows]


async def begin(tx: Tx, network: str, now: datetime, every: timedelta) -> bool:
    """Take the next run of a network if one is due; whoever asks at the same time is told that it is not."""
    taken = await tx.fetchval(
        """insert into reconciliations (network, begun_at, first_at) select id, $2, $2 from networks where id = $1
           on conflict (network) do update set begun_at = $2
           where reconciliations.begun_at <= $2 - $3::interval or reconciliations.begun_at > $4
           returning network""",
        network,
        now,
        every,
        now + AHEAD,
    )
    return taken is not None


async def pull_back(tx: Tx, now: datetime) -> None:
    """Take what a clock that was ahead has noted for noted now: books not compared since are old from here on."""
    await tx.execute(
        """update reconciliations set ended_at = case when ended_at > $1 then $1 else ended_at end,
               first_at = case when first_at > $1 then $1 else first_at end where ended_at > $2 or first_at > $2""",
        now,
        now + AHEAD,
    )


async def record(
    tx: Tx, network: str, tip: BlockRef, found: Sequence[Difference], now: datetime
) -> tuple[list[Difference], list[tuple[str | None, str]]]:
    """Keep what a run has found; return the new differences, and (address id, asset) of those that are gone."""
    await tx.execute(
        """insert into reconciliations (network, begun_at, ended_at, height, hash, differences)
           values ($1, $2, $2, $3, $4, $5) on conflict (network) do update
           set ended_at = excluded.ended_at, height = excluded.height, hash = excluded.hash,
               differences = excluded.differences""",
        network,
        now,
        tip.height,
        tip.hash,
        len(found),
    )
    rows = await tx.fetch(
        "select address_id, asset from differences where network = $1 and closed_at is null for update", network
    )
    opened = {(row["address_id"], row["asset"]) for row in rows}
    gone = sorted(opened - {each.key for each in found}, key=str)
    for address_id, asset in gone:
        await tx.execute(
            """update differences set closed_at = $4
               where network = $1 and address_id is not distinct from $2 and asset = $3 and closed_at is null""",
            network,
            address_id,
            asset,
            now,
        )
    await tx.executemany(
        """insert into differences (network, address_id, asset, booked, found, height, hash, opened_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (network, coalesce(address_id, ''), asset) where closed_at is null
           do update set booked = excluded.booked, found = excluded.found, height = excluded.height,
               hash = excluded.hash""",
        [(network, *each.key, each.booked, each.found, tip.height, tip.hash, now) for each in found],
    )
    return [each for each in found if each.key not in opened], gone


async def owner(tx: Tx, address_id: str) -> Owner:
    """Return an address that was issued."""
    row = await tx.fetchrow("select * from addresses where id = $1", address_id)
    return _owner(row)


def _owner(row: Record) -> Owner:
    customer = row["customer_id"] or row["watched_for"]
    return Owner(row["id"], row["address"], row["script"], row["store_id"], row["invoice_id"], customer)
