"""Ether seen by balances alone, when the chain changes its mind; and payments that a block shows to be nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.evm.devnode import AnvilNode
from kassa.db.pool import Database
from tests.evmshop import PRICE_WEI, EvmShop, address, open_evm_shop

NEVER_DROPPED = 3600
"""Seconds after which absence alone would make a payment dropped: what is lost here is lost by what was seen."""


@pytest.fixture
async def counting(anvil: AnvilNode, database: Database, tmp_path: Path) -> AsyncIterator[EvmShop]:
    settings = {"internal": "balances", "drop_after_seconds": NEVER_DROPPED}
    async with open_evm_shop(anvil, database, tmp_path, **settings) as shop:  # type: ignore[arg-type]
        yield shop


async def test_an_internal_payment_that_another_block_holds_is_the_same_payment(counting: EvmShop) -> None:
    invoice = await counting.only("ETH")
    forwarder = await counting.contract("Forwarder")
    await forwarder.send("forward", address(invoice), PRICE_WEI, wei=PRICE_WEI)
    await counting.mine(2)
    before = await counting.until(invoice, status="settled", payments=["settled"])
    await counting.anvil.fork(2)
    await counting.caught_up()
    after = await counting.until(invoice, status="settled", flags=[], payments=["settled"], amount_paid="50.00")
    (old,), (new,) = before["payments"], after["payments"]
    assert (old["id"], old["position"]) == (new["id"], new["position"])
    assert new["txid"] == new["block_hash"] != old["txid"]
    assert not {"payment.reversed", "invoice.reopened"} & set(await counting.events(invoice))
    assert (await counting.database_books())["wallet:anvil", "ETH@anvil"] == PRICE_WEI


async def test_an_internal_payment_that_comes_back_smaller_is_not_counted_beside_the_old_one(counting: EvmShop) -> None:
    invoice = await counting.only("ETH")
    forwarder = await counting.contract("Forwarder")
    txid = await forwarder.send("forward", address(invoice), PRICE_WEI, wei=PRICE_WEI)
    await counting.mine(2)
    await counting.until(invoice, status="settled", payments=["settled"])
    await counting.anvil.fork(2, drop={txid})
    await counting.until(invoice, status="processing", payments=["detected"])  # nothing says where it is
    await forwarder.send("forward", address(invoice), PRICE_WEI // 2, wei=PRICE_WEI // 2)
    await counting.mine(2)
    shown = await counting.until(invoice, status="new", flags=["reversed"], payments=["reversed", "settled"])
    assert shown["amount_paid"] == "25.00"
    assert (await counting.database_books())["wallet:anvil", "ETH@anvil"] == PRICE_WEI // 2


async def test_a_waiting_payment_that_fails_in_its_block_is_lost_at_once(counting: EvmShop) -> None:
    invoice = await counting.only("ETH")
    txid = await counting.pay(invoice, PRICE_WEI)
    await counting.until(invoice, status="processing")
    await counting.anvil.rpc.call("anvil_setCode", address(invoice), "0x60006000fd")  # it refuses money when mined
    await counting.mine()
    await counting.until(invoice, status="new", payments=["dropped"])
    # Whoever undoes that block undoes what it said.
    await counting.anvil.fork(1, drop={txid})
    await counting.until(invoice, status="processing", payments=["detected"])
