"""F12, what rates were really worth: the market is looked up after the fact, compared, told, and reported."""

from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import pytest

import kassa.rates.store as rates
from kassa import flow
from kassa.alerts.model import Kind
from kassa.core.ids import new_id
from kassa.db.pool import Database
from kassa.flow.spreads import measure_spreads
from kassa.house import House
from kassa.invoices.model import Order
from kassa.metrics.stand import Stand
from kassa.rates.model import Pair, Quote
from kassa.settings import Rates
from kassa.stores import store as stores
from kassa.stores.model import Store
from tests.api.conftest import follow
from tests.detecting import look, open_alerts
from tests.house import BITCOIN, SetClock, add_store, build_house

SOURCES = ("kraken", "coinbase")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def house(database: Database, tmp_path: Path, clock: SetClock) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path, clock=clock, rates=Rates(sources=SOURCES))
    await follow(built)
    yield built
    await built.marks.close()


@pytest.fixture
async def store(house: House) -> Store:
    async with house.database.transaction() as tx:
        made = await add_store(tx, house)
        await stores.set_spread(tx, made.id, 10_000)
        return await stores.get_store(tx, made.id)


async def market(house: House, price: int) -> None:
    """Let both sources say a price of a bitcoin, twice, so that a jump is believed."""
    now = house.clock.now()
    async with house.database.transaction() as tx:
        for _ in range(2):
            now = house.clock.move(1)  # type: ignore[attr-defined]
            said = [Quote(Pair("BTC", "EUR"), source, None, None, Fraction(price), now, now) for source in SOURCES]
            await rates.put_quotes(tx, said)


async def order(house: House, store: Store) -> str:
    opening = await flow.quote_invoice(house, store, Order("99.00", "EUR"), house.clock.now())
    async with house.database.transaction() as tx:
        return str((await flow.open_invoice(tx, house, opening, house.clock.now()))["id"])


async def pay(house: House, invoice: str, units: int = 200_000, status: str = "detected") -> str:
    """Write a payment as it stands in the database once it was announced."""
    now = house.clock.now()
    id_ = new_id("pay", now)
    await house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               first_seen_at, replaceable, status)
           select $1, $2, $1, 'out:0', 'BTC@' || $2, $6, 0, address_id, i.store_id, $3, $4, false, $5
           from payment_options o join invoices i on i.id = o.invoice_id where invoice_id = $3""",
        id_, BITCOIN, invoice, now, status, units,
    )  # fmt: skip
    return id_


async def report(house: House, store: Store, invoice: str | None = None) -> list[dict[str, object]]:
    async with house.database.transaction() as tx:
        return await flow.report(tx, house, store, "spread", (None, None), house.clock.now(), invoice=invoice)


async def shown(house: House) -> dict[str, float]:
    stand = Stand(house, ("work",))
    await stand.refresh()
    [family] = [each for each in stand.collect() if each.name == "kassa_rate_realised_drift_ratio"]
    return {sample.labels["pair"]: sample.value for sample in family.samples}


async def test_f12_rates_that_the_market_left_behind_are_told_with_their_invoices_and_it_ends(
    house: House, store: Store, clock: SetClock
) -> None:
    await market(house, 50_000)
    invoices = [await order(house, store) for _ in range(5)]
    assert await look(house, "spreads") == {}
    await pay(house, invoices[0])
    assert await look(house, "spreads") == {}
    assert await shown(house) == {"BTC/EUR": 0.0}  # a spread of one percent, as it was meant to be

    clock.move(600)
    await market(house, 45_000)
    for invoice in invoices[1:]:
        await pay(house, invoice)
    [told] = (await look(house, "spreads"))[Kind.RATE_DRIFTED]
    assert (told.finding.store_id, told.finding.subject) == (store.id, f"{store.id}/BTC/EUR")
    # Locked at 49,500: 1 % below the market, then four times 10 % above. By value: (1 % of 100 - 10 % of 4 * 90) / 460.
    about = told.finding.about
    assert (about["payments"], about["spread_percent"], about["intended_percent"]) == (5, "-7.6087", "1.0000")
    assert about["largest_percent"] == "11.0000"
    assert sorted(about["invoices"][:4]) == sorted(invoices[1:])
    assert (await shown(house))["BTC/EUR"] == pytest.approx(-0.086087)

    clock.move(86_401)
    assert await look(house, "spreads") == {}


async def test_f12_a_single_payment_is_told_only_when_its_market_had_jumped(
    house: House, store: Store, clock: SetClock
) -> None:
    await market(house, 50_000)
    one, other = await order(house, store), await order(house, store)
    clock.move(600)
    await market(house, 45_000)
    await pay(house, one)
    assert await look(house, "spreads") == {}
    await market(house, 100_000)
    dead = await pay(house, other)
    assert [each.finding.about["largest_percent"] for each in (await look(house, "spreads"))[Kind.RATE_DRIFTED]] == [
        "49.5000"
    ]
    await house.database.pool.execute("update payments set status = 'replaced' where id = $1", dead)
    assert await look(house, "spreads") == {}  # nobody was paid at that rate


async def test_the_report_compares_with_the_market_when_seen_and_when_settled(
    house: House, store: Store, clock: SetClock
) -> None:
    await market(house, 50_000)
    first, second = await order(house, store), await order(house, store)
    paid = await pay(house, first)
    await look(house, "spreads")
    clock.move(200)
    await market(house, 40_000)
    await house.database.pool.execute(
        "update payments set status = 'settled', settled_at = $2 where id = $1", paid, clock.now()
    )
    clock.move(600)  # the quotes are too old: of this payment nobody knows what it was worth
    await pay(house, second)
    await look(house, "spreads", "spreads")
    line = {
        "object": "spread", "asset": f"BTC@{BITCOIN}", "currency": "EUR", "payments": 2, "unknown": 1,
        "value": "99.00", "market_value": "100.00", "spread_percent": "1.0000", "intended_percent": "1.0000",
        "settled_value": "99.00", "settled_market_value": "80.00", "settled_spread_percent": "-23.7500",
    }  # fmt: skip
    assert await report(house, store) == [line]
    alone = line | {"payments": 1, "unknown": 0}
    assert await report(house, store, first) == [alone]
    assert await open_alerts(house) == {}


async def test_a_fixed_rate_is_compared_with_what_sources_say(
    database: Database, tmp_path: Path, clock: SetClock
) -> None:
    chosen = Rates(sources=SOURCES, fixed={"BTC/EUR": Fraction(50_000)})
    house = await build_house(database, tmp_path, clock=clock, rates=chosen)
    await follow(house)
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    await market(house, 80_000)
    for _ in range(5):
        await pay(house, await order(house, store))
    [told] = (await look(house, "spreads"))[Kind.RATE_DRIFTED]
    assert told.finding.about["spread_percent"] == "37.5000"
    await house.marks.close()


async def test_however_many_payments_of_many_moments_are_measured_by_one_question(
    house: House, store: Store, clock: SetClock
) -> None:
    worth = {}
    for price in range(50_000, 50_012):
        await market(house, price)
        worth[await pay(house, await order(house, store))] = price
        clock.move(1)
    asked: list[str] = []
    async with house.database.transaction() as tx:
        with tx.query_logger(lambda query: asked.append(query.query)):
            await measure_spreads(tx, house, house.clock.now())
    assert sum("from rate_quotes" in query for query in asked) == 1  # nothing has settled
    said = await house.database.pool.fetch("select payment_id, seen_units from payment_markets")
    # 0.002 bitcoin, in cents.
    assert {row["payment_id"]: int(row["seen_units"]) for row in said} == {
        payment: round(Fraction(price * 2 * 100, 1_000)) for payment, price in worth.items()
    }
