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
from tests.sim.accounts import check_accounting
from tests.sim.test_credit import ADA, books, buying, deposit, give_up, lose, purse, told, verified
from tests.sim.toychain import ASSET
from tests.sim.world import World, new_world

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
    pool, owes = world.house.database.pool, world.customers[0][ADA][0]
    world.chain.submit(world.tx((world.customers[0][ADA][1], 130_000)))
    await world.step()
    world.chain.mine()
    async with world.house.database.transaction() as tx:
        now = world.clock.now()
        await flow.write_off(tx, world.stores[0], owes, ASSET, None, "gone", Actor("key_1"), now)
        coming = asyncio.create_task(world.step())
        async with asyncio.timeout(20):
            while not await pool.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 rows tell nobody
                await asyncio.sleep(0.01)
    await coming
    assert await purse(world) == (30_000, 0)
    assert await books(world) == {"wallet:bitcoin-regtest": 130_000, "sales": -100_000, "customer:ada": -30_000}
    assert await told(world, "alert.closed") == 1
    await verified(world)
    await check_accounting(world)


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
    assert (await kassa("write-off", owes, "--asset", ASSET, "--note", "a\x07b", "--yes")).returncode == 1
    assert (await kassa(*asked, "--yes")).returncode == 0
    assert await books(world) == {"sales": -100_000, "losses": 100_000}
    acts = await world.house.database.pool.fetch("select actor from acts where kind = 'customer.written_off'")
    assert [act["actor"].split()[0] for act in acts] == ["operator", "operator"]
    await verified(world)
