"""Addresses on all networks of their keychain's space, in the database: wallets that come late, go, and change."""

from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.alerts.model import Kind, Verdict
from kassa.audit.anchor import advance
from kassa.audit.model import Actor
from kassa.core.ids import CustomerId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices.model import Order
from kassa.stores import store as stores
from kassa.stores.model import Store
from kassa.wallets import owner_store as owning
from kassa.wallets import replacement_store
from kassa.wallets import store as wallets
from kassa.workers.sharing import SETTLED, Sharing
from tests.detecting import open_alerts, undo
from tests.house import XPUB, SetClock, add_store, anvil_network, build_house

XPUB_2 = (
    "xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoekkudhUd9yLb6qx39T9nMdj"
)
OPERATOR = Actor("operator test")


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    here = anvil_network("http://127.0.0.1:1")
    networks = {name: replace(here, name=name) for name in ("anvil", "other")}
    built = await build_house(database, tmp_path, networks)
    yield built
    await built.marks.close()


async def _store(house: House, network: str = "anvil") -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house, network, XPUB)


async def _give(house: House, store: Store, network: str, key: str = XPUB) -> wallets.Wallet:
    async with house.database.transaction() as tx:
        account = house.chains[network].addresses.account(key)
        return await flow.add_wallet(tx, house, OPERATOR, store.id, network, account, house.clock.now())


async def _live_and_test(database: Database, tmp_path: Path) -> tuple[House, Store, Store]:
    """Return a live and a test store that share a key, each with a wallet on its own network."""
    test, live = anvil_network("http://127.0.0.1:1"), anvil_network("http://127.0.0.1:2")
    networks = {"anvil": test, "ethereum": replace(live, name="ethereum", chain="1")}
    house = await build_house(database, tmp_path, networks)
    tried = await _store(house)
    async with database.transaction() as tx:
        sold = await stores.create_store(tx, "Live", "EUR", True, house.clock.now())
    await _give(house, sold, "ethereum")
    return house, tried, sold


async def _customer(house: House, store: Store) -> CustomerId:
    now = house.clock.now()
    made = Customer(CustomerId(new_id("cus", now)), store.id, None, None, "{}", now)
    async with house.database.transaction() as tx:
        await customers.put(tx, made)
    return made.id


async def _address(house: House, store: Store, customer: str, asset: str) -> str:
    issuing = await flow.prepare_address(house, store, customer, asset, "key_test")
    async with house.database.transaction() as tx:
        return str((await flow.issue_address(tx, house, store, customer, issuing, house.clock.now()))["address"])


async def _watched(house: House, network: str) -> dict[str, str | None]:
    """Return whose each address of a network is, as blocks are matched, if its seal is right there; else None."""
    found = {}
    for row in await house.database.pool.fetch(
        "select a.*, k.descriptor from addresses a join keychains k on k.id = a.keychain_id where network = $1", network
    ):
        (owner,) = await owning.owners(house.database.pool, network, [row["script"]])
        whose = owner.invoice_id or owner.customer_id or ""
        made = house.seal.of_address(network, row["descriptor"], row["index"], row["address"], whose)
        found[row["address"]] = whose if made == row["seal"] else None
    return found


async def _copies(house: House, customer: str, count: int) -> None:
    """Issue so many addresses more to a customer, as old ones that were never shown on any other network."""
    await house.database.pool.execute(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, watched_for,
               created_at)
           select 'adr_' || n, network, int8send(n), 'x' || n, n, keychain_id, n, store_id, customer_id, created_at
           from addresses, generate_series(1000, 999 + $2::int) n where customer_id = $1""",
        customer,
        count,
    )


async def test_a_second_store_of_a_keychain_brings_every_address_that_the_first_issued(house: House) -> None:
    first = await _store(house)
    ada = await _customer(house, first)
    before = await _address(house, first, ada, "ETH@anvil")
    assert await _watched(house, "other") == {}

    second = await _store(house)
    assert await _watched(house, "other") == {}
    await _give(house, second, "other")
    bob = await _customer(house, first)
    after = await _address(house, first, bob, "ETH@anvil")

    assert await _watched(house, "other") == {before: ada, after: bob}
    assert await _watched(house, "anvil") == {before: ada, after: bob}


async def test_what_is_not_sealed_where_it_was_issued_is_watched_but_gets_no_seal(house: House) -> None:
    store = await _store(house)
    ada, eve = await _customer(house, store), await _customer(house, store)
    address = await _address(house, store, ada, "ETH@anvil")
    await house.database.pool.execute("update addresses set customer_id = $1", eve)
    await _give(house, store, "other")
    assert await _watched(house, "other") == {address: None}


async def test_a_customer_gets_the_address_that_was_watched_for_them_once_their_store_has_the_wallet(
    house: House,
) -> None:
    store = await _store(house)
    ada = await _customer(house, store)
    address = await _address(house, store, ada, "ETH@anvil")
    await _give(house, await _store(house), "other")
    await _give(house, store, "other")
    assert await _address(house, store, ada, "ETH@other") == address
    assert await house.database.pool.fetchval("select next_index from keychains") == 1


async def test_a_retired_wallet_is_watched_on_its_network_and_shown_to_nobody_there(house: House) -> None:
    store = await _store(house)
    old = await _give(house, store, "other")
    async with house.database.transaction() as tx:
        await replacement_store.retire(tx, old.id, house.clock.now())
    new = await _give(house, store, "other", XPUB_2)
    ada = await _customer(house, store)

    mine = await _address(house, store, ada, "ETH@anvil")
    assert await _watched(house, "other") == {mine: ada}
    shown = await _address(house, store, ada, "ETH@other")

    assert shown == house.chains["other"].addresses.derive(new.descriptor, 0).text
    assert shown != mine
    assert await _watched(house, "other") == {mine: ada, shown: ada}
    assert await _address(house, store, ada, "ETH@anvil") == mine


async def test_a_wallet_that_replaces_another_brings_what_it_issued_elsewhere(house: House) -> None:
    first = await _store(house)
    issued = await _address(house, first, ada := await _customer(house, first), "ETH@anvil")
    async with house.database.transaction() as tx:
        second = await stores.create_store(tx, "Second", "EUR", False, house.clock.now())
    held = await _give(house, second, "other", XPUB_2)
    await _replace(house, second, held, XPUB)
    assert await _watched(house, "other") == {issued: ada}


async def _replace(house: House, store: Store, held: wallets.Wallet, key: str) -> None:
    now, account = house.clock.now(), house.chains["other"].addresses.account(key)
    async with house.database.transaction() as tx:
        asked = await flow.ask_wallet_change(tx, house, OPERATOR, store.id, held.id, account, now)
        await flow.confirm_wallet_change(tx, house, OPERATOR, None, asked["id"], account.fingerprint, now)
    await advance(house.database.pool, house.settings.data_dir)
    assert isinstance(house.clock, SetClock)
    now = house.clock.move(house.settings.wallets.change_delay_seconds)
    async with house.database.transaction() as tx:
        assert await flow.on_wallet_changes(tx, house, now)


async def test_who_has_a_wallet_hears_of_each_network_on_which_another_store_gets_it_also_by_a_change(
    house: House,
) -> None:
    first = await _store(house)
    await _give(house, first, "other")
    assert await open_alerts(house) == {}  # its own
    async with house.database.transaction() as tx:
        second = await stores.create_store(tx, "Second", "EUR", False, house.clock.now())
    new = await _give(house, second, "anvil")
    held = await _give(house, second, "other", XPUB_2)
    await _replace(house, second, held, XPUB)
    told = (await open_alerts(house))[Kind.WALLET_SHARED]
    assert {each.finding.store_id for each in told} == {first.id}
    of_new = {each.finding.about["network"]: new.id in each.finding.subject for each in told}
    assert (len(told), of_new) == (2, {"other": False, "anvil": True})
    assert all(second.id in each.finding.detail for each in told)


async def test_who_had_a_wallet_hears_of_it_too_by_one_that_still_is_theirs_where_there_is_any(house: House) -> None:
    first = await _store(house, "other")
    async with house.database.transaction() as tx:
        second = await stores.create_store(tx, "Second", "EUR", False, house.clock.now())
        third = await stores.create_store(tx, "Third", "EUR", False, house.clock.now())
        old = await tx.fetchval("select id from wallets")
        await replacement_store.retire(tx, old, house.clock.now())
    await _give(house, second, "other")
    kept = await _give(house, first, "anvil")
    await _give(house, third, "other")
    told = (await open_alerts(house))[Kind.WALLET_SHARED]
    mine = [each for each in told if each.finding.store_id == first.id]
    assert sorted(each.finding.about["wallet_id"] for each in mine) == sorted([old, kept.id])
    assert all(each.finding.lasting for each in told)  # no look ends them


@pytest.mark.parametrize("livemode", [True, False])
async def test_a_wallet_that_comes_to_a_live_store_with_wallets_is_told_until_a_person_closes_it(
    house: House, livemode: bool
) -> None:
    store = await _store(house)
    await house.database.pool.execute("update stores set livemode = $1", livemode)
    wallet = await _give(house, store, "other")
    told = (await open_alerts(house)).get(Kind.WALLET_ADDED, [])
    expected = [(wallet.id, store.id)] if livemode else []
    assert [(each.finding.subject, each.finding.store_id) for each in told] == expected
    for each in told:
        await undo(house, each, Verdict.CLOSED)
    assert await open_alerts(house) == {}


async def test_very_many_are_shared_in_batches_and_looked_through_again_after_a_minute(house: House) -> None:
    store = await _store(house)
    ada = await _customer(house, store)
    await _address(house, store, ada, "ETH@anvil")
    await _copies(house, ada, 1_100)
    await _give(house, store, "other")
    assert len(await _watched(house, "other")) == 500

    async def look() -> int:
        await sharing.go_on(await wallets.keychains(house.database.pool, "other"))
        return len(await _watched(house, "other"))

    sharing = Sharing(house, "other")
    assert await look() == 1_101
    late: dict[str, Any] = {"customer": await _customer(house, store)}
    # As an invoice that was priced before the wallet came, and is written after.
    await house.database.pool.execute("update keychains set networks = array['anvil']")
    await house.database.pool.execute("update wallets set retired_at = now() where network = 'other'")
    await _address(house, store, late["customer"], "ETH@anvil")
    await house.database.pool.execute("update keychains set networks = array['anvil', 'other']")
    assert await look() == 1_101
    assert isinstance(house.clock, SetClock)
    house.clock.move(SETTLED.total_seconds())
    assert await look() == 1_102


async def test_an_address_of_a_live_store_is_watched_on_no_test_network_nor_the_other_way(
    database: Database, tmp_path: Path
) -> None:
    house, tried, sold = await _live_and_test(database, tmp_path)
    ada, bob = await _customer(house, sold), await _customer(house, tried)
    await database.pool.execute(
        "insert into networks (id, chain, state, observed_at) values ('ethereum', '1', 'ok', $1)", house.clock.now()
    )
    order = Order(amount="10.00", currency="EUR")
    opening = await flow.quote_invoice(house, sold, order, house.clock.now())
    async with database.transaction() as tx:
        await flow.open_invoice(tx, house, opening, house.clock.now())
    hers = await _address(house, sold, ada, "ETH@ethereum")
    his = await _address(house, tried, bob, "ETH@anvil")
    for network in house.chains:
        await Sharing(house, network).go_on(await wallets.keychains(database.pool, network))
    assert set((await _watched(house, "ethereum")).values()) == {ada, opening.terms.id}
    assert await _watched(house, "anvil") == {his: bob}
    assert hers != his
    await house.marks.close()


async def test_what_was_watched_in_the_other_mode_before_is_so_no_more(database: Database, tmp_path: Path) -> None:
    house, tried, sold = await _live_and_test(database, tmp_path)
    ada, bob = await _customer(house, sold), await _customer(house, tried)
    hers = await _address(house, sold, ada, "ETH@ethereum")
    his = await _address(house, tried, bob, "ETH@anvil")
    await database.pool.execute(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, watched_for,
               created_at, seal)
           select id || 'x', case network when 'anvil' then 'ethereum' else 'anvil' end, script, address, watch_key,
               keychain_id, index, store_id, customer_id, created_at, seal from addresses"""
    )
    await database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, customer_id,
               first_seen_at, replaceable)
           select 'pay_x', network, 'tx', 'value', 'ETH@anvil', 1, 0, id, store_id, watched_for, now(), false
           from addresses where watched_for = $1""",
        ada,
    )
    await database.pool.execute(files("kassa.db").joinpath("migrations", "0110_modes_apart.sql").read_text())
    assert await _watched(house, "ethereum") == {hers: ada}
    # What was paid stays, and whatever else comes there is nobody's.
    assert await _watched(house, "anvil") == {his: bob, hers: None}
    row = await database.pool.fetchrow("select * from addresses where address = $1 and network = 'anvil'", hers)
    assert (row["store_id"], row["invoice_id"], row["watched_for"]) == (None, None, None)
    await house.marks.close()
