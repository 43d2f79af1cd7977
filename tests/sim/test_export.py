"""The books taken out: whole, bounded by days, safe to open, the same when taken twice. E26."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from beancount.core.data import Cost
from beancount.core.inventory import Inventory

from kassa.core.errors import Invalid, NotFound
from kassa.db.pool import Database
from kassa.flow.exporting import days_of, write_books
from tests.sim.accounts import EVER, check_accounting, exported, silent, transactions
from tests.sim.world import World, new_world


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A shop with a sale, an excess, a spend, a loss, and a reorganisation."""
    async with new_world(database, tmp_path / "house") as made:
        buyer, script = made.customers[0][0]
        made.chain.submit(made.tx((script, 200_000)))
        for units in (None, 130_000):
            invoice = await made.invoice("50.00", 0, 900, None)
            assert invoice is not None
            made.chain.submit(made.paying(invoice, units))
        await made.step()
        made.chain.mine()
        await made.step()
        bought = await made.invoice("50.00", 0, 900, buyer)
        assert bought is not None
        assert await made.spend(bought)
        await made.step()
        made.chain.fork(1, 2)
        await made.step()
        await made.house.database.pool.execute(
            "update invoices set reference = $1 where customer_id is null", "=cmd|'/C calc'!A0"
        )
        yield made


async def test_every_format_holds_the_books_and_beancount_accepts_them(world: World) -> None:
    await check_accounting(world)
    text = await exported(world, 0, "beancount")
    assert "  Assets:Wallet:Bitcoin-regtest  0.00100000 BTC.BITCOIN-REGTEST {{50.00 EUR}}\n" in text
    assert "  Assets:Wallet:Bitcoin-regtest  -0.00100000 BTC.BITCOIN-REGTEST {{50.00 EUR}}\n" in text


async def test_a_sale_of_coins_names_the_lot_that_it_sells(world: World) -> None:
    """As docs/export.md shows it: the lot by its cost and day; what is left of the wallet is all but that lot."""
    world.chain.mine()
    await world.step()
    day = world.house.clock.now().date()
    sale = f"""
2030-01-01 open Assets:Bank
2030-01-01 open Income:Gains
2030-01-02 * "coins sold"
  Assets:Wallet:Bitcoin-regtest  -0.00100000 BTC.BITCOIN-REGTEST {{{{50.00 EUR, {day}}}}}
  Assets:Bank  60.00 EUR
  Income:Gains
"""
    held, sold = Inventory(), Inventory()
    text = await exported(world, 0, "beancount")
    for journal, inventory in ((text, held), (text + sale, sold)):
        for posting in [posting for each in transactions(journal) for posting in each.postings]:
            if posting.account == "Assets:Wallet:Bitcoin-regtest":
                inventory.add_position(posting)
    assert transactions(text + sale)[-1].postings[-1].units.number == Decimal("-10.00")  # the gain
    key = ("BTC.BITCOIN-REGTEST", Cost(Decimal(50_000), "EUR", day, None))
    left = sold[key].units.number if key in sold else 0
    assert held[key].units.number - Decimal("0.001") == left
    assert {lot: position for lot, position in held.items() if lot != key} == {
        lot: position for lot, position in sold.items() if lot != key
    }


async def test_e26_references_are_neutralised_and_negative_amounts_stay_numbers(world: World) -> None:
    text = await exported(world, 0, "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["reference"] for row in rows} == {"'=cmd|'/C calc'!A0", ""}
    negative = [row["amount"] for row in rows if row["amount"].startswith("-")]
    assert negative
    assert all(f",{amount}," in text for amount in negative)


@pytest.mark.parametrize("form", ["csv", "jsonl", "beancount"])
async def test_the_same_days_give_the_same_file_and_days_without_entries_none(world: World, form: str) -> None:
    assert await exported(world, 0, form) == await exported(world, 0, form)
    now = world.house.clock.now()
    before = await exported(world, 0, form, (EVER[0], now - timedelta(days=1)))
    assert "ent_0" not in before


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-01-02", "2026-01-01"), ("2026-01-01", "9999-12-31"), ("0001-01-01", "2026-01-01"), ("2026", "2026-1-2")],
)
def test_days_that_are_none_or_in_the_wrong_order_are_refused(first: str, last: str) -> None:
    with pytest.raises(Invalid):
        days_of(first, last)
    assert days_of("2026-01-01", "2026-01-01")[1] == datetime(2026, 1, 2, tzinfo=UTC)


async def test_a_store_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        await write_books(world.house, "sto_none", EVER, "csv", io.StringIO(), silent)
