"""A transaction that a reorganisation puts into another block is carried out again, and may pay otherwise there."""

from kassa.chains.evm.devnode import AnvilNode
from tests.evmshop import PRICE_WEI, EvmShop, address

HELD = "0x00000000000000000000000000000000000A6A11"
HELD_CODE = "0x3615601c575f5f5f5f3447035f355af1505f5f5f5f346020355af1505b00"
"""Takes money; called with two addresses, it pays the first all that it had, and the second what came with the call.

    if calldatasize == 0: stop
    call(calldata[0], value: balance - callvalue); call(calldata[32], value: callvalue)
"""


async def send(node: AnvilNode, sender: int, wei: int, *receivers: str) -> str:
    """Send the contract money, or have it pay."""
    words = "".join([receiver[2:].lower().rjust(64, "0") for receiver in receivers])
    call = {"from": (await node.accounts())[sender], "to": HELD, "value": hex(wei), "data": "0x" + words}
    return str(await node.rpc.call("eth_sendTransaction", call))


async def test_the_amount_is_what_the_transaction_pays_in_the_block_that_stands(evm: EvmShop) -> None:
    first, second = await evm.only("ETH"), await evm.only("ETH")
    await evm.anvil.rpc.call("anvil_setCode", HELD, HELD_CODE)
    await send(evm.anvil, 1, PRICE_WEI // 2)
    await evm.mine()
    more = await send(evm.anvil, 2, PRICE_WEI // 2)
    await evm.mine()
    await send(evm.anvil, 3, PRICE_WEI, address(first), address(second))
    await evm.mine()
    for invoice in (first, second):
        await evm.until(invoice, status="settled")
    await evm.anvil.fork(2, drop={more})
    await evm.caught_up()
    assert await evm.paid(first) == [("ETH", "call:0", "0.010000000000000000")]
    assert await evm.paid(second) == [("ETH", "call:1", "0.020000000000000000")]
    await evm.until(first, status="new", amount_paid="25.00", flags=[])
    await evm.until(second, status="settled")
    assert (await evm.database_books())["wallet:anvil", "ETH@anvil"] == PRICE_WEI * 3 // 2


async def test_what_another_address_gets_in_the_block_that_stands_is_its_own(evm: EvmShop) -> None:
    first, second = await evm.only("ETH"), await evm.only("ETH")
    await evm.anvil.rpc.call("anvil_setCode", HELD, HELD_CODE)
    await evm.mine()
    more = await send(evm.anvil, 2, PRICE_WEI)
    await evm.mine()
    await send(evm.anvil, 3, PRICE_WEI, address(first), address(second))
    await evm.mine()
    for invoice in (first, second):
        await evm.until(invoice, status="settled")
    await evm.anvil.fork(2, drop={more})
    await evm.caught_up()
    await evm.until(first, status="new", payments=["reversed"])
    assert await evm.paid(first) == []
    assert await evm.paid(second) == [("ETH", "call:0", "0.020000000000000000")]
    await evm.until(second, status="settled", amount_over="0.00")
    assert (await evm.database_books())["wallet:anvil", "ETH@anvil"] == PRICE_WEI
