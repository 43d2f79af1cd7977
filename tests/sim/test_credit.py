"""Customers' credit as small examples: what is deposited, over or short, how it is spent, how it is taken back."""

import csv
import io
import json
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kassa import flow
from kassa.alerts.model import Alert, Kind, Verdict
from kassa.audit.model import Actor
from kassa.core.clock import rfc3339
from kassa.core.errors import Conflict, Invalid
from kassa.core.ids import StoreId
from kassa.db.pool import Database
from kassa.invoices.model import Decision
from kassa.payments.list_store import Filters
from kassa.stores import store as stores
from tests.detecting import look
from tests.house import BITCOIN
from tests.sim.accounts import check_accounting, exported, silent
from tests.sim.toychain import ASSET
from tests.sim.world import World, new_world

ADA = 0


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(database, tmp_path / "house") as made:
        yield made


async def purse(world: World, store: int = 0) -> tuple[int, int]:
    row = await world.house.database.pool.fetchrow(
        "select units, owed from customer_balances where customer_id = $1", world.customers[store][ADA][0]
    )
    return (0, 0) if row is None else (int(row["units"]), int(row["owed"]))


async def books(world: World) -> dict[str, int]:
    rows = await world.house.database.pool.fetch(
        "select account, sum(units) as units from postings group by 1 having sum(units) <> 0"
    )
    return {row["account"].replace(world.customers[0][ADA][0], "ada"): int(row["units"]) for row in rows}


async def told(world: World, type_: str) -> int:
    count: int = await world.house.database.pool.fetchval("select count(*) from events where type = $1", type_)
    return count


async def deposit(world: World, units: int, store: int = 0) -> str:
    tx = world.tx((world.customers[store][ADA][1], units))
    world.chain.submit(tx)
    await world.step()
    world.chain.mine()
    await world.step()
    return tx.txid


async def lose(world: World, txid: str) -> None:
    """Let the chain take a transaction of its newest block back, for so long that it counts as dropped."""
    world.chain.fork(1, 2, lose=[txid])
    await world.step()
    world.clock.move(11)
    await world.step()


async def buying(world: World, amount: str = "50.00", store: int = 0, **policy: object) -> dict[str, Any]:
    invoice = await world.invoice(amount, store, 900, world.customers[store][ADA][0], **policy)
    assert invoice is not None
    return invoice


async def test_a_deposit_is_pending_until_it_settles_and_then_credit_told_once(world: World) -> None:
    world.chain.submit(world.tx((world.customers[0][ADA][1], 200_000)))  # 100 EUR: one block
    await world.step()
    assert (await purse(world), await books(world)) == ((0, 0), {})
    world.chain.mine()
    await world.step()
    assert await purse(world) == (200_000, 0)
    assert await books(world) == {"wallet:bitcoin-regtest": 200_000, "customer:ada": -200_000}
    world.chain.mine()
    await world.step()
    assert await told(world, "customer.credited") == 1


async def test_a_deposits_depth_follows_its_value_at_first_sight(world: World) -> None:
    world.chain.submit(world.tx((world.customers[0][ADA][1], 200_001)))  # above 100 EUR: three
    world.chain.mine()
    await world.step()
    assert await books(world) == {"wallet:bitcoin-regtest": 200_001, "unsettled": -200_001}
    world.chain.mine()
    world.chain.mine()
    await world.step()
    assert await purse(world) == (200_001, 0)


@pytest.mark.parametrize("apart", [False, True])
async def test_many_small_deposits_are_no_sooner_credit_than_one_of_the_same_sum(world: World, apart: bool) -> None:
    outputs = [
        (world.customers[0][ADA][1], 40_000)
    ] * 6  # 20 EUR each: nothing is waited for; six of them: three blocks
    for tx in [world.tx(output) for output in outputs] if apart else [world.tx(*outputs)]:
        world.chain.submit(tx)
        await world.step()
    assert await purse(world) == (40_000, 0)
    world.chain.mine()
    await world.step()
    assert await purse(world) == (200_000, 0)
    world.chain.mine()
    world.chain.mine()
    await world.step()
    assert await purse(world) == (240_000, 0)
    world.chain.submit(world.tx(outputs[0]))
    await world.step()
    assert await purse(world) == (280_000, 0)


async def test_credit_pays_an_invoice_at_most_what_is_due(world: World) -> None:
    await deposit(world, 150_000)
    invoice = await buying(world)
    assert await world.spend(invoice, 900_000)
    await world.step()
    shown = await world.shown(invoice)
    assert (shown["status"], shown["amount_settled"], shown["amount_over"]) == ("settled", "50.00", "0.00")
    assert [spend["amount"] for spend in shown["spends"]] == ["0.00100000"]
    assert shown["payment_options"][0]["amount_paid"] == "0.00100000"
    assert await purse(world) == (50_000, 0)
    assert not await world.spend(invoice)


async def test_how_the_rates_of_deposits_and_spends_came_about_is_kept(world: World) -> None:
    await deposit(world, 150_000)
    assert await world.spend(await buying(world))
    pool = world.house.database.pool
    spent = await pool.fetchrow("select rate, rate_source as source, rate_at as at, rate_method as method from spends")
    held = await pool.fetchrow(
        "select book_rate as rate, book_rate_source as source, book_rate_at as at, book_rate_method as method"
        " from payments"
    )
    for row in (spent, held):
        assert (row["rate"], row["source"]) == ("50000", "fixed")
        assert json.loads(row["method"])["at"] == rfc3339(row["at"])
        assert [each["source"] for each in json.loads(row["method"])["inputs"]] == ["fixed"]


async def test_where_rates_come_from_is_shown_and_exported_with_payments_deposits_and_spends(world: World) -> None:
    await deposit(world, 150_000)
    bought, paid = await buying(world), await world.invoice("50.00", 0, 900, None)
    assert paid is not None
    assert await world.spend(bought)
    world.chain.submit(world.paying(paid, None))
    await world.step()
    world.chain.mine()
    await world.step()
    now, store = world.house.clock.now(), world.stores[0]
    async with world.house.database.transaction() as tx:
        listed = await flow.payment_list(tx, world.house, store, Filters(), None, 10, now)
        whole = [await flow.payment_rate(tx, world.house, store, each["id"], now) for each in listed]
    (spent,) = (await world.shown(bought))["spends"]
    assert len(listed) == 2
    for each in (*listed, spent):
        assert (each["rate"], each["rate_source"]) == ("50000.00", "fixed")
        assert each["rate_at"] <= rfc3339(now)
    for each, payment in zip(whole, listed, strict=True):
        assert each["payment_id"] == payment["id"]
        assert each["rate_at"] == payment["rate_at"]
        assert each["rate_method"]["at"] == each["rate_at"]
        assert each["rate_method"]["method"] == each["rate_source"]
    lines = [json.loads(line) for line in (await exported(world, 0, "jsonl")).splitlines()]
    assert {line["reason"] for line in lines} == {"deposit settled", "credit spent", "payment settled"}
    for line in lines:
        assert line["rate_source"] == line["rate_method"]["method"] == "fixed"
        assert line["rate_at"] == line["rate_method"]["at"]
    table = list(csv.DictReader(io.StringIO(await exported(world, 0, "csv"))))
    assert {(row["rate_source"], row["rate_at"]) for row in table} == {("fixed", line["rate_at"]) for line in lines}
    assert '  rate_source: "fixed"\n' in await exported(world, 0, "beancount")


async def test_credit_that_is_short_pays_nothing(world: World) -> None:
    await deposit(world, 99_999)
    invoice = await buying(world)
    assert not await world.spend(invoice)
    assert (await purse(world), (await world.shown(invoice))["status"]) == ((99_999, 0), "new")
    assert await world.spend(invoice, 99_999)
    await world.step()
    assert (await world.shown(invoice))["amount_due"] == "0.01"


async def test_credit_completes_what_a_payment_began(world: World) -> None:
    await deposit(world, 150_000)
    invoice = await buying(world)
    world.chain.submit(world.paying(invoice, 60_000))
    await world.step()
    assert await world.spend(invoice)
    assert (await world.shown(invoice))["status"] == "processing"
    world.chain.mine()
    await world.step()
    assert (await world.shown(invoice))["status"] == "settled"
    assert await purse(world) == (110_000, 0)


async def test_credit_in_an_asset_that_is_in_doubt_cannot_be_spent(world: World) -> None:
    await deposit(world, 150_000)
    invoice = await buying(world)
    async with world.house.database.transaction() as tx:
        frozen = "insert into contracts (network, asset, frozen_for) values ($1, $2, 'a doubt')"
        await tx.execute(frozen, BITCOIN, ASSET)
    with pytest.raises(Conflict) as refused:
        async with world.house.database.transaction() as tx:
            await flow.pay_from_credit(
                tx, world.house, world.store_of(invoice), invoice["id"], ASSET, None, "sim", world.clock.now()
            )
    assert refused.value.code == "asset_frozen"
    assert await purse(world) == (150_000, 0)


async def test_c20_satoshi_given_for_bitcoin_are_stopped_by_several_checks_and_raise_an_alarm(world: World) -> None:
    """100,000 BTC instead of satoshi: against it are what is due, what there is, the table, the books and a freeze."""
    await deposit(world, 60_000)
    invoice = await buying(world)
    pool, customer = world.house.database.pool, world.customers[0][ADA][0]
    assert not await world.spend(invoice, 100_000 * 10**8)  # capped at what is due, which is more than there is
    assert await purse(world) == (60_000, 0)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update customer_balances set units = units - $1::numeric", 100_000)
    planted = 100_000 * 10**8
    await pool.execute("update customer_balances set units = $1::numeric where customer_id = $2", planted, customer)
    found = {check.name: check.first for check in (await flow.verify(world.house, silent)).checks if check.failures}
    assert found == {"every customer's balance is the sum of their postings": [f"{customer} {ASSET}"]}
    assert set(await look(world.house, "solvency")) == {Kind.BOOKS_INSOLVENT}
    with pytest.raises(Conflict) as refused:
        async with world.house.database.transaction() as tx:
            await flow.pay_from_credit(
                tx, world.house, world.store_of(invoice), invoice["id"], ASSET, None, "sim", world.clock.now()
            )
    assert refused.value.code == "asset_frozen"


async def plant(world: World, *postings: tuple[str, int], times: int = 1) -> None:
    """Write balanced entries about the first payment, as somebody who owns the database can."""
    await world.house.database.pool.execute(
        """with made as (
               insert into entries (store_id, payment_id, reason, booked_at)
               select store_id, id, 'planted', $1 from (select * from payments order by id limit 1) p,
                   generate_series(1, $2) returning id
           )
           insert into postings (entry_id, account, asset, units)
           select id, p.account, 'BTC@bitcoin-regtest', p.units
           from made, unnest($3::text[], $4::bigint[]) as p (account, units)""",
        world.clock.now(),
        times,
        [account for account, _ in postings],
        [units for _, units in postings],
    )


async def test_f2_a_customer_in_debit_by_a_planted_entry_freezes_the_asset_at_the_next_look(world: World) -> None:
    await deposit(world, 150_000)
    ada = f"customer:{world.customers[0][ADA][0]}"
    assert await look(world.house, "solvency") == {}
    await plant(world, (ada, 150_000), ("income", -150_000))
    assert await look(world.house, "solvency") == {}  # nothing left is not less than nothing
    await plant(world, (ada, 1), ("income", -1))
    [alert] = (await look(world.house, "solvency"))[Kind.CUSTOMER_IN_DEBIT]
    assert alert.finding.about["units"] == "1"
    [held], store = (await world.position()).restraints, world.stores[0].id
    assert (alert.finding.store_id, held.kind, held.asset, held.store_id) == (store, "held", ASSET, store)


async def test_f2_a_customer_in_debit_holds_back_their_store_alone_until_the_operator_has_looked(world: World) -> None:
    await deposit(world, 150_000)
    await deposit(world, 150_000, store=1)
    mine, others = await buying(world), await buying(world, store=1)
    await plant(world, (f"customer:{world.customers[0][ADA][0]}", 150_001), ("income", -150_001))
    [alert] = (await look(world.house, "solvency"))[Kind.CUSTOMER_IN_DEBIT]
    assert not await world.spend(mine)
    assert await world.invoice(store=0) is None
    assert await world.spend(others)
    assert await world.invoice(store=1) is not None
    with pytest.raises(Conflict, match="its operator decides"):
        await end(world, alert, world.stores[0].id)
    assert not await world.spend(mine)
    await end(world, alert, None)
    assert await world.spend(mine)


async def end(world: World, alert: Alert, store: StoreId | None) -> None:
    by, now = Actor("key_1"), world.clock.now()
    async with world.house.database.transaction() as tx:
        await flow.decide_alert(tx, world.house, store, alert.id, Verdict.UNDONE, by, "looked", now)


async def test_f2_a_credit_of_more_than_half_of_all_that_is_held_is_told(world: World) -> None:
    await deposit(world, 150_000)
    ada = f"customer:{world.customers[0][ADA][0]}"
    assert await look(world.house, "credits") == {}  # books that know one entry know no usual one
    await plant(world, ("wallet:bitcoin-regtest", 10_000), ("sales", -10_000), times=20)
    half = (150_000 + 20 * 10_000) // 2
    await plant(world, (ada, -half), ("income", half))
    assert await look(world.house, "credits") == {}
    await plant(world, (ada, -half - 1), ("income", half + 1))
    assert set(await look(world.house, "credits")) == {Kind.CREDIT_UNUSUAL}
    assert await look(world.house, "credits", now=world.clock.move(3_601)) == {}


async def test_c11_the_largest_sums_that_a_chain_allows_are_kept_exactly(world: World) -> None:
    """Twelve times 2**256 - 1 has more than 78 digits: it must not stop the follower."""
    most = 2**256 - 1
    invoice = await buying(world, over="credit")
    for _ in range(12):
        world.chain.submit(world.tx((world.customers[0][ADA][1], most)))
        world.chain.submit(world.paying(invoice, most))
    for _ in range(3):
        world.chain.mine()
    await world.step()
    assert await purse(world) == (24 * most - 100_000, 0)
    assert (await books(world))["wallet:bitcoin-regtest"] == 24 * most


async def test_credit_pays_nothing_after_the_end(world: World) -> None:
    await deposit(world, 150_000)
    invoice = await buying(world)
    world.clock.move(901)
    assert not await world.spend(invoice)


async def test_a3_a_deposit_that_was_spent_and_is_taken_back_is_owed_until_it_is_back(world: World) -> None:
    paid = await deposit(world, 150_000)
    invoice = await buying(world)
    assert await world.spend(invoice)
    lost = world.chain.known[paid]
    await lose(world, paid)
    assert await purse(world) == (0, 100_000)
    assert await books(world) == {"receivables": 100_000, "sales": -100_000}
    assert (await world.shown(invoice))["status"] == "settled"
    for _ in range(3):
        world.chain.mine()
        await world.step()
    assert (await told(world, "alert.opened"), await told(world, "alert.closed")) == (1, 0)

    world.chain.submit(lost)
    world.chain.mine()
    await world.step()
    assert await purse(world) == (50_000, 0)
    assert await books(world) == {"wallet:bitcoin-regtest": 150_000, "customer:ada": -50_000, "sales": -100_000}
    assert (await told(world, "alert.opened"), await told(world, "alert.closed")) == (1, 1)


async def test_one_alert_tells_of_credit_that_is_lost_more_and_more(world: World) -> None:
    first, second = await deposit(world, 60_000), await deposit(world, 50_000)
    assert await world.spend(await buying(world))
    for depth, lost, owed in ((1, second, 40_000), (3, first, 100_000)):
        world.chain.fork(depth, depth + 1, lose=[lost])
        await world.step()
        world.clock.move(11)
        await world.step()
        assert await purse(world) == (0, owed)
        await says(world, owed)
    assert (await told(world, "alert.opened"), (await books(world))["receivables"]) == (1, 100_000)
    await give_up(world, "0.0003")
    await says(world, 70_000)
    await deposit(world, 20_000)
    await says(world, 50_000)


async def test_what_is_lost_after_a_person_closed_the_alert_opens_it_again(world: World) -> None:
    first, second = await deposit(world, 60_000), await deposit(world, 50_000)
    assert await world.spend(await buying(world))
    await lose(world, second)
    await close(world)
    await give_up(world, "0.0001")
    assert (await purse(world), await told(world, "alert.opened")) == ((0, 40_000), 1)  # less of it is no news
    world.chain.fork(3, 4, lose=[first])
    await world.step()
    world.clock.move(11)
    await world.step()
    assert await told(world, "alert.opened") == 2
    await says(world, 90_000)
    await close(world)
    third = await deposit(world, 90_000)
    assert await purse(world) == (0, 10_000)  # which is written off
    await lose(world, third)  # as much as before, but nothing was owed meanwhile
    assert await told(world, "alert.opened") == 3
    await says(world, 90_000)


async def close(world: World) -> None:
    """Let a person of the store close the one open alert."""
    alert = await world.house.database.pool.fetchval("select id from alerts where closed_at is null")
    store, by, now = world.stores[0].id, Actor("key_1"), world.clock.now()
    async with world.house.database.transaction() as tx:
        await flow.decide_alert(tx, world.house, store, alert, Verdict.CLOSED, by, "we know", now)


async def says(world: World, owed: int) -> None:
    """Look what the one open alert says is owed."""
    row = await world.house.database.pool.fetchrow("select about, reason from alerts where closed_at is null")
    amount = f"0.{owed:08}"
    assert (json.loads(row["about"])["amount"], row["reason"].split()[0]) == (amount, amount)


async def test_deposits_that_are_lost_at_once_are_owed_each_at_its_own_rate(world: World) -> None:
    first, invoice = await deposit(world, 100_000), await buying(world, "100.00")
    world.price(Fraction(30_000))
    second = await deposit(world, 100_000)
    assert await world.spend(invoice)
    world.chain.fork(2, 3, lose=[first, second])
    await world.step()
    owed = await world.house.database.pool.fetchrow(
        "select sum(units) as units, sum(value_units) as value from postings where account = 'receivables'"
    )
    assert tuple(owed) == (200_000, 8_000)
    await check_accounting(world)


async def test_an_alert_about_a_lost_payment_names_its_invoice_beside_what_arrives(world: World) -> None:
    invoice = await buying(world, over="credit")
    paid = world.paying(invoice, 150_000)
    world.chain.submit(paid)
    world.chain.mine()
    await world.step()
    assert await world.spend(await buying(world), 50_000)
    arrives = world.tx((world.customers[0][ADA][1], 20_000))
    world.chain.submit(arrives)
    world.chain.fork(1, 2, lose=[paid.txid])
    await world.step()
    assert (await books(world))["receivables"] == 30_000
    [about] = [json.loads(row[0]) for row in await world.house.database.pool.fetch("select about from alerts")]
    assert (about["amount"], about["invoice_id"]) == ("0.00030000", invoice["id"])


async def test_a_later_deposit_makes_good_what_was_lost_first(world: World) -> None:
    paid = await deposit(world, 150_000)
    assert await world.spend(await buying(world))
    await lose(world, paid)
    await deposit(world, 130_000)
    assert await purse(world) == (30_000, 0)


async def test_what_is_written_off_is_a_loss_the_alert_ends_and_what_comes_later_makes_good_the_rest_first(
    world: World,
) -> None:
    paid = await deposit(world, 150_000)
    assert await world.spend(await buying(world))
    await lose(world, paid)
    assert (await books(world))["receivables"] == 100_000
    assert (await give_up(world, "0.0004"))["owed"] == "0.00100000"
    sold = {"sales": -100_000}
    assert await books(world) == sold | {"receivables": 60_000, "losses": 40_000}
    assert await told(world, "alert.closed") == 0
    async with world.house.database.transaction() as tx:
        store = await stores.get_store(tx, world.stores[0].id)
        [due] = await flow.report(tx, world.house, store, "receivables", (None, None), world.clock.now())
    assert (due["customers"], due["amount"], due["value"]) == (1, "0.00060000", "30.00")
    with pytest.raises(Conflict) as refused:
        await give_up(world, "0.00060001")
    assert refused.value.code == "not_owed"
    with pytest.raises(Invalid, match="amount: must be more than zero"):
        await give_up(world, "0")
    await give_up(world, None)
    assert await books(world) == sold | {"losses": 100_000}
    assert await told(world, "alert.closed") == 1
    await verified(world)
    await deposit(world, 30_000)
    assert (await purse(world), (await books(world))["losses"]) == ((0, 70_000), 70_000)
    await verified(world)
    second = await deposit(world, 90_000)
    assert (await purse(world), "losses" in await books(world)) == ((20_000, 0), False)
    assert await world.spend(await buying(world), 20_000)
    await lose(world, second)
    assert (await books(world))["receivables"] == 90_000  # what was written off once is no loss beforehand
    assert (await told(world, "alert.opened"), await told(world, "alert.closed")) == (2, 1)
    await verified(world)
    values = await world.house.database.pool.fetch(
        "select account from postings group by 1 having sum(units) = 0 and sum(value_units) <> 0"
    )
    assert not [row["account"] for row in values if row["account"] in ("receivables", "losses")]


async def give_up(world: World, amount: str | None) -> dict[str, Any]:
    now = world.clock.now()
    async with world.house.database.transaction() as tx:
        store, owes = await stores.get_store(tx, world.stores[0].id), world.customers[0][ADA][0]
        return await flow.write_off(tx, store, owes, ASSET, amount, "gone", Actor("key_1"), now)


async def verified(world: World) -> None:
    done = await flow.verify(world.house, silent)
    assert [(check.name, check.first) for check in done.checks if check.failures] == []


async def test_c16_an_excess_is_credited_once_the_price_is_settled(world: World) -> None:
    invoice = await buying(world, over="credit")
    world.chain.submit(world.paying(invoice, 130_000))
    await world.step()
    assert await purse(world) == (0, 0)
    world.chain.mine()
    await world.step()
    assert await purse(world) == (30_000, 0)
    assert await books(world) == {"wallet:bitcoin-regtest": 130_000, "sales": -100_000, "customer:ada": -30_000}
    assert (await world.shown(invoice))["rules"] == ["over.credit"]


async def test_a_short_payment_is_credited_when_the_time_is_over(world: World) -> None:
    invoice = await buying(world, short="credit")
    world.chain.submit(world.paying(invoice, 60_000))
    world.chain.mine()
    await world.step()
    assert (await purse(world), await books(world)) == ((0, 0), {"wallet:bitcoin-regtest": 60_000, "sales": -60_000})
    world.clock.move(901)
    await world.step()
    await world.step()
    assert (await purse(world), (await world.shown(invoice))["rules"]) == ((60_000, 0), ["short.credit"])


async def test_a_mark_takes_back_what_was_credited_and_books_a_loss_if_it_was_spent(world: World) -> None:
    invoice = await buying(world, short="credit")
    world.chain.submit(world.paying(invoice, 60_000))
    world.chain.mine()
    await world.step()
    world.clock.move(901)
    await world.step()
    await world.step()
    assert await world.spend(await buying(world), 50_000)
    await world.mark(invoice, Decision.SETTLED)
    await world.step()
    assert await purse(world) == (0, 50_000)
    assert (await books(world))["receivables"] == 50_000
    said: str = await world.house.database.pool.fetchval(
        "select object::json->>'reason' from events where type = 'alert.opened'"
    )
    assert "by a person's decision" in said


async def test_what_was_given_back_stays_the_customers_when_a_dropped_payment_comes_back(world: World) -> None:
    """Both came in time; one was dropped, the other given back and spent; then the dropped one is mined after all."""
    invoice = await buying(world, short="credit")
    dropped, mined = world.paying(invoice, 60_000), world.paying(invoice, 40_000)
    world.chain.submit(dropped)
    await world.step()
    world.chain.evict(dropped.txid)
    world.chain.mine([mined])
    await world.step()
    for seconds in (11, 901, 0):
        world.clock.move(seconds)
        await world.step()
    assert await purse(world) == (40_000, 0)
    assert await world.spend(await buying(world), 40_000)
    world.chain.mine([dropped])
    await world.step()
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"], shown["rules"]) == ("expired", ["late"], ["short.credit"])
    assert await purse(world) == (60_000, 0)
    assert "receivables" not in await books(world)
    assert await told(world, "alert.opened") == 0


async def test_what_comes_back_and_pays_all_alone_settles_beside_what_was_given_back(world: World) -> None:
    invoice = await buying(world, short="credit")
    dropped, mined = world.paying(invoice), world.paying(invoice, 40_000)
    world.chain.submit(dropped)
    await world.step()
    world.chain.evict(dropped.txid)
    world.chain.mine([mined])
    await world.step()
    for seconds in (11, 901, 0):
        world.clock.move(seconds)
        await world.step()
    world.chain.mine([dropped])
    world.chain.mine()
    world.chain.mine()
    await world.step()
    shown = await world.shown(invoice)
    assert (shown["status"], shown["flags"], shown["rules"]) == ("settled", ["overpaid"], ["short.credit"])
    assert (await purse(world), (await books(world))["sales"]) == ((40_000, 0), -100_000)


async def test_calling_an_invoice_invalid_takes_no_credit_back(world: World) -> None:
    invoice = await buying(world, short="credit")
    world.chain.submit(world.paying(invoice, 60_000))
    world.chain.mine()
    await world.step()
    world.clock.move(901)
    await world.step()
    await world.step()
    assert await world.spend(await buying(world), 50_000)
    await world.mark(invoice, Decision.INVALID)
    await world.step()
    assert (await purse(world), (await world.shown(invoice))["rules"]) == ((10_000, 0), ["marked", "short.credit"])
    assert "receivables" not in await books(world)


async def test_a_shortage_that_was_accepted_is_in_the_books(world: World) -> None:
    invoice = await buying(world, store=2)  # 2 % may be missing
    world.chain.submit(world.paying(invoice, 99_000))
    world.chain.mine()
    await world.step()
    assert await books(world) == {"wallet:bitcoin-regtest": 99_000, "under": 1_000, "sales": -100_000}
