"""E28: what the chain is searched for is written over in the database, which no text on any page shows."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kassa import flow
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.transactions import script_key
from kassa.core.ids import CustomerId, StoreId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.house import derived_text
from kassa.invoices.deadline_store import FIRST_TURN
from kassa.stores import store as stores
from kassa.wallets import owner_store as owning
from kassa.wallets import store as wallets
from kassa.wallets.seal import Seal
from kassa.wallets.seal_store import seal_all
from kassa.workers.reconcile import reconcile_network
from tests.house import BITCOIN
from tests.shop import Json, Shop, address

ANOTHER = (
    "tpubDD7tXK8KeQ3YY83yWq755fHY2JW8Ha8Q765tknUM5rSvjPcGWfUppDFMpQ1ScziKfW3ZNtZvAD7M3u7bSs7HofjTD3KP3YxPK7X6hwV8Rk2"
)
CHANGE = "update addresses set script = $2, watch_key = $3 where invoice_id = $1 returning id"


async def searched(shop: Shop, invoice: Json) -> tuple[bytes, int]:
    row = await shop.house.database.pool.fetchrow(
        "select script, watch_key from addresses where invoice_id = $1", invoice["id"]
    )
    return row["script"], row["watch_key"]


async def write_over(shop: Shop, invoice: Json, script: bytes, key: int) -> None:
    await shop.house.database.pool.execute(CHANGE, invoice["id"], script, key)


async def open_alerts(shop: Shop) -> list[str]:
    rows = await shop.house.database.pool.fetch(
        "select reason from alerts where kind = 'address_mismatch' and closed_at is null"
    )
    return [row["reason"] for row in rows]


async def strangers(shop: Shop, node: DevNode) -> tuple[str, bytes, int]:
    """Return an address of the node's own wallet, and what the chain is searched for it."""
    text = await node.rpc.call("getnewaddress", "", "bech32")
    script = bytes.fromhex((await node.rpc.call("getaddressinfo", text))["scriptPubKey"])
    return text, script, script_key(script) or 0


async def passed(shop: Shop) -> None:
    """Wait until an honest payment that was made just now is settled: the follower has come as far."""
    honest = await shop.invoice()
    await shop.pay(honest)
    await shop.node.mine(1)
    await shop.until(honest, status="settled", flags=[])


async def test_e28_money_that_reached_a_strangers_script_settles_nothing(shop: Shop) -> None:
    victim = await shop.invoice()
    true = await searched(shop, victim)
    text, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    await shop.node.fund(text, 100_000)
    await passed(shop)

    shown = await shop.shown(victim)
    assert (shown["status"], shown["payments"]) == ("new", [])
    assert len(await open_alerts(shop)) == 1

    # Right again by now: what was paid in between counts no more for that.
    await write_over(shop, victim, *true)
    await passed(shop)
    shown = await shop.shown(victim)
    assert (shown["status"], shown["payments"]) == ("new", [])
    await shop.pay(victim)
    await shop.node.mine(1)
    await shop.until(victim, status="settled", flags=[])


async def test_e28_a_strangers_script_is_found_before_anyone_pays_it(shop: Shop) -> None:
    victim, honest = await shop.invoice(), await shop.invoice()
    _, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    async with shop.house.database.transaction() as tx:
        await flow.check_addresses(tx, shop.house, FIRST_TURN, 100, shop.house.clock.now())
    assert len(await open_alerts(shop)) == 1
    hidden, right = (await shop.shown(victim))["payment_options"], (await shop.shown(honest))["payment_options"]
    assert [option["address"] for option in hidden] == [None]
    assert [option["address"] for option in right] == [address(honest)]


async def test_e28_money_of_an_address_whose_owner_was_changed_is_nobodys(shop: Shop) -> None:
    one, other = await shop.invoice(), await shop.invoice()
    pool = shop.house.database.pool
    ids: list[Any] = [
        await pool.fetchval("select id from addresses where invoice_id = $1", each["id"]) for each in (one, other)
    ]
    await pool.execute("update addresses set invoice_id = null where id = $1", ids[0])
    await pool.execute("update addresses set invoice_id = $2 where id = $1", ids[1], one["id"])
    await shop.node.fund(address(other), 100_000)
    await passed(shop)
    assert (await shop.shown(one))["status"] == "new"
    rows = await pool.fetch("select invoice_id, store_id, units from payments where address_id = $1", ids[1])
    assert [tuple(row.values()) for row in rows] == [(None, None, 100_000)]


async def test_e28_reconciliation_asks_the_node_for_what_was_issued(shop: Shop) -> None:
    victim = await shop.invoice()
    await shop.pay(victim)
    await shop.node.mine(1)
    await shop.until(victim, status="settled")
    text, *false = await strangers(shop, shop.node)
    await write_over(shop, victim, *false)
    await shop.node.fund(text, 300_000)
    await passed(shop)
    assert (await reconcile_network(shop.house, BITCOIN, lambda *_: None))["differences"] == []


async def deposit(shop: Shop) -> tuple[str, str]:
    """Return a new customer and the deposit address that they were given."""
    async with shop.house.database.transaction() as tx:
        now = shop.house.clock.now()
        made = Customer(CustomerId(new_id("cus", now)), shop.store.id, None, None, "{}", now)
        await customers.put(tx, made)
    issuing = await flow.prepare_address(shop.house, shop.store, made.id, f"BTC@{BITCOIN}", "key_test")
    async with shop.house.database.transaction() as tx:
        shown = await flow.issue_address(tx, shop.house, shop.store, made.id, issuing, now)
    return made.id, shown["address"]


async def other_store(shop: Shop) -> StoreId:
    """Return a store that has no wallet."""
    async with shop.house.database.transaction() as tx:
        return (await stores.create_store(tx, "Other", "EUR", False, shop.house.clock.now())).id


async def paid_to(shop: Shop, text: str) -> list[tuple[Any, ...]]:
    """Return whose the payments to an address are: store, invoice, customer, units."""
    rows = await shop.house.database.pool.fetch(
        "select p.store_id, p.invoice_id, p.customer_id, p.units from payments p"
        " join addresses a on a.id = p.address_id where a.address = $1",
        text,
    )
    return [tuple(row.values()) for row in rows]


async def alerted(shop: Shop) -> list[tuple[str, list[str]]]:
    """Return the stores that are told of wrong addresses, with whose they are."""
    rows = await shop.house.database.pool.fetch(
        "select store_id, about->'newest' as newest from alerts where kind = 'address_mismatch' and closed_at is null"
    )
    return [(row["store_id"], json.loads(row["newest"])) for row in rows]


async def guard(shop: Shop) -> None:
    async with shop.house.database.transaction() as tx:
        await flow.check_addresses(tx, shop.house, FIRST_TURN, 100, shop.house.clock.now())
        await flow.check_deposits(tx, shop.house, "", 100, shop.house.clock.now())


# One statement: the foreign key between the two is looked at when it is over.
MOVED = {
    "customer": "with c as (update customers set store_id = $2 where id = $1)"
    " update addresses set store_id = $2 where customer_id = $1",
    "nobody": "update addresses set store_id = null where customer_id = $1 and $2 <> ''",
}


@pytest.mark.tampers("moves an address, or whose it is, to another store")
@pytest.mark.parametrize("moved", sorted(MOVED))
async def test_e28_a_deposit_to_an_address_of_another_store_is_nobodys(shop: Shop, moved: str) -> None:
    (customer, text), other = await deposit(shop), await other_store(shop)
    await guard(shop)
    assert await alerted(shop) == []
    await shop.house.database.pool.execute(MOVED[moved], customer, other)
    await shop.node.fund(text, 100_000)
    await passed(shop)
    assert await paid_to(shop, text) == [(None, None, None, 100_000)]
    assert await shop.house.database.pool.fetch("select from customer_balances") == []
    assert await alerted(shop) == [(shop.store.id, [customer])]


@pytest.mark.tampers("moves an address, or whose it is, to another store")
@pytest.mark.parametrize(
    "tables", [("addresses",), ("invoices",), ("addresses", "invoices")], ids=["address", "invoice", "both"]
)
async def test_e28_money_for_an_invoice_of_another_store_is_nobodys(shop: Shop, tables: tuple[str, ...]) -> None:
    invoice, other = await shop.invoice(), await other_store(shop)
    for table in tables:
        column = "id" if table == "invoices" else "invoice_id"
        await shop.house.database.pool.execute(
            f"update {table} set store_id = $2 where {column} = $1", invoice["id"], other
        )
    await shop.pay(invoice)
    await passed(shop)
    assert await paid_to(shop, address(invoice)) == [(None, None, None, 100_000)]
    assert await alerted(shop) == [(shop.store.id, [invoice["id"]])]


async def test_e28_an_invoice_is_no_customer(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.house.database.pool.execute(
        "insert into customers (id, store_id, created_at) values ($1, $2, now())", invoice["id"], shop.store.id
    )
    await shop.house.database.pool.execute(
        "update addresses set invoice_id = null, customer_id = $1 where invoice_id = $1", invoice["id"]
    )
    await shop.pay(invoice)
    await passed(shop)
    assert await paid_to(shop, address(invoice)) == [(None, None, None, 100_000)]
    assert await shop.house.database.pool.fetch("select from customer_balances") == []


@pytest.mark.tampers("moves an address, or whose it is, to another store")
@pytest.mark.parametrize("moved", [*sorted(MOVED), "invoice", "owner", "network"])
async def test_e28_a_store_that_was_changed_is_found_before_anyone_pays(shop: Shop, moved: str) -> None:
    (customer, _), invoice, other = await deposit(shop), await shop.invoice(), await other_store(shop)
    (owner, said) = (customer, MOVED[moved]) if moved in MOVED else (invoice["id"], "update addresses set ")
    said += {
        "invoice": "store_id = $2 where invoice_id = $1",
        "owner": "invoice_id = $2 where invoice_id = $1",
        "network": "network = $2 where invoice_id = $1",
    }.get(moved, "")
    await guard(shop)
    assert await alerted(shop) == []
    await shop.house.database.pool.execute(said, owner, other)
    await guard(shop)
    await guard(shop)
    assert await alerted(shop) == [(shop.store.id, [owner])]


async def test_e28_whoever_was_given_the_wallet_once_is_paid(shop: Shop) -> None:
    customer, text = await deposit(shop)
    pool = shop.house.database.pool
    await pool.execute("update wallets set retired_at = now()")
    async with shop.house.database.transaction() as tx:
        account = shop.house.chains[BITCOIN].addresses.account(ANOTHER)
        space = shop.house.chains[BITCOIN].space
        await wallets.add_wallet(tx, shop.store.id, BITCOIN, space, account, shop.house.seal, shop.house.clock.now())
    # What somebody does to the former wallet does not keep payers' money from those whom they paid.
    await pool.execute("update wallets set keychain_id = (select max(id) from keychains) where retired_at is not null")
    await shop.node.fund(text, 100_000)
    await passed(shop)
    assert await paid_to(shop, text) == [(shop.store.id, None, customer, 100_000)]
    assert await alerted(shop) == []


async def test_e28_a_renewal_of_the_key_keeps_what_former_wallets_prove(shop: Shop) -> None:
    customer, text = await deposit(shop)
    pool, house = shop.house.database.pool, shop.house
    await pool.execute("update wallets set retired_at = now()")
    async with house.database.transaction() as tx:
        account, now = house.chains[BITCOIN].addresses.account(ANOTHER), house.clock.now()
        await wallets.add_wallet(tx, shop.store.id, BITCOIN, house.chains[BITCOIN].space, account, house.seal, now)
    await pool.execute("update wallets set keychain_id = (select max(id) from keychains)")
    renewed = Seal(bytes(31) + b"\1")
    async with house.database.transaction() as tx:
        await seal_all(tx, renewed, partial(derived_text, house.chains), house.seal)
        (owner,) = await owning.owners(tx, BITCOIN, [house.chains[BITCOIN].addresses.parse(text)])
    assert owner.customer_id == customer
    assert replace(house, seal=renewed).is_issued(owner)
