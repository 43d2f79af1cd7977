"""Payments in the database: upserted by transfer, noted upon, announced."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from asyncpg.pool import Pool

from kassa.core.facts import BlockRef, Transaction, TransferKey
from kassa.core.ids import AddressId, InvoiceId, PaymentId, StoreId, new_id
from kassa.db.pool import Tx
from kassa.payments.model import Payment, Sighting, Status
from kassa.payments.rules import Conflict, Found, Unconfirmed
from kassa.rates.model import Rate
from kassa.rates.resource import method_text
from kassa.wallets.model import Owner

_COLUMNS = """p.id, p.network, p.txid, p.position, p.asset, p.units, p.maturity, p.address_id, p.store_id, p.invoice_id,
    p.first_seen_at, p.replaceable, p.block_height, p.block_hash, p.missing_since, p.conflict_txid, p.conflict_height,
    p.late_rate, p.late_rate_source, p.status, p.value_units, p.confirmations_required, p.needs_final, p.settled_at,
    a.address"""


async def put(
    tx: Tx, found: Sequence[tuple[Found, Owner]], late_rates: Mapping[int, Rate], now: datetime
) -> set[InvoiceId]:
    """Store transfers to our addresses, or note that known ones were seen again; return the invoices touched.

    A repeat is found by the unique transfer key and who got what. Its amount is that of the block which holds it now:
    in another block, a contract may pay another. What is in a block is never taken out of it by a mempool sighting.
    `late_rates` is keyed by place in `found`.
    """
    if not found:
        return set()
    rows = [_row(f, owner, late_rates.get(place), now) for place, (f, owner) in enumerate(found)]
    touched = await tx.fetch(
        """
        insert into payments as p (id, network, txid, position, asset, units, maturity, address_id, store_id,
            invoice_id, first_seen_at, replaceable, block_height, block_hash, late_rate, late_rate_source, late_rate_at,
            late_rate_method)
        select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::int[],
            $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::bool[], $13::bigint[], $14::text[],
            $15::text[], $16::text[], $17::timestamptz[], $18::json[])
        on conflict on constraint payments_transfer do update set
            units = excluded.units, block_height = excluded.block_height, block_hash = excluded.block_hash,
            missing_since = null, conflict_txid = null, conflict_height = null, replaceable = excluded.replaceable
        where p.block_height is null
        returning invoice_id""",
        *map(list, zip(*rows, strict=True)),
    )
    await _put_inputs(tx, found)
    return {InvoiceId(row["invoice_id"]) for row in touched if row["invoice_id"] is not None}


def _row(found: Found, owner: Owner, late: Rate | None, now: datetime) -> tuple[Any, ...]:
    transfer, block = found.transfer, found.block
    return (
        new_id("pay", now),
        transfer.key.network,
        transfer.key.txid,
        transfer.key.position,
        transfer.asset,
        transfer.units,
        transfer.maturity,
        owner.address_id,
        owner.store_id,
        owner.invoice_id,
        found.first_seen_at,
        found.transaction.replaceable,
        None if block is None else block.height,
        None if block is None else block.hash,
        None if late is None else str(late.value),
        None if late is None else late.source,
        None if late is None else late.at,
        None if late is None else method_text(late),
    )


async def _put_inputs(tx: Tx, found: Sequence[tuple[Found, Owner]]) -> None:
    unique = {(f.transfer.key.network, f.transaction.txid): f.transaction for f, _ in found}
    rows = [
        (network, spent.outpoint, txid, spent.key)
        for (network, txid), transaction in sorted(unique.items())
        for spent in transaction.inputs
    ]
    if rows:
        await tx.execute(
            """insert into payment_inputs (network, outpoint, txid, watch_key)
               select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) on conflict do nothing""",
            *map(list, zip(*rows, strict=True)),
        )


async def undo(tx: Tx, network: str, above: int) -> set[InvoiceId]:
    """Take payments out of the blocks above a height; they wait as detected. Return the invoices touched.

    A conflicting transaction that was confirmed there is unconfirmed again, and still conflicts.
    """
    undone = await tx.fetch(
        """update payments set block_height = null, block_hash = null
           where network = $1 and block_height > $2 returning invoice_id""",
        network,
        above,
    )
    await tx.execute(
        "update payments set conflict_height = null where network = $1 and conflict_height > $2", network, above
    )
    return {InvoiceId(row["invoice_id"]) for row in undone if row["invoice_id"] is not None}


async def victims(tx: Tx, network: str, spenders: Sequence[Transaction]) -> dict[str, list[str]]:
    """Return our unconfirmed txids by the outpoint that they spend, for the outpoints that `spenders` spend."""
    outpoints = list({spent.outpoint for transaction in spenders for spent in transaction.inputs})
    if not outpoints:
        return {}
    rows = await tx.fetch(
        """select distinct i.outpoint, i.txid from payment_inputs i
           join payments p on p.network = i.network and p.txid = i.txid and p.block_height is null
           where i.network = $1 and i.outpoint = any($2)""",
        network,
        outpoints,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["outpoint"], []).append(row["txid"])
    return found


async def put_conflicts(tx: Tx, network: str, conflicts: Sequence[Conflict]) -> set[InvoiceId]:
    """Note which unconfirmed payments were overtaken by which transaction; return the invoices touched.

    What a block holds against a payment is not taken back by what is only waiting for one.
    """
    if not conflicts:
        return set()
    latest = {conflict.txid: conflict for conflict in conflicts}
    rows = await tx.fetch(
        """update payments p set conflict_txid = c.by, conflict_height = c.height
           from unnest($2::text[], $3::text[], $4::bigint[]) as c (txid, by, height)
           where p.network = $1 and p.txid = c.txid and p.block_height is null
             and (p.conflict_txid, p.conflict_height) is distinct from (c.by, c.height)
             and (p.conflict_height is null or c.height is not null)
           returning p.invoice_id""",
        network,
        list(latest),
        [conflict.by for conflict in latest.values()],
        [conflict.height for conflict in latest.values()],
    )
    return {InvoiceId(row["invoice_id"]) for row in rows if row["invoice_id"] is not None}


async def unconfirmed(tx: Tx, network: str, present: Sequence[str]) -> list[Unconfirmed]:
    """List the transactions of payments that wait for a block, and of dead ones only those among `present`.

    Dead payments grow without end and this is asked at every look.
    """
    rows = await tx.fetch(
        """select txid, replaceable, missing_since, conflict_txid from payments
           where network = $1 and block_height is null
             and (status is null or status in ('detected', 'confirming', 'settled'))
           union
           select txid, replaceable, missing_since, conflict_txid from payments
           where network = $1 and block_height is null and txid = any($2)""",
        network,
        present,
    )
    return [Unconfirmed(row["txid"], row["replaceable"], row["missing_since"], row["conflict_txid"]) for row in rows]


async def waiting(tx: "Tx | Pool[Any]", network: str) -> list[str]:
    """Return the ids of the transactions whose payments wait for a block."""
    rows = await tx.fetch(
        """select distinct txid from payments
           where network = $1 and block_height is null
             and (status is null or status in ('detected', 'confirming', 'settled'))""",
        network,
    )
    return [row["txid"] for row in rows]


async def put_missing(tx: Tx, network: str, txids: Sequence[str], since: datetime) -> set[InvoiceId]:
    """Note that unconfirmed payments were not where they would wait at a moment; return the invoices touched."""
    if not txids:
        return set()
    rows = await tx.fetch(
        """update payments set missing_since = $3
           where network = $1 and txid = any($2) and block_height is null and missing_since is null
           returning invoice_id""",
        network,
        list(txids),
        since,
    )
    return {InvoiceId(row["invoice_id"]) for row in rows if row["invoice_id"] is not None}


async def lost(tx: Tx, network: str, since: datetime) -> set[InvoiceId]:
    """Return the invoices with a waiting payment that no look has found since a moment, or for longer."""
    rows = await tx.fetch(
        """select distinct invoice_id from payments
           where network = $1 and block_height is null and status = 'detected' and missing_since <= $2""",
        network,
        since,
    )
    return {InvoiceId(row["invoice_id"]) for row in rows}


async def ripe(tx: Tx, network: str, height: int, final: int | None) -> set[InvoiceId]:
    """Return the invoices with a payment that has reached all that it requires, at this height.

    `final` is the height up to which the network calls its blocks final.
    """
    rows = await tx.fetch(
        """select distinct invoice_id from payments
           where network = $1 and status = 'confirming' and block_height + confirmations_required - 1 <= $2
             and (not needs_final or block_height <= $3)""",
        network,
        height,
        final,
    )
    return {InvoiceId(row["invoice_id"]) for row in rows}


async def of_invoices(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Payment]]:
    """Return every payment of some invoices, the dead ones too, oldest first."""
    rows = await tx.fetch(
        f"""select {_COLUMNS} from payments p join addresses a on a.id = p.address_id
            where p.invoice_id = any($1) order by p.id""",
        invoices,
    )
    found: dict[InvoiceId, list[Payment]] = {invoice: [] for invoice in invoices}
    for row in rows:
        found[InvoiceId(row["invoice_id"])].append(read(row))
    return found


async def unowned(tx: Tx, network: str, above: int) -> list[Payment]:
    """Return the payments to addresses without an owner that are in a block above a height, or in none."""
    rows = await tx.fetch(
        f"""select {_COLUMNS} from payments p join addresses a on a.id = p.address_id
            where p.network = $1 and p.store_id is null and (p.block_height is null or p.block_height > $2)""",
        network,
        above,
    )
    return [read(row) for row in rows]


async def announce(tx: Tx, said: Sequence[Payment]) -> None:
    """Store what was announced of payments."""
    if said:
        await tx.execute(
            """update payments p set status = s.status, value_units = s.value_units,
                   confirmations_required = s.required, needs_final = s.needs_final, settled_at = s.settled_at
               from unnest($1::text[], $2::text[], $3::numeric[], $4::int[], $5::bool[], $6::timestamptz[])
                   as s (id, status, value_units, required, needs_final, settled_at)
               where p.id = s.id""",
            [payment.id for payment in said],
            [payment.status for payment in said],
            [payment.value_units for payment in said],
            [payment.confirmations_required for payment in said],
            [payment.needs_final for payment in said],
            [payment.settled_at for payment in said],
        )


async def page(tx: Tx, store_id: StoreId, before: str | None, limit: int) -> list[tuple[PaymentId, InvoiceId]]:
    """Return a store's payments (id and invoice), newest first, those before an id."""
    rows = await tx.fetch(
        """select id, invoice_id from payments
           where store_id = $1 and invoice_id is not null and ($2::text is null or id < $2)
           order by id desc limit $3""",
        store_id,
        before,
        limit,
    )
    return [(PaymentId(row["id"]), InvoiceId(row["invoice_id"])) for row in rows]


async def invoice_of(tx: Tx, store_id: StoreId, payment_id: str) -> InvoiceId | None:
    """Return the invoice of a store's payment."""
    found = await tx.fetchval("select invoice_id from payments where store_id = $1 and id = $2", store_id, payment_id)
    return None if found is None else InvoiceId(found)


def read(row: Mapping[str, Any]) -> Payment:
    """Read a row of `payments`."""
    height = row["block_height"]
    late, status = row["late_rate"], row["status"]
    return Payment(
        id=PaymentId(row["id"]),
        key=TransferKey(row["network"], row["txid"], row["position"]),
        asset=row["asset"],
        units=int(row["units"]),
        maturity=row["maturity"],
        address_id=AddressId(row["address_id"]),
        address=row["address"],
        store_id=None if row["store_id"] is None else StoreId(row["store_id"]),
        invoice_id=None if row["invoice_id"] is None else InvoiceId(row["invoice_id"]),
        first_seen_at=row["first_seen_at"],
        replaceable=row["replaceable"],
        sighting=Sighting(
            None if height is None else BlockRef(height, row["block_hash"]),
            row["missing_since"],
            row["conflict_txid"],
            row["conflict_height"],
        ),
        late_rate=None if late is None else Fraction(late),
        late_rate_source=row["late_rate_source"],
        status=None if status is None else Status(status),
        value_units=int(row["value_units"]),
        confirmations_required=row["confirmations_required"],
        needs_final=row["needs_final"],
        settled_at=row["settled_at"],
    )
