"""Payments that a block shows to be nothing, or to be the same under another name."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from asyncpg import Record

from kassa.core.facts import BY_BALANCE, TransferKey
from kassa.core.ids import PaymentId
from kassa.db.pool import Tx
from kassa.payments.model import Touched
from kassa.payments.rules import Internal, Void
from kassa.payments.store import TOUCHED, touched_by


async def put_void(tx: Tx, network: str, voids: Sequence[Void]) -> Touched:
    """Note which payments without a block are nothing, by what a block shows; return what was touched."""
    if not voids:
        return Touched()
    rows = await tx.fetch(
        f"""update payments p set void_height = v.height
           from unnest($2::text[], $3::text[], $4::bigint[], $5::boolean[]) as v (txid, position, height, calls)
           where p.network = $1 and p.txid = v.txid and p.position = coalesce(v.position, p.position)
             and (v.calls or not starts_with(p.position, 'call:'))
             and p.block_height is null and p.void_height is null
           returning {TOUCHED}""",
        network,
        [void.txid for void in voids],
        [void.position for void in voids],
        [void.height for void in voids],
        [void.calls for void in voids],
    )
    return touched_by(rows)


async def nameless(tx: Tx, network: str, dropped_since: datetime | None) -> list[Internal]:
    """Return what only balances showed, in blocks that were undone, and still waits to be seen again, oldest first.

    What has been missing since `dropped_since`, or for longer, is lost.
    """
    rows = await tx.fetch(
        """select p.id, p.txid, p.position, a.script, p.units from payments p join addresses a on a.id = p.address_id
           where p.network = $1 and p.block_height is null and starts_with(p.position, $2) and p.void_height is null
               and (p.missing_since <= $3) is not true
           order by p.id""",
        network,
        BY_BALANCE,
        dropped_since,
    )
    return [_internal(row) for row in rows]


async def called(tx: Tx, network: str, txids: Sequence[str]) -> list[Internal]:
    """Return what was known by a call inside one of some transactions, and is in no block now, oldest first."""
    rows = await tx.fetch(
        """select p.id, p.txid, p.position, a.script, p.units from payments p join addresses a on a.id = p.address_id
           where p.network = $1 and p.txid = any($2) and p.block_height is null and starts_with(p.position, 'call:')
           order by p.id""",
        network,
        txids,
    )
    return [_internal(row) for row in rows]


async def rename(tx: Tx, names: Mapping[PaymentId, TransferKey]) -> set[PaymentId]:
    """Give payments the names that the same movements have in other blocks; return which now bear theirs.

    A name that another payment bears is not taken from it.
    """
    rows = await tx.fetch(
        """update payments p set txid = n.txid, position = n.position
           from unnest($1::text[], $2::text[], $3::text[]) as n (id, txid, position)
           where p.id = n.id and not exists (
               select from payments o where (o.network, o.txid, o.position) = (p.network, n.txid, n.position))
           returning p.id""",
        list(names),
        [key.txid for key in names.values()],
        [key.position for key in names.values()],
    )
    return {PaymentId(row["id"]) for row in rows}


def _internal(row: Record) -> Internal:
    return Internal(PaymentId(row["id"]), row["txid"], row["position"], bytes(row["script"]), int(row["units"]))
