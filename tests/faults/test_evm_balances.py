"""Ether seen by balances alone, when the chain changes its mind; and payments that a block shows to be nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.chains.evm.devnode import AnvilNode
from kassa.db.pool import Database
from tests.evmshop import PRICE_WEI, EvmShop, address, open_evm_shop
from tests.tools.liar import Liar
from tests.tools.lies import Rule

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


PRUNED = "historical state is not available"


def hide_traces(liar: Liar) -> list[Rule]:
    """Let the node have no traces any more."""
    return [liar.on(method).error(-32000, PRUNED) for method in ("trace_block", "debug_traceBlockByHash")]


async def test_a_payment_known_by_its_call_is_the_same_one_when_only_a_balance_shows_it_in_another_block(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    settings = {"drop_after_seconds": NEVER_DROPPED}
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, **settings) as shop,
    ):
        invoice = await shop.only("ETH")
        forwarder = await shop.contract("Forwarder")
        await forwarder.send("forward", address(invoice), PRICE_WEI, wei=PRICE_WEI)
        await shop.mine(2)
        before = await shop.until(invoice, status="settled", payments=["settled"])
        hidden = hide_traces(liar)
        await anvil.fork(2)
        await shop.caught_up()
        after = await shop.until(invoice, status="settled", flags=[], payments=["settled"], amount_paid="50.00")
        (old,), (new,) = before["payments"], after["payments"]
        names = ("id", "position", "txid", "first_seen_at", "amount")
        assert [old[name] for name in names] == [new[name] for name in names]
        assert new["block_hash"] != old["block_hash"]
        for rule in hidden:
            rule.off()
        await anvil.fork(2)
        await shop.caught_up()
        await shop.until(invoice, status="settled", flags=[], payments=["settled"], amount_paid="50.00")
        assert not {"payment.reversed", "payment.dropped", "invoice.reopened"} & set(await shop.events(invoice))
        assert (await shop.database_books())["wallet:anvil", "ETH@anvil"] == PRICE_WEI
