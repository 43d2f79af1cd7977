"""D21: one balance, spent from everywhere at once. D1: killed while it is spent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from kassa.db.pool import Database
from tests.faults.crashing import ROOT
from tests.sim.world import World, new_world

SPENDING = ("spend.written", "flow.announced", "flow.events", "flow.posted", "spend.commit")


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A customer of the first store has settled credit of 100,000 units."""
    async with new_world(database, tmp_path / "house") as made:
        made.chain.submit(made.tx((made.customers[0][0][1], 100_000)))
        made.chain.mine()
        await made.step()
        yield made


async def invoices(world: World, count: int) -> list[str]:
    """Open invoices of 60 % of that credit each."""
    made = [await world.invoice("30.00", customer=world.customers[0][0][0]) for _ in range(count)]
    return [invoice["id"] for invoice in made if invoice is not None]


async def spend(world: World, url: str, folder: Path, ids: list[str], **environment: str) -> tuple[int | None, str]:
    """Let a process of its own spend on these invoices at once; return how it ended and what it printed."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.faults.spender", url, str(folder), world.stores[0].id, *ids),
        cwd=ROOT,
        env=os.environ | {"KASSA_CRASH": ""} | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode().strip()


async def test_d21_of_two_hundred_who_spend_sixty_percent_at_once_one_succeeds(
    world: World, database_url: str, tmp_path: Path
) -> None:
    ids = await invoices(world, 200)
    ends = await asyncio.gather(*(spend(world, database_url, tmp_path / f"process-{n}", ids[n::4]) for n in range(4)))
    assert [code for code, _ in ends] == [0] * 4
    assert sum(int(printed) for _, printed in ends) == 1
    pool = world.house.database.pool
    assert await pool.fetchval("select units from customer_balances") == 40_000
    assert await pool.fetchval("select count(*) from invoices where status = 'settled'") == 1
    await world.step()


@pytest.mark.parametrize("statement", ["units = -1", "owed = -1", "units = 5, owed = 5"])
async def test_d21_the_database_itself_refuses_less_than_nothing(world: World, statement: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await world.house.database.pool.execute(f"update customer_balances set {statement}")


async def test_d21_a_spend_is_never_changed(world: World) -> None:
    (only,) = await invoices(world, 1)
    assert await world.spend(next(i for i in world.invoices if i["id"] == only))
    for statement in ("update spends set units = 1", "delete from spends", "truncate spends cascade"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await world.house.database.pool.execute(statement)


@pytest.mark.parametrize("point", SPENDING)
async def test_d1_killed_while_credit_is_spent_nothing_or_all_of_it_happened(
    world: World, database_url: str, tmp_path: Path, point: str
) -> None:
    ids = await invoices(world, 1)
    code, _ = await spend(world, database_url, tmp_path / "killed", ids, KASSA_CRASH=f"{point}:1")
    assert code == -signal.SIGKILL
    await world.step()
    pool = world.house.database.pool
    assert await pool.fetchval("select units from customer_balances") == 100_000
    assert await spend(world, database_url, tmp_path / "again", ids) == (0, "1")
    assert await pool.fetchval("select units from customer_balances") == 40_000
    await world.step()
