"""`kassa ledger verify`: what was lived through holds, and each kind of damage is found and named. O1, O7, F1."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import kassa.alerts.store as alerts
import kassa.watch.restraint_store as restraints
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.db.pool import Database
from kassa.flow.verifying import Verification
from kassa.invoices.model import Decision
from kassa.watch.model import Restraint
from tests.house import BITCOIN
from tests.sim.world import World, new_world

BALANCES = "every customer's balance is the sum of their postings"
LINKS = "the sums that are kept of payment links are those of their invoices"
PAYMENTS = "every payment was settled first when its event says so"
INVOICES = "every settled invoice is so since its event"
STORED = "what is stored of every invoice and payment is where it stands"
STANDINGS = "the books of every payment and spend are what its standing asks for"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A shop that has seen paid, short, spent and reorganised money, and a loss."""
    async with new_world(database, tmp_path / "house") as made:
        buyer, script = made.customers[0][0]
        made.chain.submit(made.tx((script, 200_000)))
        await made.step()
        made.chain.mine()
        await made.step()
        for units in (None, 60_000, 130_000):
            invoice = await made.invoice("50.00", 0, 900, None)
            assert invoice is not None
            made.chain.submit(made.paying(invoice, units))
        bought = await made.invoice("50.00", 0, 900, buyer)
        assert bought is not None
        assert await made.spend(bought)
        await made.step()
        made.chain.mine()
        await made.step()
        await made.mark(invoice, Decision.INVALID)
        await made.step()
        yield made


async def verified(world: World) -> Verification:
    return await flow.verify(world.house, lambda _name, _done, _of: None)


async def wrong(world: World) -> dict[str, list[str]]:
    return {check.name: check.first for check in (await verified(world)).checks if check.failures}


async def test_what_was_lived_through_holds(world: World) -> None:
    done = await verified(world)
    assert done.failures == 0
    assert done.counts["payments"] == 4
    assert done.counts["spends"] == 1
    assert done.counts["entries"] == 5


async def test_a_changed_posting_is_named_by_its_entry_and_its_payment(world: World) -> None:
    async with world.house.database.transaction() as tx:
        await tx.execute("alter table postings disable trigger postings_append_only")
        row = await tx.fetchrow(
            "update postings set units = units + 1 where account = 'wallet:bitcoin-regtest' and units = 60000"
            " returning entry_id, (select payment_id from entries where id = entry_id) as payment"
        )
    found = await wrong(world)
    assert found["every entry balances, in units and in value"] == [f"entry {row['entry_id']}"]
    assert found[STANDINGS] == [row["payment"]]
    assert found["what guards the books is switched on"] == ["postings_append_only"]


async def test_a_balanced_entry_that_nothing_asks_for_is_named(world: World) -> None:
    payment = await world.house.database.pool.fetchval(
        """with made as (
               insert into entries (store_id, payment_id, reason, booked_at)
               select store_id, id, 'planted', now() from payments where units = 60000 returning id, payment_id
           ), posted as (
               insert into postings (entry_id, account, asset, units)
               select id, a.account, 'BTC@bitcoin-regtest', a.units from made,
                   (values ('sales', 1), ('over', -1)) as a (account, units)
           )
           select payment_id from made"""
    )
    assert await wrong(world) == {STANDINGS: [payment]}


async def test_entries_that_were_deleted_are_named_by_their_payment(world: World) -> None:
    async with world.house.database.transaction() as tx:
        for table in ("postings", "entries"):
            await tx.execute(f"alter table {table} disable trigger {table}_append_only")
        payment = await tx.fetchval("select id from payments where units = 130000")
        await tx.execute(
            "delete from postings where entry_id in (select id from entries where payment_id = $1)", payment
        )
        await tx.execute("delete from entries where payment_id = $1", payment)
        for table in ("postings", "entries"):
            await tx.execute(f"alter table {table} enable trigger {table}_append_only")
    assert await wrong(world) == {STANDINGS: [payment]}


async def test_a_balance_that_its_postings_do_not_make_is_named(world: World) -> None:
    customer = world.customers[0][0][0]
    await world.house.database.pool.execute("update customer_balances set units = units + 1")
    assert await wrong(world) == {BALANCES: [f"{customer} BTC@bitcoin-regtest"]}


async def test_a_sum_of_a_link_that_its_invoices_do_not_make_is_named(world: World) -> None:
    await world.house.database.pool.execute("update link_sums set paid_units = 1 where status = 'new'")
    found = await wrong(world)
    assert found == {LINKS: [f"{world.links[0]} new"]}


async def test_a_gap_in_the_events_is_named_by_its_store(world: World) -> None:
    store = world.stores[0].id
    await world.house.database.pool.execute("delete from events where sequence = 2 and store_id = $1", store)
    found = await wrong(world)
    assert found.pop("the events of every store are numbered without gaps") == [store]
    assert list(found) == [PAYMENTS]  # it was the only word of when that payment had settled


async def test_all_are_counted_and_the_first_are_named(world: World) -> None:
    async with world.house.database.transaction() as tx:
        await tx.execute("alter table entries disable trigger entries_append_only")
        await tx.execute(
            "insert into entries (store_id, payment_id, reason, booked_at)"
            " select store_id, id, 'empty', now() from payments, generate_series(1, 10)"
        )
    found = next(check for check in (await verified(world)).checks if check.name == "every entry has its postings")
    assert (found.failures, len(found.first)) == (40, 20)


DAMAGE = {
    "invoices": {
        "status": "'new'", "flags": "'{late}'", "rules": "'{marked}'", "is_final": "not is_final",
        "paid_units": "paid_units + 1", "settled_units": "settled_units + 1", "deadline": "'2030-01-01'",
    },
    "payments": {
        "status": "'detected'", "value_units": "value_units + 1", "needs_final": "not needs_final",
        "confirmations_required": "confirmations_required + 1", "settled_at": "null",
    },
}  # fmt: skip


async def test_e_what_is_stored_is_what_the_facts_rebuild_and_each_planted_difference_is_named(world: World) -> None:
    """Live projection = full rebuild: in every column of an invoice, of its payment and of a deposit."""
    pool = world.house.database.pool
    settled = await pool.fetchval("select id from invoices where status = 'settled' and customer_id is null limit 1")
    rows = {
        "invoices": [settled],
        "payments": [
            await pool.fetchval("select id from payments where invoice_id = $1", settled),
            await pool.fetchval("select id from payments where customer_id is not null"),
        ],
    }
    for table, columns in DAMAGE.items():
        for id_ in rows[table]:
            for column, value in columns.items():
                before = await pool.fetchval(f"select {column} from {table} where id = $1", id_)
                await pool.execute(f"update {table} set {column} = {value} where id = $1", id_)
                named = (await wrong(world)).get(STORED, [])
                assert any(each.startswith(id_) and column in each for each in named), (table, column, named)
                await pool.execute(f"update {table} set {column} = $2 where id = $1", id_, before)
    for table, check in (("invoices", INVOICES), ("payments", PAYMENTS)):
        change = f"update {table} set settled_at = settled_at + $2::interval where id = $1"
        await pool.execute(change, rows[table][0], timedelta(microseconds=1))
        assert await wrong(world) == {check: [rows[table][0]]}
        await pool.execute(change, rows[table][0], timedelta(microseconds=-1))
    assert await wrong(world) == {}


async def test_an_invoice_that_waits_for_the_clock_is_no_damage_and_hides_none(world: World) -> None:
    waiting = await world.invoice("50.00", 0, 60, None)
    assert waiting is not None
    world.clock.move(61)
    await world.follower.look()  # type: ignore[union-attr]
    done = await verified(world)
    assert (done.failures, done.due) == (0, 1)
    pool = world.house.database.pool
    await pool.execute("update invoices set paid_units = 5000 where id = $1", waiting["id"])
    assert list(await wrong(world)) == [STORED]
    await pool.execute("update invoices set paid_units = 0, deadline = '2020-01-01' where id = $1", waiting["id"])
    assert list(await wrong(world)) == [STORED]


async def test_what_settled_while_more_was_asked_for_is_no_damage_when_the_alert_is_over(world: World) -> None:
    finding = Finding(Kind.DEEP_REORGANISATION, BITCOIN, Severity.WARNING, "test", network=BITCOIN)
    invoice = await world.invoice("50.00", 0, 900, None)
    assert invoice is not None
    now, pool = world.clock.now(), world.house.database
    async with pool.transaction() as tx:
        alert = await alerts.open_alert(tx, finding, now)
        assert alert is not None
        await restraints.put(tx, alert.id, Restraint("raised", now, blocks=2), BITCOIN)
    world.chain.submit(world.paying(invoice))
    for _ in range(2):
        world.chain.mine()
    await world.step()
    kept = "select status, confirmations_required from payments where invoice_id = $1"
    assert tuple(await pool.pool.fetchrow(kept, invoice["id"])) == ("settled", 2)
    async with pool.transaction() as tx:
        await restraints.lift(tx, alert.id, now)
    assert await wrong(world) == {}
    await pool.pool.execute("update payments set confirmations_required = 3 where invoice_id = $1", invoice["id"])
    assert list(await wrong(world)) == [STORED]


async def test_verification_changes_nothing(world: World) -> None:
    tables = ("entries", "postings", "events", "payments", "invoices", "customer_balances", "differences")
    query = " union all ".join(
        f"select '{name}', md5(string_agg(t::text, '' order by t::text)) from {name} t" for name in tables
    )
    before = await world.house.database.pool.fetch(query)
    await verified(world)
    assert await world.house.database.pool.fetch(query) == before
