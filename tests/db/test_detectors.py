"""Detectors on a real PostgreSQL: histories, orders, rates, queues, and who watches the watchers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

import kassa.alerts.seen_store as seen_alerts
import kassa.audit.store as audit
import kassa.people.store as people
import kassa.rates.store as rates
from kassa import flow
from kassa.alerts.chain_rules import on_opinion
from kassa.alerts.model import Alert, Finding, Kind, Verdict
from kassa.alerts.money_rules import on_held
from kassa.alerts.seen import Held
from kassa.audit.model import Actor
from kassa.core.errors import Unavailable
from kassa.core.ids import new_id
from kassa.core.money import Token
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.house import House
from kassa.invoices.model import Order
from kassa.people import membership
from kassa.people.model import Role
from kassa.rates.model import Alarm, AlarmKind
from kassa.settings import Rates
from kassa.stores.model import Store
from kassa.wallets import store as wallets
from kassa.watch.model import Opinion
from kassa.webhooks import store as webhooks
from kassa.webhooks.model import Change
from tests.api.conftest import follow
from tests.detecting import look, open_alerts, undo
from tests.house import BITCOIN, RATES, TPUB, XPUB, add_store, anvil_network, build_house, regtest

HOUR = timedelta(hours=1)
DAY_OF_BLOCKS = 144


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path, rates=Rates(sources=("kraken", "coinbase"), fixed=RATES))
    await follow(built)
    yield built
    await built.marks.close()


@pytest.fixture
async def store(house: House) -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house)


async def order(house: House, store: Store) -> str:
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), house.clock.now())
    async with house.database.transaction() as tx:
        return str((await flow.open_invoice(tx, house, opening, house.clock.now()))["id"])


async def paid(house: House, store: Store, invoice: str, at: datetime, value: int) -> None:
    """Write a payment as it stands in the database once it was announced."""
    id_ = new_id("pay", at)
    await house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               first_seen_at, replaceable, block_height, block_hash, status, value_units)
           select $1, $2, $1, 'out:0', 'BTC@' || $2, 100000, 0, address_id, $3, $4, $5, false, 7, 'x', 'settled', $6
           from payment_options where invoice_id = $4""",
        id_, BITCOIN, store.id, invoice, at, value,
    )  # fmt: skip


async def test_f3_a_double_spend_of_an_old_payment_counts_when_it_comes(house: House, store: Store) -> None:
    now, pool = house.clock.now(), house.database.pool
    for place in range(3):
        await paid(house, store, await order(house, store), now - timedelta(days=3, seconds=place), 5_000)
    lost = "update payments set status = 'replaced', conflict_txid = 'cd', conflict_height = $1"
    await pool.execute(lost, 119)
    assert Kind.DOUBLE_SPENDS in await look(house, "double_spends")
    await pool.execute(lost, 120 - DAY_OF_BLOCKS)
    await pool.execute("update networks set height = 120")
    assert await look(house, "double_spends") == {}


async def test_f3_ten_thousand_reversals_hide_no_store_from_its_loss(house: House, store: Store) -> None:
    async with house.database.transaction() as tx:
        small = await add_store(tx, house, key=f"wpkh({TPUB}/7/*)")
    await paid(house, small, await order(house, small), house.clock.now(), 5_000)  # the oldest of all
    await paid(house, store, await order(house, store), house.clock.now() + HOUR, 5_000)
    await house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               first_seen_at, replaceable, status, confirmations_required)
           select id || lpad(n::text, 5, '0'), network, txid, 'out:' || n, asset, units, 0, address_id, store_id,
               invoice_id, first_seen_at, false, 'reversed', 3
           from payments, generate_series(1, 10000) n where store_id = $1""",
        store.id,
    )
    await house.database.pool.execute("update payments set status = 'reversed', block_height = null, block_hash = null")
    told = (await look(house, "reversals"))[Kind.SETTLED_REVERSED]
    about = [each.finding for each in told if each.finding.store_id == small.id]
    assert [each.network for each in about] == [BITCOIN]
    most = [each.finding for each in told if each.finding.store_id == store.id]
    assert (len(most), sum(each.measure or 1 for each in most)) == (21, 10_001)
    [rest] = [each for each in most if each.measure]
    assert [(each.target, each.blocks) for each in rest.actions] == [(BITCOIN, 6)]


async def test_a_reversal_that_was_told_is_not_over_when_older_payments_follow(house: House, store: Store) -> None:
    invoice, now = await order(house, store), house.clock.now()

    async def reverse(first: int, last: int) -> dict[str, Alert]:
        for minute in range(first, last):
            await paid(house, store, invoice, now - timedelta(minutes=minute), 5_000)
        await house.database.pool.execute("update payments set status = 'reversed', block_height = null")
        told = (await look(house, "reversals"))[Kind.SETTLED_REVERSED]
        return {each.finding.subject: each for each in told}

    singly = {each.id for each in (await reverse(0, 20)).values()}
    more = await reverse(20, 21)
    rest = more.pop(f"{store.id}/{BITCOIN}")
    assert {each.id for each in more.values()} == singly
    grown = (await reverse(21, 23)).pop(rest.finding.subject)
    assert (grown.finding.about["count"], grown.id == rest.id) == (3, False)  # told anew
    ended = await house.database.pool.fetch("select id, ended from alerts where closed_at is not null")
    assert [tuple(row) for row in ended] == [(rest.id, "it became worse: see the next")]


async def test_what_people_decided_about_alerts_of_earlier_versions_holds_after_the_migration(house: House) -> None:
    now = house.clock.now()
    debt = on_held([Held(f"BTC@{BITCOIN}", -3, 10**20)])
    _, forks = on_opinion(Opinion(BITCOIN, now, height=9, ours="a", theirs="b", parted_at=7), 10, 600, now)
    kinds = [Kind.BOOKS_INSOLVENT, Kind.CHAIN_DISAGREEMENT]
    earlier = [replace(debt[0], measure=0), replace(forks[0], subject=BITCOIN)]

    async def find(findings: list[Finding]) -> dict[Kind, list[Alert]]:
        await house.database.run(lambda tx: flow.on_findings(tx, house, kinds, findings, now))
        return await open_alerts(house)

    for [alert] in (await find(earlier)).values():
        await undo(house, alert)
    migration = files("kassa.db").joinpath("migrations", "0111_decisions_kept.sql").read_text()
    await house.database.pool.execute(migration)
    assert await find(debt + forks) == {}
    deeper = [replace(forks[0], subject=f"{BITCOIN}/6")]
    assert set(await find(on_held([Held(f"BTC@{BITCOIN}", -4, 10**20)]) + deeper)) == set(kinds)


async def test_an_hour_that_is_unlike_the_thirty_days_before_it(house: House, store: Store) -> None:
    invoice, now = await order(house, store), house.clock.now()
    for day in range(1, 21):
        await paid(house, store, invoice, now - timedelta(days=day), 5_000)
    await paid(house, store, invoice, now - timedelta(days=40), 10**9)  # too long ago to be usual
    for minute in range(19):
        await paid(house, store, invoice, now - timedelta(minutes=minute), 4_000)
    assert await look(house, "volumes") == {}
    await paid(house, store, invoice, now, 50_000)
    found = await look(house, "volumes")
    assert set(found) == {Kind.AMOUNT_UNUSUAL, Kind.PAYMENTS_UNUSUAL}

    # Closed by a person: silent while it is so, told again when there is more of it, over an hour later.
    await undo(house, found[Kind.AMOUNT_UNUSUAL][0], Verdict.CLOSED)
    assert set(await look(house, "volumes")) == {Kind.PAYMENTS_UNUSUAL}
    await paid(house, store, invoice, now, 60_000)
    assert set(await look(house, "volumes")) == {Kind.AMOUNT_UNUSUAL, Kind.PAYMENTS_UNUSUAL}
    assert await look(house, "volumes", now=now + 2 * HOUR) == {}


async def test_orders_that_nobody_pays_are_told_and_end(house: House, store: Store) -> None:
    for _ in range(99):
        await order(house, store)
    assert await look(house, "orders") == {}
    await order(house, store)
    [flood] = (await look(house, "orders"))[Kind.INVOICES_UNPAID]
    assert (flood.finding.store_id, flood.finding.about) == (store.id, {"made": 100, "paid": 0})
    assert await look(house, "orders", now=house.clock.now() + timedelta(minutes=11)) == {}


async def test_e43_a_long_run_of_unpaid_addresses_is_told_and_ends_with_a_payment(house: House, store: Store) -> None:
    paid_one, pool = await order(house, store), house.database.pool
    await pool.execute(
        """insert into addresses (id, keychain_id, network, index, address, script, watch_key, created_at)
           select a.id || n, keychain_id, network, index + n, address || n, int4send(n), n, created_at
           from addresses a, generate_series(1, 20000) n"""
    )
    await pool.execute("update keychains set next_index = 499")
    assert Kind.ADDRESSES_UNPAID not in await look(house, "unpaid_runs")
    await pool.execute("update keychains set next_index = 20001")
    [long] = (await look(house, "unpaid_runs"))[Kind.ADDRESSES_UNPAID]
    assert (long.finding.store_id, long.finding.about["unpaid"]) == (store.id, 10_000)  # it looks no further back
    assert long.finding.detail == ""  # a test store has no bound
    await paid(house, store, paid_one, house.clock.now(), 5_000)
    await pool.execute("update payments set address_id = (select id from addresses order by index desc limit 1)")
    assert await look(house, "unpaid_runs") == {}


async def test_f12_alarms_about_rates_open_and_close_alerts(house: House) -> None:
    async def note(*present: Alarm) -> None:
        async with house.database.transaction() as tx:
            await rates.note_alarms(tx, tuple(AlarmKind), None, present, house.clock.now())

    every = [Alarm(kind, "kraken", "BTC/EUR", "why") for kind in AlarmKind]  # the table takes each
    await note(*every)
    told = await look(house, "rates")
    assert sum(len(each) for each in told.values()) == len(every)
    missing = Alarm(AlarmKind.NO_RATE, "", "BTC/USD", "too few")
    await note(missing)
    assert set(await look(house, "rates")) == {Kind.RATE_MISSING}
    await note()
    assert await look(house, "rates") == {}


async def test_f12_a_stable_coin_that_fell_is_not_offered_until_it_is_one_again_or_a_person_says_so(
    database: Database, tmp_path: Path
) -> None:
    networks = {BITCOIN: regtest(), "anvil": anvil_network("http://127.0.0.1:1", Token("USDC", "0x" + "ab" * 20, 6))}
    house = await build_house(database, tmp_path, networks, rates=Rates(sources=("kraken",), fixed=RATES))
    async with database.transaction() as tx:
        store, chain = await add_store(tx, house), house.chains["anvil"]
        account = chain.addresses.account(XPUB)
        await wallets.add_wallet(tx, store.id, "anvil", chain.space, account, house.seal, house.clock.now())
    for network in networks:
        await follow(house, network)

    async def note(*present: Alarm) -> None:
        async with database.transaction() as tx:
            await rates.note_alarms(tx, tuple(AlarmKind), None, present, house.clock.now())
        await look(house, "rates")

    async def offered() -> set[str]:
        opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), house.clock.now())
        return {option.asset.id for option in opening.terms.options}

    every = {f"BTC@{BITCOIN}", "ETH@anvil", "USDC@anvil"}
    fallen = Alarm(AlarmKind.DEPEGGED, "", "USDC/USD", "0.9 instead of 1")
    assert await offered() == every
    await note(fallen)
    assert await offered() == every - {"USDC@anvil"}
    named = Order("50.00", "EUR", payment_options=("USDC@anvil",))
    with pytest.raises(Unavailable):
        await flow.quote_invoice(house, store, named, house.clock.now())
    await note()
    assert await offered() == every
    await note(fallen)
    [alert] = (await open_alerts(house))[Kind.RATE_DEPEGGED]
    await undo(house, alert)
    await look(house, "rates")
    assert await offered() == every
    kept = await database.pool.fetch("select kind, asset, lifted_at is not null as lifted from restraints order by id")
    assert [tuple(row.values()) for row in kept] == [("unoffered", "USDC@anvil", True)] * 2
    await house.marks.close()


async def test_f14_a_receiver_that_fails_a_queue_that_nobody_sends_and_what_was_given_up(
    house: House, store: Store
) -> None:
    pool, now = house.database.pool, house.clock.now()
    async with house.database.transaction() as tx:
        hook = await webhooks.create_endpoint(tx, store.id, "https://shop.example/", ("*",), Secret("whsec_x"), now)
        await events.write(tx, [NewEvent(store.id, "invoice.created", {})], now)
    assert await look(house, "queues") == {}
    assert set(await look(house, "queues", now=now + timedelta(minutes=6))) == {Kind.NOBODY_SENDS}

    async with house.database.transaction() as tx:
        await events.number(tx)
    await pool.execute("update deliveries set attempts = 4, due_at = $1", now + HOUR)
    found = await look(house, "queues", now=now + timedelta(minutes=16))
    assert {kind: each.finding.about for kind, [each] in found.items()} == {
        Kind.RECEIVER_FAILING: {"webhook_id": hook.id}
    }
    await pool.execute("update deliveries set state = 'failed', due_at = null")
    async with house.database.transaction() as tx:
        await events.number(tx)  # that alert is an event as well
    assert set(await look(house, "queues", now=now + HOUR)) == {Kind.DELIVERIES_GIVEN_UP}
    async with house.database.transaction() as tx:
        await events.number(tx)
    assert Kind.DELIVERIES_GIVEN_UP not in await look(house, "queues", now=now + timedelta(days=5))


async def test_what_came_to_an_address_is_found_without_reading_every_payment(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("set local enable_seqscan = off")
        plan = await tx.fetch("explain select from payments where address_id = 'adr_one'")
    assert "payments_address" in str(plan)


_NOW = "now() from stores"


@pytest.mark.parametrize(
    "statement",
    [
        None,
        f"insert into api_keys (id, store_id, hash, scopes, created_at) select 'k', id, 'h', '{{audit:read}}', {_NOW}",
        "update api_keys set scopes = scopes || '{wallets:write}' where cardinality(scopes) = 2",
        "update api_keys set allowed_from = '{}' where '2001:db8::1' = any(allowed_from)",
        "update api_keys set allowed_from = '{}' where allowed_from = '{198.51.100.1}'",
        "update api_keys set allowed_from = allowed_from || '{0.0.0.0/0}' where '2001:db8::1' = any(allowed_from)",
        "update webhooks set url = 'https://thief.example/'",
        f"insert into webhooks (id, store_id, url, events, secret, created_at) select 'w', id, '', '{{}}', '', {_NOW}",
        "update members set role = 'owner'",
        "update people set totp_secret = 'JBSWY3DPEHPK3PXP' where email = 'a@shop.example'",
        f"insert into members select stores.id, people.id, 'owner', {_NOW}, people where email = 'c@c'",
    ],
)
async def test_what_no_act_made_is_told(house: House, store: Store, statement: str | None) -> None:
    by, now = Actor("operator test"), house.clock.now()
    async with house.database.transaction() as tx:
        await flow.create_key(tx, house, by, store, now, scopes=["wallets:read", "invoices:read"])
        for networks in (["10.0.0.0/8", "192.0.2.1"], ["192.0.2.1", "10.0.0.0/8", "2001:db8::1"], []):
            key, _ = await flow.create_key(tx, house, by, store, now, allowed_from=["192.0.2.1", "10.0.0.0/8"])
            await flow.bind_key(tx, house, by, key, networks, now)
        await flow.create_key(tx, house, by, store, now, allowed_from=["198.51.100.1"])
        hook = await flow.create_endpoint(tx, by, store.id, "https://a.example/", ("*",), Secret("s"), now)
        await flow.update_endpoint(tx, by, store.id, hook.id, Change(url="https://b.example/"), now)
        await flow.update_endpoint(tx, by, store.id, hook.id, Change(events=("invoice.*",)), now)
        person = await people.create(tx, "a@shop.example", "A", now)
        token = await membership.invite(tx, house.seal, by, person.email, (store.id, Role.VIEWER), now)
        invitation = await membership.invited(tx, house.seal, token)
        assert invitation is not None
        await membership.join(tx, house.seal, by, invitation, person, now)
        other = await people.create(tx, "b@b", "B", now)
        await people.put_member(tx, store.id, other.id, Role.OWNER, now)
        await audit.record(tx, by, "member.joined", other.id, now, store_id=store.id, after={"role": "owner"})
        await membership.change(tx, house.seal, by, store.id, person.id, Role.SUPPORT, now)
        await people.create(tx, "c@c", "C", now)
    await look(house, "records")
    assert Kind.UNRECORDED not in await open_alerts(house)
    if statement is not None:
        await house.database.pool.execute(statement)
        await look(house, "records")
        assert len((await open_alerts(house))[Kind.UNRECORDED]) == 1


async def test_a_payment_replaced_and_made_anew_is_no_double_spend(house: House, store: Store) -> None:
    now = house.clock.now()
    put = """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id,
            invoice_id, status, first_seen_at, conflict_txid, replaceable)
        select $1, network, $2, 'out:0', $3, $4::numeric, 0, id, store_id, invoice_id, $5, $6, $7, false from addresses
        where invoice_id = $8"""
    invoices = [await order(house, store) for _ in range(3)]

    async def counts() -> list[int]:
        async with house.database.transaction() as tx:
            return [each.count for each in await seen_alerts.overtaken(tx, now - HOUR, {})]

    async def pay(minute: int, units: int, status: str, rival: str | None) -> None:
        async with house.database.transaction() as tx:
            for invoice in invoices:
                id_ = new_id("pay", now + minute * timedelta(minutes=1))
                txid = id_[4:].encode().hex()[:64]
                asset = f"BTC@{BITCOIN}"
                await tx.execute(put, id_, txid, asset, units, status, now, rival, invoice)

    await pay(0, 1000, "replaced", "cd" * 32)
    assert await counts() == [3]
    await pay(1, 999, "detected", None)  # less than it was
    assert await counts() == [3]
    await pay(2, 1000, "detected", None)
    assert await counts() == []
