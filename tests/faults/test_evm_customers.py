"""A customer on EVM networks: one address for all assets of the space; whatever comes there is theirs."""

from kassa import flow
from kassa.core.ids import CustomerId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from tests.evmshop import PRICE_USDC, PRICE_WEI, EvmShop


async def _address(evm: EvmShop, customer: CustomerId, asset: str) -> str:
    issuing = await flow.prepare_address(evm.house, evm.store, customer, asset)
    async with evm.house.database.transaction() as tx:
        now = evm.house.clock.now()
        return str((await flow.issue_address(tx, evm.house, evm.store, customer, issuing, now))["address"])


async def test_one_address_serves_ether_and_tokens_and_each_becomes_credit_of_its_own(evm: EvmShop) -> None:
    now = evm.house.clock.now()
    ada = Customer(CustomerId(new_id("cus", now)), evm.store.id, None, None, "{}", now)
    async with evm.house.database.transaction() as tx:
        await customers.put(tx, ada)
    ether, token = [await _address(evm, ada.id, asset) for asset in ("ETH@anvil", "USDC@anvil")]
    assert ether == token

    await evm.anvil.fund(ether, PRICE_WEI)
    await evm.anvil.fund(token, PRICE_USDC, "USDC")
    await evm.mine(4)
    async with evm.house.database.transaction() as tx:
        held = await customers.balances(tx, ada.id)
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
