"""Compare what was lived through with a rescan: the same terms, and then only the final chain (G6)."""

import json
from collections.abc import Mapping
from hashlib import sha256
from itertools import zip_longest
from typing import Any

from kassa import flow
from kassa.audit.model import Actor
from kassa.core.money import format_units
from kassa.db.pool import Tx
from kassa.house import House
from kassa.payments.asset_store import decimals
from kassa.payments.model import Touched
from kassa.stores import store as stores


async def projection(house: House) -> dict[str, Any]:
    """Return what must be the same for everyone who sees the same terms and the same chain.

    Left out, because only history can know it: ids of payments, payments that are dead, the moments of first sight and
    of settling, and the flag `reversed`.
    """
    pool = house.database.pool
    invoices = await pool.fetch(
        "select id, status, array_remove(flags, 'reversed') as flags, rules, is_final, paid_units, settled_units"
        " from invoices order by id"
    )
    payments = await pool.fetch(
        """select p.network, p.txid, p.position, p.asset, p.units, p.maturity, a.script, p.invoice_id, p.store_id,
               p.customer_id, p.block_height, p.block_hash, p.status, p.confirmations_required, p.value_units
           from payments p join addresses a on a.id = p.address_id
           where p.status in ('detected', 'confirming', 'settled') order by 1, 2, 3"""
    )
    books = await pool.fetch(
        """select coalesce(e.invoice_id, '') as invoice, p.account, p.asset, sum(p.units) as units
           from entries e join postings p on p.entry_id = e.id
           group by 1, 2, 3 having sum(p.units) <> 0 order by 1, 2, 3"""
    )
    blocks = await pool.fetch("select network, height, hash, parent from blocks order by 1, 2")
    purses = await pool.fetch(
        "select customer_id, asset, units, owed from customer_balances where units + owed <> 0 order by 1, 2"
    )
    named = {"invoices": invoices, "payments": payments, "books": books, "blocks": blocks, "purses": purses}
    return {name: [dict(row) for row in rows] for name, rows in named.items()}


_TERMS = {
    "stores": "*",
    "customers": "*",
    "keychains": "*",
    "wallets": "*",
    "invoices": """id, store_id, amount_units, currency, created_at, expires_at, reference, description,
        metadata, customer_id, redirect_url, webhook_url, tolerance_ppm, tolerance_units, on_short,
        short_limit_ppm, on_over, late_grace_seconds, late_rate_ppm, 'new' as status, expires_at as deadline""",
    "addresses": """id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id, customer_id,
        watched_for, created_at, seal""",
    "payment_options": "*",
    "invoice_decisions": "*",
    "spends": "*",
}


async def copy_terms(house: House, fresh: House) -> None:
    """Give an empty database the same terms: stores, wallets, addresses, invoices and people's decisions."""
    async with fresh.database.transaction() as tx:
        for table, columns in _TERMS.items():
            for row in await house.database.pool.fetch(f"select {columns} from {table}"):
                names = ", ".join(row.keys())
                places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
                await tx.execute(
                    f"insert into {table} ({names}) overriding system value values ({places})", *row.values()
                )
        await _copy_spends(house, tx)


async def _copy_spends(house: House, tx: Tx) -> None:
    # A spend was booked when it was made; here its credit is still to come: until then it is owed.
    await tx.execute(
        "insert into customer_balances (customer_id, asset, owed)"
        " select customer_id, asset, sum(units) from spends group by 1, 2"
    )
    for owed in await tx.fetch(
        "select b.*, c.store_id from customer_balances b join customers c on c.id = b.customer_id"
    ):
        entry = await tx.fetchval(
            "insert into entries (store_id, customer_id, reason, booked_at)"
            " values ($1, $2, 'lost', now()) returning id",
            owed["store_id"], owed["customer_id"],
        )  # fmt: skip
        for account, units in (("receivables", owed["owed"]), (f"customer:{owed['customer_id']}", -owed["owed"])):
            await tx.execute(
                "insert into postings (entry_id, account, asset, units) values ($1, $2, $3, $4)",
                entry, account, owed["asset"], units,
            )  # fmt: skip
    for spend in await house.database.pool.fetch("select * from spends"):
        entry = await tx.fetchval(
            "insert into entries (store_id, spend_id, customer_id, invoice_id, reason, booked_at)"
            " values ($1, $2, $3, $4, 'credit spent', $5) returning id",
            spend["store_id"], spend["id"], spend["customer_id"], spend["invoice_id"], spend["made_at"],
        )  # fmt: skip
        account = f"customer:{spend['customer_id']}"
        for name, units in ((account, spend["units"]), ("sales", -spend["units"])):
            await tx.execute(
                "insert into postings (entry_id, account, asset, units) values ($1, $2, $3, $4)",
                entry, name, spend["asset"], units,
            )  # fmt: skip


async def stand_on_first(house: House, fresh: House) -> None:
    """Put a fresh house, which has its terms already, on the first block that the other one holds."""
    row = await house.database.pool.fetchrow("select * from blocks order by height limit 1")
    async with fresh.database.transaction() as tx:
        await tx.execute(
            "insert into networks (id, chain, height, hash) values ($1, $1, $2, $3)",
            row["network"], row["height"], row["hash"],
        )  # fmt: skip
        await tx.execute("insert into blocks values ($1, $2, $3, $4, $5)", *row.values())


async def compare(house: House, fresh: House) -> None:
    """G6: compare with a rescan: a fresh database that was given the same terms, and then only the final chain.

    The moments of first sight, the rates that belong to them, and what was given back are handed to the rescan first:
    whether a payment came in time, and what was decided while it was away, is history. So is how much of what is owed
    was written off, which is handed to it last: the debt must be there.
    """
    seen = await house.database.pool.fetch(
        "select network, txid, position, first_seen_at, late_rate, late_rate_source, book_rate, book_rate_source,"
        " confirmations, late_rate_at, book_rate_at from payments"
    )
    async with fresh.database.transaction() as tx:
        # First: an assignment fixes the rate of its own moment, which is not that of the rescan.
        await _copy_assignments(house, fresh, tx)
        await tx.executemany(
            """update payments set first_seen_at = $4, late_rate = $5, late_rate_source = $6, book_rate = $7,
                   book_rate_source = $8, confirmations = $9, late_rate_at = $10, book_rate_at = $11
               where network = $1 and txid = $2 and position = $3""",
            [tuple(row) for row in seen],
        )
        await _copy_given_back(house, tx)
        ids = [row["id"] for row in await tx.fetch("select id from invoices")]
        apart = await tx.fetch("select id from payments where store_id is not null and invoice_id is null")
        deposits = [row["id"] for row in apart]
        await flow.reassess(tx, fresh, Touched(frozenset(ids), frozenset(deposits)), fresh.clock.now())
        await _copy_write_offs(house, fresh, tx)
    lived, scanned = await projection(house), await projection(fresh)
    for name, rows in lived.items():
        differing = [each for each in zip_longest(rows, scanned[name]) if each[0] != each[1]]
        assert not differing, f"{name} are not what a rescan of the chain gives: {differing[:3]}"
    assert _digest(lived) == _digest(scanned)


async def _copy_given_back(house: House, tx: Tx) -> None:
    given = await house.database.pool.fetch(
        """select g.invoice_id, p.network, p.txid, p.position, g.spend_id, g.given_at
           from given_back g left join payments p on p.id = g.payment_id order by g.id"""
    )
    await tx.execute("set local session_replication_role = replica")  # what the rescan itself decided goes
    await tx.execute("delete from given_back")
    await tx.execute("set local session_replication_role = origin")
    for invoice, network, txid, position, spend, at in given:
        # What is dead, and was never on this chain, is not known here and counts for nothing.
        await tx.execute(
            """insert into given_back (invoice_id, payment_id, spend_id, given_at)
               select $1, p.id, $5::text, $6 from (select 1) always
               left join payments p on (p.network, p.txid, p.position, p.invoice_id) = ($2, $3, $4, $1)
               where p.id is not null or $5::text is not null""",
            invoice, network, txid, position, spend, at,
        )  # fmt: skip


async def _copy_assignments(house: House, fresh: House, tx: Tx) -> None:
    """Decide again whose the money of nobody is, as it was decided last."""
    decided = await house.database.pool.fetch(
        """select distinct on (a.payment_id) p.network, p.txid, p.position, a.store_id, a.customer_id, a.decided_at
           from assignments a join payments p on p.id = a.payment_id order by a.payment_id, a.id desc"""
    )
    for network, txid, position, store_id, customer, at in decided:
        payment = await tx.fetchval(
            "select id from payments where (network, txid, position) = ($1, $2, $3)", network, txid, position
        )
        if payment is not None:
            store = await stores.get_store(tx, store_id)
            await flow.assign_payment(tx, fresh, store, payment, customer, Actor("rescan"), at, as_operator=True)


async def _copy_write_offs(house: House, fresh: House, tx: Tx) -> None:
    """Write off again what is still a loss."""
    lost = await house.database.pool.fetch(
        """select c.store_id, b.customer_id, b.asset, b.written_off from customer_balances b
           join customers c on c.id = b.customer_id where b.written_off > 0"""
    )
    known = await decimals(tx)
    for store_id, customer, asset, units in lost:
        store, amount = await stores.get_store(tx, store_id), format_units(int(units), known[asset])
        await flow.write_off(tx, store, customer, asset, amount, "gone", Actor("rescan"), fresh.clock.now())


def _digest(rows: Mapping[str, Any]) -> str:
    return sha256(json.dumps(rows, default=str, sort_keys=True).encode()).hexdigest()
