"""What an asset's units mean outlives the settings; and one record that cannot be read holds up no other."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from beancount import loader
from beancount.core.data import Commodity

from kassa import flow
from kassa.alerts.model import Kind, Verdict
from kassa.core.errors import DatabaseError, SettingsError
from kassa.core.facts import Block, BlockRef, Transaction, Transfer, TransferKey
from kassa.core.ids import CustomerId, new_id
from kassa.core.money import Asset, Token
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db.pool import Database
from kassa.flow.exporting import FORMATS, write_books
from kassa.house import House
from kassa.invoices.model import Order
from kassa.payments import asset_store as assets
from kassa.settings import Rates
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from kassa.watch import store as watch
from kassa.watch.model import ChainUpdate, Position
from tests.api.served import until
from tests.detecting import open_alerts, undo
from tests.house import BITCOIN, RATES, XPUB, SetClock, add_store, anvil_network, build_house, regtest
from tests.locks import WAITING
from tests.sim.accounts import EVER, silent

ANVIL = "anvil"
# Another number of decimals than the symbol has elsewhere, and symbols that are no currency.
TOKENS = (Token("USDC", "0x" + "11" * 20, 18), Token("GEM", "0x" + "22" * 20, 2), Token("1INCH", "0x" + "33" * 20, 18))
DECIMALS = {"BTC@bitcoin-regtest": 8, "ETH@anvil": 18, "USDC@anvil": 18, "GEM@anvil": 2, "1INCH@anvil": 18}
UNITS = {"USDC@anvil": 50 * 10**18, "GEM@anvil": 5_000}


@dataclass
class Shop:
    """A store that accepted tokens, whose network is then taken out of the settings."""

    database: Database
    folder: Path
    clock: SetClock
    before: House
    after: House
    store: Store
    position: Position
    blocks: int = 0

    async def order(self, *assets: str, currency: str = "EUR") -> dict[str, Any]:
        now = self.clock.now()
        order = Order("50.00", currency, payment_options=assets or None)
        opening = await flow.quote_invoice(self.before, self.store, order, now)
        async with self.database.transaction() as tx:
            return await flow.open_invoice(tx, self.before, opening, now)

    async def deposit_address(self, asset: str) -> str:
        now = self.clock.now()
        made = Customer(CustomerId(new_id("cus", now)), self.store.id, None, None, "{}", now)
        async with self.database.transaction() as tx:
            await customers.put(tx, made)
        issuing = await flow.prepare_address(self.before, self.store, made.id, asset, "key_test")
        async with self.database.transaction() as tx:
            issued = await flow.issue_address(tx, self.before, self.store, made.id, issuing, now)
        return str(issued["address"])

    async def pay(self, *paid: tuple[str, str, int]) -> None:
        """Add a block to the token network in which addresses get units of assets."""
        self.blocks += 1
        parse = self.before.chains[ANVIL].addresses.parse
        ref, below = BlockRef(self.blocks, f"block{self.blocks}"), f"block{self.blocks - 1}"
        made = tuple(
            Transaction(
                f"tx{self.blocks}-{n}",
                (Transfer(TransferKey(ANVIL, f"tx{self.blocks}-{n}", "log:0"), parse(address), asset, units),),
                (),
            )
            for n, (address, asset, units) in enumerate(paid)
        )
        update = ChainUpdate((), (Block(ref, below, self.clock.now(), made),))
        self.position = await self.database.run(
            lambda tx: flow.on_chain_update(tx, self.before, self.position, update, 60, self.clock.now())
        )

    async def observe(self, seconds: float) -> None:
        """Let time pass, in which whoever still follows sees everything."""
        self.clock.move(seconds)
        await self.database.pool.execute("update networks set observed_at = $1", self.clock.now())
        self.clock.move(1)

    async def statuses(self) -> dict[str, str]:
        return {row["id"]: row["status"] for row in await self.database.pool.fetch("select id, status from invoices")}

    async def books(self, form: str) -> str:
        file = io.StringIO()
        await write_books(self.after, self.store.id, EVER, form, file, silent)
        return file.getvalue()


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> AsyncIterator[Shop]:
    clock = SetClock()
    rates = Rates(fixed=RATES | {"1INCH/EUR": Fraction(1), "USDC/USDT": Fraction(95, 100)})
    settings = {BITCOIN: regtest(), ANVIL: anvil_network("http://127.0.0.1:1", *TOKENS)}
    before = await build_house(database, tmp_path, settings, clock, rates=rates)
    async with database.transaction() as tx:
        store = await add_store(tx, before)
        account = before.chains[ANVIL].addresses.account(XPUB)
        await wallets.add_wallet(tx, store.id, ANVIL, before.chains[ANVIL].space, account, before.seal, clock.now())
        for network, chain in ((BITCOIN, BITCOIN), (ANVIL, "31337")):
            await watch.register(tx, network, chain)
        position = await watch.take_lease(tx, ANVIL, "test", 60)
        other = await watch.take_lease(tx, BITCOIN, "test", 60)
    assert position is not None
    assert other is not None
    await database.pool.execute("update networks set observed_at = $1, state = 'ok', height = 0", clock.now())
    after = await build_house(database, tmp_path / "later", {BITCOIN: regtest()}, clock, rates=rates)
    shop = Shop(database, tmp_path, clock, before, after, store, position)
    await shop.pay()
    yield shop
    await before.marks.close()
    await after.marks.close()


async def leave(shop: Shop) -> None:
    """Nobody follows the token network any more, and no settings name it."""
    await shop.database.pool.execute("update networks set lease_until = null where id = $1", ANVIL)


async def test_processes_that_name_their_assets_in_another_order_start_at_once(database: Database) -> None:
    here = [Asset("ONE", BITCOIN, 8), Asset("TWO", BITCOIN, 8)]
    async with database.transaction() as tx:
        await assets.keep(tx, here[:1])

        async def start() -> None:
            async with database.transaction() as other:
                await assets.keep(other, here[::-1])

        started = asyncio.create_task(start())

        async def it_waits() -> bool:
            return bool(await database.pool.fetchval(WAITING))

        await until(it_waits)
        await assets.keep(tx, here)
    await started
    assert {each.id for each in here} <= (await assets.decimals(database.pool)).keys()


async def test_an_asset_that_left_the_settings_takes_nothing_along(shop: Shop) -> None:
    """Its invoices expire and keep their units, every other one expires too, books verify and go out whole."""
    unpaid = [await shop.order(asset) for asset in ("GEM@anvil", "USDC@anvil")]
    paid = [await shop.order(asset) for asset in UNITS]
    bitcoin = await shop.order("BTC@bitcoin-regtest")
    address = await shop.deposit_address("1INCH@anvil")
    stray = unpaid[0]["payment_options"][0]["address"]
    for each, (asset, units) in zip(paid, UNITS.items(), strict=True):
        await shop.pay((each["payment_options"][0]["address"], asset, units))
    await shop.pay((address, "1INCH@anvil", 7 * 10**18), (stray, "1INCH@anvil", 1))
    now = shop.clock.now()
    async with shop.database.transaction() as tx:
        shown = [await flow.invoice_resource(tx, shop.before, shop.store, each["id"], now) for each in paid]

    await leave(shop)
    await shop.observe(901)
    async with shop.database.transaction() as tx:
        assert await flow.on_deadlines(tx, shop.after, shop.clock.now()) == 5
    stands = await shop.statuses()
    assert {stands[each["id"]] for each in (*unpaid, bitcoin)} == {"expired"}
    async with shop.database.transaction() as tx:
        later = [await flow.invoice_resource(tx, shop.after, shop.store, each["id"], now) for each in paid]
    for one, other in zip(shown, later, strict=True):
        for key in ("status", "amount_paid", "amount_settled"):
            assert one[key] == other[key]
        for key in ("amount", "amount_paid", "decimals"):
            assert one["payment_options"][0][key] == other["payment_options"][0][key]
        assert [each["amount"] for each in one["payments"]] == [each["amount"] for each in other["payments"]]
    done = await flow.verify(shop.after, silent)
    assert done.failures == 0, [check for check in done.checks if check.failures]
    table = list(csv.DictReader(io.StringIO(await shop.books("csv"))))
    held: dict[str, Decimal] = {}
    for row in table:
        if row["account"] == "wallet:anvil":
            held[row["asset"]] = held.get(row["asset"], Decimal(0)) + Decimal(row["amount"])
    assert held == {
        "USDC@anvil": Decimal(50), "GEM@anvil": Decimal(50), "1INCH@anvil": Decimal("7.000000000000000001"),
    }  # fmt: skip
    journal, errors, _ = loader.load_string(await shop.books("beancount"), dedent=False)
    assert errors == []
    assert {entry.meta["asset"]: entry.currency for entry in journal if isinstance(entry, Commodity)} == {
        "USDC@anvil": "USDC.ANVIL", "GEM@anvil": "GEM.ANVIL", "1INCH@anvil": "X1INCH.ANVIL",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_refuses_an_asset_whose_decimals_nobody_knows(shop: Shop, form: str) -> None:
    invoice = await shop.order("GEM@anvil")
    await shop.pay((invoice["payment_options"][0]["address"], "GEM@anvil", 5_000))
    await forget(shop, "GEM@anvil")
    with pytest.raises(DatabaseError, match="how many decimals GEM@anvil has"):
        await shop.books(form)


async def test_money_without_an_owner_is_listed_beside_an_asset_whose_decimals_nobody_knows(shop: Shop) -> None:
    address = (await shop.order("ETH@anvil"))["payment_options"][0]["address"]
    await shop.pay((address, "GEM@anvil", 5_000), (address, "USDC@anvil", 50 * 10**18))
    await forget(shop, "GEM@anvil")
    async with shop.database.transaction() as tx:
        listed = await flow.unassigned(tx, shop.before)
    assert {each["asset"]: each["amount"] for each in listed} == {
        "GEM@anvil": None,
        "USDC@anvil": "50.000000000000000000",
    }


async def test_one_record_that_cannot_be_read_holds_up_no_other(shop: Shop) -> None:
    """Neither at the clock's gate, nor where a block brings money to many; and a person ends it."""
    broken, unpaid = await shop.order("GEM@anvil"), await shop.order("GEM@anvil")
    due = [await shop.order("USDC@anvil") for _ in range(3)]
    paid = await shop.order("USDC@anvil", "ETH@anvil")
    addresses = [each["payment_options"][0]["address"] for each in (broken, paid)]
    deposit = await shop.deposit_address("GEM@anvil")
    await forget(shop, "GEM@anvil")
    await shop.pay(
        (addresses[0], "GEM@anvil", 5_000), (addresses[1], "USDC@anvil", 50 * 10**18), (deposit, "GEM@anvil", 5_000)
    )
    await shop.observe(901)
    for expected in (5, 0):  # what cannot be read is not tried for ever
        async with shop.database.transaction() as tx:
            assert await flow.on_deadlines(tx, shop.before, shop.clock.now()) == expected
    stands = await shop.statuses()
    assert stands[paid["id"]] == "settled"
    assert {stands[each["id"]] for each in due} == {"expired"}
    assert {stands[each["id"]] for each in (broken, unpaid)} == {"new"}
    told = (await open_alerts(shop.before))[Kind.RECORD_UNREADABLE]
    assert len(told) == 3
    assert all("how many decimals" in alert.finding.detail for alert in told)

    await undo(shop.before, told[0], Verdict.CLOSED)
    told = (await open_alerts(shop.before))[Kind.RECORD_UNREADABLE]
    assert len(told) == 3  # who has mended nothing is told again
    async with shop.database.transaction() as tx:
        await assets.keep(tx, [Asset("GEM", ANVIL, 2)])
    for alert in told:  # each is judged again at once, also what has no deadline
        await undo(shop.before, alert, Verdict.CLOSED)
    stands = await shop.statuses()
    assert (stands[broken["id"]], stands[unpaid["id"]]) == ("settled", "expired")
    [deposit_row] = await shop.database.pool.fetch("select status from payments where invoice_id is null")
    assert deposit_row["status"] == "settled"
    assert await open_alerts(shop.before) == {}


async def test_decimals_that_amounts_were_written_with_stay(shop: Shop) -> None:
    async def keep(decimals: int) -> None:
        async with shop.database.transaction() as tx:
            await assets.keep(tx, [Asset("GEM", ANVIL, decimals)])

    await keep(3)  # nothing was asked for in it yet: a slip in the settings may be mended
    await keep(2)
    await shop.order("GEM@anvil")
    with pytest.raises(
        SettingsError, match="GEM has 3 decimals in the settings, but amounts in it were written with 2"
    ):
        await keep(3)
    assert await assets.decimals(shop.database.pool) == DECIMALS
    for change in ("update assets set decimals = 3", "delete from assets"):
        with pytest.raises(asyncpg.CheckViolationError, match="its decimals stay"):
            await shop.database.pool.execute(f"{change} where id = 'GEM@anvil'")


@pytest.mark.parametrize(
    ("currency", "due", "rate"),
    # By the market between the two coins, rounded up to the last unit; and no rate where they are one.
    [("USDT", "52.631578947368421053", "0.95"), ("USDC", "50.000000000000000000", "1.00")],
)
async def test_c26_a_price_in_one_stable_coin_is_paid_in_another_by_their_market_alone(
    shop: Shop, currency: str, due: str, rate: str
) -> None:
    short, whole = [await shop.order("USDC@anvil", currency=currency) for _ in range(2)]
    [option] = whole["payment_options"]
    assert (option["amount"], option["rate"]) == (due, rate)
    units = int(due.replace(".", ""))
    await shop.pay(
        (short["payment_options"][0]["address"], "USDC@anvil", units - 1), (option["address"], "USDC@anvil", units)
    )
    assert await shop.statuses() == {short["id"]: "new", whole["id"]: "settled"}
    # The store keeps its books in euros: by the market of what came, whatever the price was in.
    [kept] = await shop.database.pool.fetch("select sum(value_units) as value from postings where account = 'sales'")
    euros = int(Decimal(due) * 100 + Decimal("0.5"))
    assert -int(kept["value"]) == 2 * euros


async def test_the_migration_reads_decimals_from_what_earlier_versions_wrote(shop: Shop) -> None:
    await shop.order("USDC@anvil", "ETH@anvil", "BTC@bitcoin-regtest")
    await shop.order("GEM@anvil")
    await shop.pay((await shop.deposit_address("1INCH@anvil"), "1INCH@anvil", 10**17))
    text = (files("kassa.db") / "migrations" / "0080_assets.sql").read_text()
    async with shop.database.pool.acquire() as connection:
        await connection.execute("drop table assets; drop function refuse_other_decimals")
        await connection.execute(text)
    assert await assets.decimals(shop.database.pool) == DECIMALS


async def forget(shop: Shop, asset: str) -> None:
    """Damage the database as somebody may who owns its tables."""
    async with shop.database.transaction() as tx:
        await tx.execute("alter table assets disable trigger assets_in_use")
        await tx.execute("delete from assets where id = $1", asset)
        await tx.execute("alter table assets enable trigger assets_in_use")
