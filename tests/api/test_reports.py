"""Reports over HTTP: the same sums as the books."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kassa.accounting.reporting import telling
from tests.api.served import Served, serve
from tests.sim.world import World, new_world

BTC = "BTC@bitcoin-regtest"


@pytest.fixture
async def world(database: Any, tmp_path: Any) -> AsyncIterator[World]:
    """A shop with a sale, a deposit of which half was spent, and an invoice that is open."""
    async with new_world(database, tmp_path / "house") as made:
        buyer, script = made.customers[0][0]
        sold, bought, _open = [await made.invoice("50.00", 0, 900, owner) for owner in (None, buyer, None)]
        assert sold is not None
        assert bought is not None
        made.chain.submit(made.paying(sold))
        made.chain.submit(made.tx((script, 200_000)))
        await made.step()
        made.chain.mine()
        await made.step()
        assert await made.spend(bought)
        await made.step()
        yield made


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    async with serve(world.house, world.stores[0]) as running:
        yield running


async def lines(served: Served, path: str) -> list[Any]:
    answer = await served.all.get(f"/v1/reports/{path}")
    assert answer.status == 200, answer.body
    return list(answer.json["data"])


async def test_sales_are_summed_by_day_asset_and_status(served: Served, world: World) -> None:
    day = world.house.clock.now().date().isoformat()
    assert await lines(served, f"sales?from={day}&to={day}") == [
        {
            "object": "sales", "day": day, "asset": BTC, "status": "settled", "invoices": 2, "amount": "0.00200000",
            "value": "100.00", "currency": "EUR",
        }
    ]  # fmt: skip
    assert await lines(served, "sales?from=2001-01-01&to=2001-12-31") == []


async def test_what_is_open_and_what_is_owed(served: Served) -> None:
    (still,) = await lines(served, "outstanding")
    assert (still["status"], still["invoices"], still["amount"], still["amount_paid"]) == ("new", 1, "50.00", "0.00")
    (owed,) = await lines(served, "liabilities")
    assert (owed["asset"], owed["customers"], owed["amount"], owed["value"]) == (BTC, 1, "0.00100000", "50.00")
    assert await lines(served, "costs") == []


@pytest.mark.parametrize(
    "days", ["from=yesterday", "to=2026-02-30", "from=2026-01-02&to=2026-01-01", "from=2001-01-01"]
)
async def test_days_that_are_none_or_too_many_are_refused(served: Served, days: str) -> None:
    answer = await served.all.get(f"/v1/reports/sales?{days}")
    assert answer.status == 422


async def test_a_report_that_takes_long_says_so_and_a_quick_one_nothing() -> None:
    told, said = [], asyncio.Event()

    def tell(name: str, done: int, of: int | None) -> None:
        told.append((name, done, of))
        said.set()

    async def slow() -> bool:
        return await said.wait()

    assert await telling(slow(), "sales", tell)
    assert told == [("sales, seconds so far", 1, None)]
    assert await telling(asyncio.sleep(0, "quick"), "sales", tell) == "quick"
    assert len(told) == 1


async def test_whoever_interrupts_a_report_gets_no_other_fault(database: Any) -> None:
    async def reporting() -> None:
        async with database.transaction() as tx:
            await telling(tx.execute("select pg_sleep(20)"), "sales", lambda _name, _done, _of: begun.set())

    begun = asyncio.Event()
    task = asyncio.create_task(reporting())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.pool.fetchval("select 1") == 1


async def test_o13_another_store_sees_nothing_of_it(world: World) -> None:
    async with serve(world.house, world.stores[1]) as other:
        for name in ("sales", "outstanding", "liabilities", "costs"):
            assert await lines(other, name) == []
