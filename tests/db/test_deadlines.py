"""The clock's gate: what it waits for, and what that costs."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from kassa import flow
from kassa.core.ids import InvoiceId
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.invoices import deadline_store as deadlines
from kassa.invoices.model import Order
from kassa.payments.model import Touched
from tests.house import BITCOIN, SetClock, add_store, build_house, regtest

SILENT = "litecoin-regtest"
HELD = 5_000


async def observe(house: House, network: str) -> None:
    await house.database.pool.execute(
        "insert into networks (id, chain, state, observed_at) values ($1, $1, 'ok', $2)"
        " on conflict (id) do update set observed_at = $2",
        network,
        house.clock.now(),
    )


async def rows_read(tx: Tx) -> int:
    """How many rows of invoices this connection has read since its statistics were last passed on."""
    return int(
        await tx.fetchval(
            "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where relname = 'invoices'"
        )
    )


async def test_a_tick_does_not_read_the_invoices_that_a_silent_network_holds(
    database: Database, tmp_path: Path
) -> None:
    clock = SetClock()
    house = await build_house(database, tmp_path, {BITCOIN: regtest(), SILENT: regtest(SILENT)}, clock)
    await observe(house, BITCOIN)
    await observe(house, SILENT)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), clock.now())
    due = str((await flow.open_invoice(None, house, opening, clock.now()))["id"])
    await database.pool.execute(
        """with held as (
               insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at,
                   status, deadline, networks)
               select 'inv_' || n, $1, 1, 'EUR', 0, $2, $2, 'new', $2, $3 from generate_series(1, $4) as n returning id
           ), address as (
               insert into addresses (id, network, script, address, watch_key, keychain_id, index, created_at)
               values ('adr_held', $3, 'x', 'x', 0, (select id from keychains), 999, $2) returning id
           )
           insert into payment_options
               (invoice_id, asset, network, address_id, due_units, rate, rate_source, rate_at, confirmations)
           select held.id, 'LTC@' || $3, $3, address.id, 1, '1', 'fixed', $2, '[]' from held, address""",
        store.id,
        clock.now() - timedelta(seconds=1),
        SILENT,
        HELD,
    )
    await database.pool.execute(
        "update networks set observed_at = $1 where id = $2", clock.now() - timedelta(9), SILENT
    )
    await database.pool.execute("analyze")
    clock.move(901)
    await observe(house, BITCOIN)
    now = clock.move(1)
    async with database.transaction() as tx:
        before = await rows_read(tx)
        assert await deadlines.due(tx, now, 100, list(house.settings.networks)) == [due]
        assert await rows_read(tx) - before < 20
    await observe(house, SILENT)
    async with database.transaction() as tx:
        assert len(await deadlines.due(tx, clock.move(1), 2 * HELD, list(house.settings.networks))) == HELD + 1
    await house.marks.close()


async def test_an_invoice_waits_for_each_of_its_networks_and_one_of_unknown_networks_for_all(
    database: Database, tmp_path: Path
) -> None:
    clock = SetClock()
    house = await build_house(database, tmp_path, {BITCOIN: regtest(), SILENT: regtest(SILENT)}, clock)
    await observe(house, BITCOIN)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    ids = []
    for networks in (BITCOIN, f"{BITCOIN} {SILENT}", ""):
        opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), clock.now())
        ids.append(str((await flow.open_invoice(None, house, opening, clock.now()))["id"]))
        await database.pool.execute("update invoices set networks = $2 where id = $1", ids[-1], networks)
    clock.move(901)
    await observe(house, BITCOIN)

    async def due() -> set[str]:
        async with database.transaction() as tx:
            return {str(id_) for id_ in await deadlines.due(tx, clock.now(), 100, list(house.settings.networks))}

    clock.move(1)
    assert await due() == {ids[0]}
    await observe(house, SILENT)
    clock.move(1)
    assert await due() == set(ids)
    await house.marks.close()


async def test_an_invoice_on_a_network_that_was_removed_expires_by_the_clock_once_nobody_follows_it(
    database: Database, tmp_path: Path
) -> None:
    clock = SetClock()
    before = await build_house(database, tmp_path, {BITCOIN: regtest()}, clock)
    await observe(before, BITCOIN)
    async with database.transaction() as tx:
        store = await add_store(tx, before)
    opening = await flow.quote_invoice(before, store, Order("50.00", "EUR"), clock.now())
    invoice = str((await flow.open_invoice(None, before, opening, clock.now()))["id"])
    house = replace(before, settings=replace(before.settings, networks={}), chains={}, former=before.chains)
    clock.move(901)

    async def ticked(where: House) -> str:
        async with database.transaction() as tx:
            await flow.on_deadlines(tx, where, clock.now())
            return str(await tx.fetchval("select status from invoices where id = $1", invoice))

    assert await ticked(before) == "new"
    await database.pool.execute("update networks set lease_until = now() + interval '10 seconds'")
    assert await ticked(house) == "new"
    await database.pool.execute("update networks set lease_until = now() - interval '61 seconds'")
    assert await ticked(house) == "expired"
    async with database.transaction() as tx:
        assert await deadlines.due(tx, clock.move(1000), 100, []) == []
        shown = await flow.invoice_resource(tx, house, store, invoice, clock.now())
    assert (shown["status"], shown["is_final"]) == ("expired", True)
    # Put back into the settings, it is waited for again; but what was said to be over stays so.
    async with database.transaction() as tx:
        await flow.reassess(tx, before, Touched(frozenset([InvoiceId(invoice)])), clock.now())
        assert await tx.fetchval("select status from invoices") == "expired"
        assert await tx.fetchval("select count(*) from events where type = 'invoice.reopened'") == 0
    await database.pool.execute("update networks set lease_until = now() + interval '600 seconds'")
    await observe(before, BITCOIN)
    later = await flow.quote_invoice(before, store, Order("50.00", "EUR", expires_in=60), clock.now())
    open_again = str((await flow.open_invoice(None, before, later, clock.now()))["id"])
    clock.move(61)
    assert await ticked(before) == "expired"
    assert await database.pool.fetchval("select status from invoices where id = $1", open_again) == "new"
    await before.marks.close()


async def test_a_payment_missing_where_nobody_looks_any_more_is_not_asked_about_for_ever(
    database: Database, tmp_path: Path
) -> None:
    clock = SetClock()
    before = await build_house(database, tmp_path, {BITCOIN: regtest()}, clock)
    await observe(before, BITCOIN)
    async with database.transaction() as tx:
        store = await add_store(tx, before)
    opening = await flow.quote_invoice(before, store, Order("50.00", "EUR"), clock.now())
    await flow.open_invoice(None, before, opening, clock.now())
    await database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               first_seen_at, replaceable, missing_since)
           select 'pay_1', network, 'a', 'out:0', 'BTC@' || network, 5, 0, id, store_id, invoice_id, $1, true, $1
           from addresses""",
        clock.now(),
    )
    house = replace(before, settings=replace(before.settings, networks={}), chains={}, former=before.chains)
    clock.move(901)
    async with database.transaction() as tx:
        assert await flow.on_deadlines(tx, house, clock.now()) == 1
        assert await flow.on_deadlines(tx, house, clock.move(1)) == 0
    row = await database.pool.fetchrow("select status, deadline from invoices")
    assert (row["status"], row["deadline"]) == ("expired", None)
    assert await database.pool.fetchval("select status from payments") == "detected"
    await before.marks.close()
