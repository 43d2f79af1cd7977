"""Payments in the database: upserted by transfer, noted upon, announced."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from asyncpg.pool import Pool

from kassa.core.crashpoint import crashpoint
from kassa.core.facts import BlockRef, TransferKey
from kassa.core.ids import AddressId, CustomerId, InvoiceId, PaymentId, StoreId, new_id
from kassa.db.pool import Tx
from kassa.payments.model import Basis, Payment, Sighting, Status, Tier, Touched
from kassa.payments.rules import Conflict, Found, Unconfirmed
from kassa.rates.resource import method_text
from kassa.wallets.model import Owner

COLUMNS = """p.id, p.network, p.txid, p.position, p.asset, p.units, p.maturity, p.address_id, p.store_id, p.invoice_id,
    p.first_seen_at, p.replaceable, p.block_height, p.block_hash, p.missing_since, p.conflict_txid, p.conflict_height,
    p.void_height, p.late_rate, p.late_rate_source, p.late_rate_at, p.status, p.value_units, p.confirmations_required,
    p.needs_final, p.settled_at, p.customer_id, p.confirmations, p.book_rate, p.book_rate_source, p.book_rate_at,
    p.assigned_to, a.address"""
TOUCHED = "invoice_id, case when invoice_id is null and store_id is not null then id end as deposit_id"


async def put(tx: Tx, found: Sequence[tuple[Found, Owner]], bases: Mapping[int, Basis], now: datetime) -> Touched:
    """Store transfers to our addresses, or note that known ones were seen again; return what was touched.

    A repeat is found by the unique transfer key and who got what. Its amount is that of the block which holds it now:
    in another block, a contract may pay another. What is in a block is never taken out of it by a mempool sighting.
    `bases` is keyed by place in `found`.
    """
    if not found:
        return Touched()
    rows = [_row(f, owner, bases.get(place, Basis()), now) for place, (f, owner) in enumerate(found)]
    touched = await tx.fetch(
        f"""
        insert into payments as p (id, network, txid, position, asset, units, maturity, address_id, store_id,
            invoice_id, customer_id, first_seen_at, replaceable, block_height, block_hash, late_rate, late_rate_source,
            late_rate_at, late_rate_method, book_rate, book_rate_source, confirmations, book_rate_at, book_rate_method)
        select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::int[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::bool[], $14::bigint[],
            $15::text[], $16::text[], $17::text[], $18::timestamptz[], $19::json[], $20::text[], $21::text[],
            $22::jsonb[], $23::timestamptz[], $24::json[])
        on conflict on constraint payments_transfer do update set
            units = excluded.units, block_height = excluded.block_height, block_hash = excluded.block_hash,
            missing_since = null, conflict_txid = null, conflict_height = null, void_height = null,
            replaceable = excluded.replaceable
        where p.block_height is null
        returning {TOUCHED}""",
        *map(list, zip(*rows, strict=True)),
    )
    crashpoint("payment.put")
    await _put_inputs(tx, found)
    return touched_by(touched)


def touched_by(rows: Sequence[Mapping[str, Any]]) -> Touched:
    """Read rows of `TOUCHED`."""
    return Touched(
        frozenset(InvoiceId(row["invoice_id"]) for row in rows if row["invoice_id"] is not None),
        frozenset(PaymentId(row["deposit_id"]) for row in rows if row["deposit_id"] is not None),
    )


def _row(found: Found, owner: Owner, basis: Basis, now: datetime) -> tuple[Any, ...]:
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
        owner.customer_id,
        found.first_seen_at,
        found.transaction.replaceable,
        None if block is None else block.height,
        None if block is None else block.hash,
        None if basis.late is None else str(basis.late.value),
        None if basis.late is None else basis.late.source,
        None if basis.late is None else basis.late.at,
        None if basis.late is None else method_text(basis.late),
        None if basis.book is None else str(basis.book.value),
        None if basis.book is None else basis.book.source,
        None if basis.tiers is None else write_tiers(basis.tiers),
        None if basis.book is None else basis.book.at,
        None if basis.book is None else method_text(basis.book),
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


async def undo(tx: Tx, network: str, above: int) -> Touched:
    """Take payments out of the blocks above a height; they wait as detected. Return what was touched.

    A conflicting transaction that was confirmed there is unconfirmed again, and still conflicts. What a block there
    showed to be nothing waits to be seen again.
    """
    undone = await tx.fetch(
        f"""update payments set block_height = null, block_hash = null, void_height = null
           where network = $1 and (block_height > $2 or void_height > $2) returning {TOUCHED}""",
        network,
        above,
    )
    await tx.execute(
        "update payments set conflict_height = null where network = $1 and conflict_height > $2", network, above
    )
    return touched_by(undone)


async def put_conflicts(tx: Tx, network: str, conflicts: Sequence[Conflict]) -> Touched:
    """Note which unconfirmed payments were overtaken by which transaction; return what was touched.

    What a block holds against a payment is not taken back by what is only waiting for one.
    """
    if not conflicts:
        return Touched()
    latest = {conflict.txid: conflict for conflict in conflicts}
    rows = await tx.fetch(
        f"""update payments p set conflict_txid = c.by, conflict_height = c.height
           from unnest($2::text[], $3::text[], $4::bigint[]) as c (txid, by, height)
           where p.network = $1 and p.txid = c.txid and p.block_height is null
             and (p.conflict_txid, p.conflict_height) is distinct from (c.by, c.height)
             and (p.conflict_height is null or c.height is not null)
           returning {TOUCHED}""",
        network,
        list(latest),
        [conflict.by for conflict in latest.values()],
        [conflict.height for conflict in latest.values()],
    )
    return touched_by(rows)


async def unconfirmed(tx: Tx, network: str, present: Sequence[str]) -> list[Unconfirmed]:
    """List the transactions of payments that wait for a block, and of dead ones only those among `present`.

    Dead payments grow without end and this is asked at every look.
    """
    rows = await tx.fetch(
        """select txid, replaceable, missing_since, conflict_txid, conflict_height from payments
           where network = $1 and block_height is null
             and (status is null or status in ('detected', 'confirming', 'settled'))
           union
           select txid, replaceable, missing_since, conflict_txid, conflict_height from payments
           where network = $1 and block_height is null and txid = any($2)""",
        network,
        present,
    )
    return [Unconfirmed(*row.values()) for row in rows]


async def waiting(tx: "Tx | Pool[Any]", network: str) -> list[str]:
    """Return the ids of the transactions whose payments wait for a block."""
    rows = await tx.fetch(
        """select distinct txid from payments
           where network = $1 and block_height is null
             and (status is null or status in ('detected', 'confirming', 'settled'))""",
        network,
    )
    return [row["txid"] for row in rows]


async def put_missing(tx: Tx, network: str, txids: Sequence[str], since: datetime) -> Touched:
    """Note that unconfirmed payments were not where they would wait at a moment; return what was touched."""
    if not txids:
        return Touched()
    rows = await tx.fetch(
        f"""update payments set missing_since = $3
           where network = $1 and txid = any($2) and block_height is null and missing_since is null
           returning {TOUCHED}""",
        network,
        list(txids),
        since,
    )
    return touched_by(rows)


async def lost(tx: Tx, network: str, since: datetime) -> Touched:
    """Return whose waiting payment no look has found since a moment, or for longer."""
    rows = await tx.fetch(
        f"""select {TOUCHED} from payments
           where network = $1 and block_height is null and status = 'detected' and missing_since <= $2""",
        network,
        since,
    )
    return touched_by(rows)


async def unsettled(tx: Tx, network: str) -> Touched:
    """Return whose payments on a network are on their way."""
    rows = await tx.fetch(
        f"select {TOUCHED} from payments where network = $1 and status in ('detected', 'confirming')", network
    )
    return touched_by(rows)


async def ripe(tx: Tx, network: str, height: int, final: int | None) -> Touched:
    """Return whose payments have reached all that they require, at this height.

    `final` is the height up to which the network calls its blocks final.
    """
    rows = await tx.fetch(
        f"""select {TOUCHED} from payments
           where network = $1 and status = 'confirming' and block_height + confirmations_required - 1 <= $2
             and (not needs_final or block_height <= $3)""",
        network,
        height,
        final,
    )
    return touched_by(rows)


async def finality(tx: Tx, ids: Sequence[str]) -> dict[str, bool]:
    """Return, of those of some payments that need finality, whether their network calls their block final."""
    rows = await tx.fetch(
        """select p.id, coalesce(p.block_height <= n.final_height, false) as final
           from payments p left join networks n on n.id = p.network where p.id = any($1) and p.needs_final""",
        ids,
    )
    return {row["id"]: row["final"] for row in rows}


async def of_invoices(tx: Tx, invoices: Sequence[InvoiceId]) -> dict[InvoiceId, list[Payment]]:
    """Return every payment of some invoices, the dead ones too, oldest first."""
    rows = await tx.fetch(
        f"""select {COLUMNS} from payments p join addresses a on a.id = p.address_id
            where p.invoice_id = any($1) order by p.id""",
        invoices,
    )
    found: dict[InvoiceId, list[Payment]] = {invoice: [] for invoice in invoices}
    for row in rows:
        found[InvoiceId(row["invoice_id"])].append(read(row))
    return found


async def rate_method(tx: Tx, payment_id: PaymentId) -> dict[str, Any] | None:  # JSON
    """Return the record of how the rate of a payment came about; None where it has no rate, or no record was kept."""
    kept: str | None = await tx.fetchval(
        """select case when p.invoice_id is null then p.book_rate_method when o.asset is null then null
               when p.late_rate is not null then p.late_rate_method else o.rate_method end
           from payments p left join payment_options o on o.invoice_id = p.invoice_id and o.asset = p.asset
           where p.id = $1""",
        payment_id,
    )
    return None if kept is None else json.loads(kept)


async def unowned(tx: Tx, network: str, above: int) -> list[Payment]:
    """Return the payments to addresses without an owner that are in a block above a height, or in none."""
    rows = await tx.fetch(
        f"""select {COLUMNS} from payments p join addresses a on a.id = p.address_id
            where p.network = $1 and p.store_id is null and (p.block_height is null or p.block_height > $2)""",
        network,
        above,
    )
    return [read(row) for row in rows]


async def deposits(tx: Tx, ids: Collection[PaymentId]) -> list[tuple[Payment, str]]:
    """Return deposits, in the order of their ids, each with the currency of its store."""
    rows = await tx.fetch(
        f"""select {COLUMNS}, s.currency from payments p join addresses a on a.id = p.address_id
            join stores s on s.id = p.store_id where p.id = any($1) and p.invoice_id is null order by p.id""",
        list(ids),
    )
    return [(read(row), row["currency"]) for row in rows]


async def shallow(
    tx: Tx, network: str, customers: Collection[CustomerId], above: int, besides: Collection[str]
) -> dict[tuple[CustomerId, str], int]:
    """Return what customers have in living deposits that lie above a height or in no block, in units by asset.

    Those of the transactions `besides` are left out.
    """
    rows = await tx.fetch(
        """select customer_id, asset, sum(units) as units from payments
           where customer_id = any($2) and network = $1 and (block_height is null or block_height > $3)
             and (status is null or status in ('detected', 'confirming', 'settled')) and txid <> all($4)
           group by 1, 2""",
        network,
        list(customers),
        above,
        list(besides),
    )
    return {(CustomerId(row["customer_id"]), row["asset"]): int(row["units"]) for row in rows}


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


async def touching(tx: Tx, store_id: StoreId, payment_id: str) -> Touched:
    """Return whose payment of a store this is; nobody's, if it is not the store's."""
    return touched_by(
        await tx.fetch(f"select {TOUCHED} from payments where store_id = $1 and id = $2", store_id, payment_id)
    )


def write_tiers(tiers: Sequence[Tier]) -> str:
    """Write tiers as the JSON that is kept of them."""
    return json.dumps([(t.up_to, t.blocks, True) if t.final else (t.up_to, t.blocks) for t in tiers])


def read_tiers(text: str | None) -> tuple[Tier, ...]:
    """Read tiers from what is kept of them."""
    return () if text is None else tuple(Tier(*written) for written in json.loads(text))


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
            row["void_height"],
        ),
        late_rate=None if late is None else Fraction(late),
        late_rate_source=row["late_rate_source"],
        status=None if status is None else Status(status),
        value_units=int(row["value_units"]),
        confirmations_required=row["confirmations_required"],
        needs_final=row["needs_final"],
        settled_at=row["settled_at"],
        customer_id=None if row["customer_id"] is None else CustomerId(row["customer_id"]),
        tiers=read_tiers(row["confirmations"]),
        book_rate=None if row["book_rate"] is None else Fraction(row["book_rate"]),
        book_rate_source=row["book_rate_source"],
        late_rate_at=row["late_rate_at"],
        book_rate_at=row["book_rate_at"],
        assigned_to=row["assigned_to"],
    )
