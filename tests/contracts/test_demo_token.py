"""The demo token is a plain ERC-20 (EIP-20)."""

import pytest

from kassa.chains.rpc import JsonRpc
from tests.contracts.deploy import Contract, deploy

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
SHOP = "0x" + "b2" * 20


def word(address: str) -> str:
    """An address as a topic holds it."""
    return "0x" + address[2:].lower().rjust(64, "0")


@pytest.fixture
async def token(node: JsonRpc) -> Contract:
    return await deploy(node, "DemoToken", "Demo Dollar", "USDC", 6)


async def test_it_has_the_name_symbol_and_decimals_of_its_deployment(token: Contract) -> None:
    assert [await token.read(part) for part in ("name", "symbol", "decimals")] == ["Demo Dollar", "USDC", 6]


async def test_a_transfer_moves_units_and_logs_them(node: JsonRpc, token: Contract, accounts: list[str]) -> None:
    await token.run("mint", accounts[0], 1_000)
    mined = await token.run("transfer", SHOP, 400)
    assert [await token.read("balanceOf", owner) for owner in (accounts[0], SHOP)] == [600, 400]
    (log,) = mined["logs"]
    assert log["address"] == token.address
    assert log["topics"] == [TRANSFER, word(accounts[0]), word(SHOP)]
    assert int(log["data"], 16) == 400


async def test_more_than_there_is_moves_nothing(node: JsonRpc, token: Contract, accounts: list[str]) -> None:
    await token.run("mint", accounts[0], 1_000)
    assert (await token.run("transfer", SHOP, 1_001))["status"] == "0x0"
    assert await token.read("balanceOf", accounts[0]) == 1_000


async def test_nobody_burns_by_transfer(node: JsonRpc, token: Contract) -> None:
    assert (await token.run("transfer", "0x" + "00" * 20, 0))["status"] == "0x0"


async def test_only_its_deployer_mints(node: JsonRpc, token: Contract, accounts: list[str]) -> None:
    assert (await token.run("mint", SHOP, 1, sender=accounts[1]))["status"] == "0x0"
    mined = await token.run("mint", SHOP, 1, sender=accounts[0])
    assert mined["logs"][0]["topics"] == [TRANSFER, word("0x00"), word(SHOP)]
    assert await token.read("totalSupply") == 1


async def test_a_spender_moves_what_was_allowed_and_no_more(
    node: JsonRpc, token: Contract, accounts: list[str]
) -> None:
    owner, spender = accounts[:2]
    await token.run("mint", owner, 1_000)
    await token.run("approve", spender, 300)
    assert (await token.run("transferFrom", owner, SHOP, 301, sender=spender))["status"] == "0x0"
    await token.run("transferFrom", owner, SHOP, 200, sender=spender)
    assert await token.read("allowance", owner, spender) == 100
    assert await token.read("balanceOf", SHOP) == 200
