"""Write-offs: two at once, beside a block that makes the debt good, from the command line, and out of the books."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.core.errors import Conflict
from kassa.db.pool import Database
from kassa.ledger import store as ledger
from kassa.ledger.model import Entry, Posting
from tests.sim.accounts import check_accounting
from tests.sim.test_credit import ADA, books, buying, deposit, give_up, lose, purse, told, verified
from tests.sim.toychain import ASSET
from tests.sim.world import World, new_world

AUDIT = 0x6B6173736175
"""The lock under which acts join the audit log."""
MOVED = (("losses", 1), ("receivables", -1))
KASSA = Path(sys.executable).parent / "kassa"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A customer owes 100,000 units."""
    async with new_world(database, tmp_path / "house") as made:
        paid = await deposit(made, 150_000)
        assert await made.spend(await buying(made))
        await lose(made, paid)
        yield made


async def test_two_who_write_off_the_same_at_once_make_one_loss(world: World) -> None:
    outcomes = await asyncio.gather(*(give_up(world, None) for _ in range(4)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "Conflict", "Conflict", "dict"]
    assert [each.code for each in outcomes if isinstance(each, Conflict)] == ["not_owed"] * 3
    assert await books(world) == {"sales": -100_000, "losses": 100_000}
    assert await told(world, "alert.closed") == 1
    await verified(world)


async def test_a_deposit_that_settles_while_the_debt_is_being_written_off_takes_the_loss_back(world: World) -> None:
    owes = world.customers[0][ADA][0]
    world.chain.submit(world.tx((world.customers[0][ADA][1], 130_000)))
    await world.step()
    world.chain.mine()
    async with world.house.database.transaction() as tx:
        now = world.clock.now()
        await flow.write_off(tx, world.stores[0], owes, ASSET, None, "gone", Actor("key_1"), now)
        coming = asyncio.create_task(world.step())
        await waiting(world)
    await coming
    assert await purse(world) == (30_000, 0)
    assert await books(world) == {"wallet:bitcoin-regtest": 130_000, "sales": -100_000, "customer:ada": -30_000}
    assert await told(world, "alert.closed") == 1
    await verified(world)
    await check_accounting(world)


@pytest.mark.parametrize(("amount", "lost"), [(None, 100_000), ("0.0004", 40_000)])
async def test_a_debt_that_an_older_version_moved_to_the_losses_is_written_off_with_its_value(
    world: World, amount: str | None, lost: int
) -> None:
    moved = [Posting(account, ASSET, sign * 100_000, sign * 5_000, None) for account, sign in MOVED]
    old = Entry(world.stores[0].id, "as before", customer_id=world.customers[0][ADA][0], postings=tuple(moved))
    async with world.house.database.transaction() as tx:
        await ledger.post(tx, [old], world.clock.now())
    assert (await books(world))["losses"] == 100_000
    async with world.house.database.transaction() as tx:
        told = await flow.preview_write_off(tx, world.stores[0], world.customers[0][ADA][0], ASSET, amount)
    assert told["value"] == f"{lost // 2_000}.00"
    await give_up(world, amount)
    assert {"receivables": 0} | await books(world) == {
        "sales": -100_000, "losses": lost, "receivables": 100_000 - lost,
    }  # fmt: skip
    values = "select sum(value_units) from postings where account = 'losses'"
    assert await world.house.database.pool.fetchval(values) == lost // 20
    await check_accounting(world)


async def test_nobody_waits_for_a_lock_while_the_audit_log_is_held(world: World) -> None:
    world.chain.submit(world.tx((await world.unissued(1), 5_000)))
    world.chain.mine()
    await world.step()
    held = {
        "select from alerts for update": give_up(world, None),
        "select from customers for no key update": world.assign(0, 0, world.customers[0][ADA][0]),
    }
    for taken, deed in held.items():
        async with world.house.database.transaction() as tx:
            await tx.execute(taken)
            doing = asyncio.create_task(deed)
            await waiting(world)
            assert await world.house.database.pool.fetchval("select pg_try_advisory_xact_lock($1)", AUDIT)
        await doing
    acts = await world.house.database.pool.fetch("select kind from acts order by number")
    assert [act["kind"] for act in acts[-2:]] == ["customer.written_off", "payment.assigned"]


async def waiting(world: World) -> None:
    """Wait until somebody waits for a lock of this database."""
    pool = world.house.database.pool
    asked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not await pool.fetchval(asked):  # noqa: ASYNC110 rows tell nobody
            await asyncio.sleep(0.01)


async def test_what_is_partly_written_off_leaves_the_books_with_its_share_of_the_value(world: World) -> None:
    await give_up(world, "0.0004")
    async with world.house.database.transaction() as tx:
        store = world.stores[0]
        [lost] = await flow.report(tx, world.house, store, "costs", (None, None), world.clock.now())
        [owing] = await flow.owing(tx, store)
    assert (lost["account"], lost["amount"], lost["value"]) == ("losses", "0.00040000", "20.00")
    assert (owing["owed"], owing["written_off"]) == ("0.00100000", "0.00040000")
    await check_accounting(world)


async def test_the_operator_sees_what_is_lost_before_it_is_written_off(
    world: World, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "kassa.toml").write_text(f'data_dir = "{tmp_path}/data"\ndatabase_url = "{database_url}"\n')
    store, owes = world.stores[0].id, world.customers[0][ADA][0]

    async def kassa(*said: str, answer: str = "") -> Any:
        done = await asyncio.to_thread(
            subprocess.run, [KASSA, "customer", *said, "--store", store], cwd=tmp_path, input=answer, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    [line] = json.loads((await kassa("owing", "--json")).stdout)["data"]
    assert (line["customer_id"], line["owed"], line["written_off"]) == (owes, "0.00100000", "0.00000000")
    asked = "write-off", owes, "--asset", ASSET, "--note", "moved away"
    left = await kassa(*asked, "--amount", "0.0004", answer="n\n")
    assert (left.returncode, "0.00040000 BTC@bitcoin-regtest, 20.00 EUR in the books" in left.stderr) == (1, True)
    assert await world.house.database.pool.fetchval("select count(*) from write_offs") == 0
    done = await kassa(*asked, "--amount", "0.0004", "--json", answer="y\n")
    assert json.loads(done.stdout)["written_off"] == "0.00040000", done.stderr
    assert (await kassa(*asked, "--amount", "0.0007", "--yes")).returncode == 1
    wrong = await kassa("write-off", owes, "--asset", ASSET, "--note", "a\x07b", answer="y\n")
    assert (wrong.returncode, "become a loss" in wrong.stderr) == (1, False)
    assert (await kassa(*asked, "--yes")).returncode == 0
    assert await books(world) == {"sales": -100_000, "losses": 100_000}
    acts = await world.house.database.pool.fetch("select actor from acts where kind = 'customer.written_off'")
    assert [act["actor"].split()[0] for act in acts] == ["operator", "operator"]
    await verified(world)
