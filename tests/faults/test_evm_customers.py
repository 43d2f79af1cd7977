"""Customers and invoices on EVM networks: one address for all assets and networks of the space; it stays theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from kassa.core.ids import CustomerId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db.pool import Database
from kassa.house import House
from kassa.stores import store as stores
from kassa.workers.follow_chain import follow_chain
from tests.evmshop import PRICE_USDC, PRICE_WEI, EvmShop, usdc
from tests.house import XPUB, add_store, anvil_network, build_house
from tests.shop import Json


async def _address(evm: EvmShop, customer: CustomerId, asset: str) -> str:
    issuing = await flow.prepare_address(evm.house, evm.store, customer, asset, "key_test")
    async with evm.house.database.transaction() as tx:
        now = evm.house.clock.now()
        return str((await flow.issue_address(tx, evm.house, evm.store, customer, issuing, now))["address"])


async def _customer(evm: EvmShop) -> Customer:
    now = evm.house.clock.now()
    made = Customer(CustomerId(new_id("cus", now)), evm.store.id, None, None, "{}", now)
    async with evm.house.database.transaction() as tx:
        await customers.put(tx, made)
    return made


async def test_one_address_serves_ether_and_tokens_and_each_becomes_credit_of_its_own(evm: EvmShop) -> None:
    ada = await _customer(evm)
    ether, token = [await _address(evm, ada.id, asset) for asset in ("ETH@anvil", "USDC@anvil")]
    assert ether == token

    await evm.anvil.fund(ether, PRICE_WEI)
    await evm.anvil.fund(token, PRICE_USDC, "USDC")
    await evm.mine(4)
    async with evm.house.database.transaction() as tx:
        held = (await customers.balances(tx, [ada.id]))[ada.id]
    assert [(each.asset, each.available, each.pending) for each in held] == [
        ("ETH@anvil", PRICE_WEI, 0),
        ("USDC@anvil", PRICE_USDC, 0),
    ]
    account = f"customer:{ada.id}"
    assert await evm.database_books() == {
        ("wallet:anvil", "ETH@anvil"): PRICE_WEI,
        ("wallet:anvil", "USDC@anvil"): PRICE_USDC,
        (account, "ETH@anvil"): -PRICE_WEI,
        (account, "USDC@anvil"): -PRICE_USDC,
    }

    invoice = await evm.only("USDC", customer_id=ada.id)
    async with evm.house.database.transaction() as tx:
        now = evm.house.clock.now()
        paid = await flow.pay_from_credit(tx, evm.house, evm.store, invoice["id"], "USDC@anvil", None, "key", now)
    assert paid["status"] == "settled"


@asynccontextmanager
async def _on_two_networks(anvil: AnvilNode, database: Database, data_dir: Path) -> AsyncIterator[EvmShop]:
    """A shop on "anvil"; "other" is the same chain by another name, on which nobody has a wallet yet."""
    networks = {"anvil": anvil_network(anvil.rpc_url, usdc(anvil))}
    networks["other"] = replace(networks["anvil"], name="other")
    house = await build_house(database, data_dir, networks)
    async with database.transaction() as tx:
        store = await add_store(tx, house, "anvil", XPUB)
    async with JsonRpc(anvil.rpc_url) as rpc:
        shop = EvmShop(house, anvil, store, rpc)
        shop.start()
        following = asyncio.create_task(follow_chain(house, "other"))
        try:
            await shop.ready()
            yield shop
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await shop.stop()
            await house.marks.close()


async def _give_wallet_to_another_store(house: House) -> None:
    chain, now = house.chains["other"], house.clock.now()
    async with house.database.transaction() as tx:
        store = await stores.create_store(tx, "Second", "EUR", False, now)
        account = chain.addresses.account(XPUB)
        await flow.add_wallet(tx, house, Actor("operator"), store.id, "other", account, now)


async def test_a_wallet_that_comes_later_sees_what_is_paid_on_its_network_to_everyones_addresses(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with _on_two_networks(anvil, database, tmp_path) as shop:
        invoices, people = [await shop.only("ETH")], [await _customer(shop), await _customer(shop)]
        addresses = [await _address(shop, people[0].id, "ETH@anvil")]
        await _give_wallet_to_another_store(shop.house)
        invoices.append(await shop.only("ETH"))
        addresses.append(await _address(shop, people[1].id, "ETH@anvil"))
        for invoice in invoices:
            await shop.pay(invoice, PRICE_WEI)
        for to in addresses:
            await anvil.fund(to, PRICE_WEI)
        await shop.mine()
        for invoice in invoices:

            async def assets(invoice: Json = invoice) -> Json:
                return {"assets": sorted(paid["asset"] for paid in (await shop.shown(invoice))["payments"])}

            await shop.until_seen(assets, {"assets": ["ETH@anvil", "ETH@other"]})
        await shop.mine()
        for person in people:

            async def credit(person: Customer = person) -> Json:
                async with database.transaction() as tx:
                    held = (await customers.balances(tx, [person.id]))[person.id]
                return {"credit": sorted((each.asset, each.available) for each in held)}

            await shop.until_seen(credit, {"credit": [("ETH@anvil", PRICE_WEI), ("ETH@other", PRICE_WEI)]})
        async with database.transaction() as tx:
            assert await flow.check_deposits(tx, shop.house, "", 100, shop.house.clock.now()) is None
        told = await database.pool.fetch("select kind, store_id from alerts")
        assert [tuple(each) for each in told] == [("wallet_shared", shop.store.id)]
