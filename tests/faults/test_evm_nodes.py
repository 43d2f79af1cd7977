"""Lying, lagging and changing EVM nodes, and what their chains do: A1 to A38, B17 to B21. Truth is what is believed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.base import Program
from kassa.chains.evm.devnode import AnvilNode, AnvilOptions
from kassa.core.errors import Unavailable
from kassa.db.pool import Database
from kassa.settings import Confirmations
from tests.evmshop import PRICE_USDC, PRICE_WEI, EvmShop, address, compare_with_fresh_scan, open_evm_shop
from tests.house import SetClock
from tests.tools.liar import Liar
from tests.tools.lies import Json
from tests.tools.sending import Skewed

# ---------------------------------------------------------------- reorganisations and replacements


async def test_a1_a_reorganisation_takes_a_payment_back_and_brings_it_again(
    anvil: AnvilNode, database: Database, empty: Database, tmp_path: Path
) -> None:
    # What is undone waits here for as long as the test does: an anvil forgets it, and absence alone would end it.
    async with open_evm_shop(anvil, database, tmp_path, drop_after_seconds=3600) as evm:
        coin, token = await evm.only("ETH"), await evm.only("USDC")
        first = await evm.pay(coin, PRICE_WEI)
        second = await evm.anvil.fund(address(token), PRICE_USDC, "USDC")
        await evm.mine()
        raws = [await evm.anvil.rpc.call("eth_getRawTransactionByHash", txid) for txid in (first, second)]
        for invoice in (coin, token):
            await evm.until(invoice, status="settled")
        await evm.anvil.fork(1, drop={first, second})
        for invoice in (coin, token):
            await evm.until(invoice, status="processing", flags=["reversed"], payments=["detected"])
        assert await evm.books() == {}
        for raw in raws:
            await evm.anvil.broadcast(raw)
        await evm.mine()
        for invoice in (coin, token):
            await evm.until(invoice, status="settled", flags=[], payments=["settled"], amount_over="0.00")
        await compare_with_fresh_scan(evm, empty, tmp_path / "fresh")


async def test_a2_a_payment_that_survives_in_another_block_stays_settled(evm: EvmShop) -> None:
    invoice = await evm.only("USDC")
    await evm.anvil.fund(address(invoice), PRICE_USDC, "USDC")
    await evm.mine()
    before = (await evm.until(invoice, status="settled"))["payments"][0]["block_hash"]
    await evm.mine(2)
    await evm.anvil.fork(3)
    await evm.caught_up()
    shown = await evm.until(invoice, status="settled", flags=[])
    assert shown["payments"][0]["block_hash"] not in (before, None)
    assert (await evm.events(invoice)).count("invoice.settled") == 1


async def test_a3_a_settled_payment_that_a_reorganisation_replaces_is_reversed(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    txid = await evm.pay(invoice, PRICE_WEI)
    rival = await evm.anvil.conflict(txid)
    await evm.mine()
    await evm.until(invoice, status="settled")
    await evm.anvil.fork(1, drop={txid})
    await evm.anvil.broadcast(rival)
    await evm.mine()
    await evm.until(invoice, status="new", flags=["reversed"], payments=["reversed"])
    assert "payment.reversed" in await evm.events(invoice)
    assert await evm.books() == {}


async def test_a4_flip_flops_end_where_a_fresh_scan_ends(evm: EvmShop, empty: Database, tmp_path: Path) -> None:
    coin, token = await evm.only("ETH"), await evm.only("USDC")
    paid = await evm.pay(coin, PRICE_WEI), await evm.anvil.fund(address(token), PRICE_USDC, "USDC")
    raws = [await evm.anvil.rpc.call("eth_getRawTransactionByHash", txid) for txid in paid]
    await evm.mine()
    for _ in range(8):
        await evm.anvil.fork(1, drop=set(paid))
        await evm.caught_up()
        for raw in raws:
            await evm.anvil.broadcast(raw)
        await evm.mine()
    for invoice in (coin, token):
        await evm.until(invoice, status="settled", payments=["settled"], amount_over="0.00")
    await compare_with_fresh_scan(evm, empty, tmp_path / "fresh")


async def test_a9_a_transaction_of_the_same_nonce_replaces_the_payment(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    txid = await evm.pay(invoice, PRICE_WEI)
    await evm.until(invoice, status="processing", payments=["detected"])
    rival = await evm.anvil.replace(txid)
    shown = await evm.until(invoice, status="new", payments=["replaced"])
    assert shown["payments"][0]["replaced_by"] == rival
    await evm.mine()
    await evm.until(invoice, status="new", amount_paid="0.00")


async def test_a13_a_payment_that_the_pool_forgot_is_dropped_and_may_come_again(evm: EvmShop) -> None:
    invoice = await evm.only("ETH")
    txid = await evm.pay(invoice, PRICE_WEI)
    raw = await evm.anvil.rpc.call("eth_getRawTransactionByHash", txid)
    await evm.until(invoice, status="processing")
    await evm.anvil.drop(txid)
    await evm.until(invoice, status="new", payments=["dropped"])
    await evm.anvil.broadcast(raw)
    await evm.until(invoice, status="processing", payments=["detected"])
    await evm.mine()
    await evm.until(invoice, status="settled", payments=["settled"])


async def test_a_waiting_payment_that_is_mined_and_fails_is_dropped_and_holds_up_nothing(evm: EvmShop) -> None:
    invoice, other = await evm.only("ETH"), await evm.only("ETH", expires_in=60)
    await evm.pay(invoice, PRICE_WEI)
    await evm.until(invoice, status="processing")
    await evm.anvil.rpc.call("anvil_setCode", address(invoice), "0x60006000fd")  # it refuses money when it is mined
    await evm.mine()
    await evm.until(invoice, status="new", payments=["dropped"])
    await evm.pay(other, PRICE_WEI)
    await evm.mine()
    await evm.until(other, status="settled")


async def test_looks_count_where_a_block_comes_during_each_of_them(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        await shop.caught_up()
        coming = liar.on("txpool_status").run(anvil.mine)
        for _ in range(3):
            now = shop.house.clock.now()

            async def look(now: datetime = now) -> Any:
                row = await database.pool.fetchrow("select state, observed_at from networks where id = 'anvil'")
                return {"seen": row["observed_at"] > now, "state": row["state"]}

            await shop.until_seen(look, {"seen": True, "state": "ok"})
        assert coming.applied >= 3


async def test_a6_a_reorganisation_beyond_the_limit_halts_and_an_operator_decides(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path, max_reorg=3) as shop:
        invoice = await shop.only("ETH")
        await shop.pay(invoice, PRICE_WEI)
        await shop.mine(5)
        await shop.until(invoice, status="settled")
        await anvil.fork(5)
        await shop.until_network(state="halted")
        with pytest.raises(Unavailable):
            await shop.only("ETH")
        async with database.transaction() as tx:
            await flow.resume_network(tx, "anvil", 6, Actor("operator test"), shop.house.clock.now())
        await shop.until_network(state="ok")
        await shop.caught_up()
        await shop.until(invoice, status="settled", flags=[])


# ---------------------------------------------------------------- finality


async def test_a38_above_every_bound_a_payment_settles_exactly_when_its_block_is_final(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    tiers = (Confirmations(1, Fraction(20), "EUR"), Confirmations(1))
    async with open_evm_shop(anvil, database, tmp_path, finality="finalized", confirmations=tiers) as shop:
        large, small = await shop.only("ETH"), await shop.only("ETH", "10.00")
        await shop.pay(large, PRICE_WEI)
        await shop.pay(small, PRICE_WEI // 5)
        await shop.mine()
        block = (await anvil.tip()).height
        await shop.until(small, status="settled")
        for _ in range(4):  # "finalized" lies four blocks below the tip of this node
            await shop.until(large, status="processing", payments=["confirming"])
            final = int((await anvil.rpc.call("eth_getBlockByNumber", "finalized", False))["number"], 16)
            assert final < block
            await shop.mine()
        await shop.until(large, status="settled", payments=["settled"])


async def test_a38_a_frozen_tag_holds_settlement_and_nothing_else(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, finality="safe") as shop,
    ):
        await shop.mine(5)
        old = await anvil.rpc.call("eth_getBlockByNumber", "safe", False)
        stuck = liar.on("eth_getBlockByNumber").where(lambda call: call.params[0] == "safe").answer(old)
        invoice = await shop.only("ETH")
        await shop.pay(invoice, PRICE_WEI)
        await shop.mine(10)
        await shop.until(invoice, status="processing", payments=["confirming"])
        await shop.until_network(state="ok")
        stuck.off()
        await shop.until(invoice, status="settled")


async def test_a38_a_final_block_of_another_chain_says_nothing_about_ours(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, finality="safe") as shop,
    ):
        invoice = await shop.only("ETH")
        await shop.pay(invoice, PRICE_WEI)
        safe = liar.on("eth_getBlockByNumber").where(lambda call: call.params[0] == "safe")
        other = safe.mutate(lambda block: block | {"hash": "0x" + "ab" * 32})  # another node's, of another branch
        await shop.mine(10)
        await shop.heard()
        await shop.until(invoice, status="processing", payments=["confirming"])
        other.off()
        await shop.until(invoice, status="settled")


async def test_blocks_whose_state_is_gone_halt_nothing_and_are_named_in_one_alert(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, internal="balances") as shop,
    ):
        invoice = await shop.only("ETH")
        await shop.mine()
        gone = liar.on("eth_getBalance").error(-32000, "missing trie node 12ab (path )")
        first = (await anvil.tip()).height + 1
        await shop.mine()
        await shop.mine(2)
        gone.off()
        await shop.pay(invoice, PRICE_WEI)
        await shop.mine()
        await shop.until(invoice, status="settled")
        rows = await database.pool.fetch("select reason, closed_at from alerts where kind = 'internal_unseen'")
        assert [row["closed_at"] for row in rows] == [None]
        assert f"blocks {first}-{first + 2}:" in rows[0]["reason"]


async def test_a38_a_final_block_that_is_undone_halts_the_network(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path, finality="safe") as shop:
        await shop.mine(6)
        await anvil.fork(4)
        row = await shop.until_network(state="halted")
        assert "below a final block" in row["detail"]


# ---------------------------------------------------------------- lies


def without_status(receipts: Json) -> Json:
    return [{name: value for name, value in receipt.items() if name != "status"} for receipt in receipts]


def without_logs(receipts: Json) -> Json:
    return [receipt | {"logs": []} for receipt in receipts]


def removed(receipts: Json) -> Json:
    return [receipt | {"logs": [log | {"removed": True} for log in receipt["logs"]]} for receipt in receipts]


LIES: dict[str, Callable[[Json], Json]] = {
    "no receipts (B1)": lambda _: None,
    "a receipt too few (B18)": lambda receipts: receipts[:-1],
    "no status (B1)": without_status,
    "an odd status (B1)": lambda receipts: [receipt | {"status": "0x2"} for receipt in receipts],
    "empty logs (B19)": without_logs,
    "removed logs (B17)": removed,
    "of another block (A34)": lambda receipts: [receipt | {"blockHash": "0x" + "ab" * 32} for receipt in receipts],
    "garbage (A28)": lambda _: "surprise",
}


@pytest.mark.parametrize("lie", LIES)
async def test_b1_b17_b19_receipts_that_cannot_be_true_hold_the_chain_until_they_are(
    anvil: AnvilNode, database: Database, empty: Database, tmp_path: Path, lie: str
) -> None:
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        coin, token = await shop.only("ETH"), await shop.only("USDC")
        await shop.caught_up()
        told = liar.on("eth_getBlockReceipts").mutate(LIES[lie])
        singly = liar.on("eth_getTransactionReceipt").answer(None)
        await shop.pay(coin, PRICE_WEI)
        await anvil.fund(address(token), PRICE_USDC, "USDC")
        height = (await anvil.tip()).height
        await anvil.mine()
        await liar.seen("eth_getBlockReceipts", 2)
        position = await shop.until_network(height=height)
        assert position["height"] == height
        assert await shop.paid(token) == []
        told.off()
        singly.off()
        await shop.until(coin, status="settled", payments=["settled"])
        await shop.until(token, status="settled", payments=["settled"])
        await compare_with_fresh_scan(shop, empty, tmp_path / "fresh")


async def test_b18_a_provider_without_block_receipts_and_with_small_batches_shows_every_transfer(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(anvil.rpc_url) as liar:
        gone = {"code": -32601, "message": "the method eth_getBlockReceipts does not exist/is not available"}
        liar.on("eth_getBlockReceipts").error(gone["code"], gone["message"])
        liar.most_at_once = 5
        async with open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
            invoices = [await shop.only("USDC", "1.00") for _ in range(37)]
            for invoice in invoices:
                await anvil.fund(address(invoice), 10**6, "USDC")
            await shop.mine()
            for invoice in invoices:
                await shop.until(invoice, status="settled")
            assert liar.count("eth_getTransactionReceipt") >= 37
            assert liar.refused


async def test_b19_a_node_behind_the_same_address_that_lags_makes_us_wait(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.only("USDC")
        await anvil.fund(address(invoice), PRICE_USDC, "USDC")
        # Some questions about a block are answered by one that does not have it yet.
        lagging = liar.on("eth_getBlock*").where(lambda call: call.params[0] not in ("0x0", "latest"))
        lagging.every(2).answer(None)
        await anvil.mine()
        await shop.until(invoice, status="settled", payments=["settled"])
        assert lagging.applied
        # And for as long as nobody has the head's receipts, we wait for them.
        second = await shop.only("USDC")
        lagging.off()
        height = (await anvil.tip()).height
        stale = liar.on("eth_getBlockReceipts").answer([])
        await anvil.fund(address(second), PRICE_USDC, "USDC")
        await anvil.mine()
        await liar.seen("eth_getBlockReceipts", liar.count("eth_getBlockReceipts") + 12)
        assert (await shop.until_network(height=height))["height"] == height
        assert await shop.paid(second) == []
        stale.off()
        await shop.until(second, status="settled", payments=["settled"])


async def test_a29_a_node_that_restarts_in_the_middle_loses_nothing(
    anvil: AnvilNode, database: Database, empty: Database, tmp_path: Path
) -> None:
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.only("USDC")
        await shop.stop()
        await anvil.fund(address(invoice), PRICE_USDC, "USDC")
        await anvil.mine(500)
        broken = liar.on("*").every(5).drop()
        shop.start()
        await liar.seen("eth_getBlockByNumber", 10)
        await anvil.restart()
        await shop.until(invoice, status="settled", payments=["settled"])
        assert broken.applied
        assert not {"payment.dropped", "payment.replaced"} & set(await shop.events(invoice))
        broken.off()
        await compare_with_fresh_scan(shop, empty, tmp_path / "fresh")


async def test_a31_nobody_is_asked_to_pay_while_the_node_catches_up(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    clock = Skewed()
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, clock=clock) as shop,
    ):
        invoice = await shop.only("ETH", expires_in=60)
        liar.on("eth_syncing").answer({"startingBlock": "0x0", "currentBlock": "0x5", "highestBlock": "0xffff"})
        await shop.until_network(state="syncing", node_behind=True)
        with pytest.raises(Unavailable, match="cannot be followed now"):
            await shop.only("ETH")
        clock.ahead = timedelta(seconds=61)  # only now is its time over
        await liar.seen("eth_syncing", liar.count("eth_syncing") + 4)
        assert (await shop.shown(invoice))["status"] == "new"
        liar.honest()
        await shop.until_network(state="ok")
        await shop.until(invoice, status="expired")
        await shop.only("ETH")


async def test_a31_on_a_fast_chain_a_node_may_lag_by_some_blocks_and_not_by_more(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path) as shop:
        await anvil.mine(40)
        height = (await anvil.tip()).height
        await shop.until_network(state="ok", height=height)
        await anvil.rpc.call("anvil_rollback", 20)
        await shop.until_network(state="syncing", node_behind=False)
        await shop.only("ETH")
        await anvil.rpc.call("anvil_rollback", 10)
        await shop.until_network(state="syncing", node_behind=True)
        with pytest.raises(Unavailable, match="cannot be followed now"):
            await shop.only("ETH")
        await anvil.mine(31)
        await shop.until_network(state="ok", node_behind=False, height=height + 1)
        await shop.only("ETH")


async def test_a31_a_tip_that_grows_too_old_is_a_stalled_node(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    clock = SetClock()
    tip = await anvil.rpc.call("eth_getBlockByNumber", "latest", False)
    clock.move(int(tip["timestamp"], 16) - clock.now().timestamp())
    async with open_evm_shop(anvil, database, tmp_path, clock=clock, stalled_after_seconds=600) as shop:
        clock.move(601)
        await shop.until_network(state="stalled")
        with pytest.raises(Unavailable):
            await shop.only("ETH")
        clock.move(-timedelta(seconds=601).total_seconds())
        await shop.until_network(state="ok")


@pytest.mark.parametrize(
    "options", [AnvilOptions(chain_id=31338), AnvilOptions(genesis_time=1_700_000_000)], ids=["chain id", "genesis"]
)
async def test_a32_b21_a_node_of_another_chain_is_not_followed(
    anvil: AnvilNode, anvil_program: Program, database: Database, tmp_path: Path, options: AnvilOptions
) -> None:
    other = await AnvilNode.start(anvil_program, tmp_path / "other", options)
    try:
        async with (
            Liar(anvil.rpc_url) as liar,
            open_evm_shop(anvil, database, tmp_path / "kassa", rpc_url=liar.url) as shop,
        ):
            invoice = await shop.only("ETH")
            height = (await shop.until_network(state="ok"))["height"]
            await other.mine(height + 3)
            await other.fund(address(invoice), PRICE_WEI)
            await other.mine()
            liar.on("*").swap(other.rpc_url)
            await shop.until_network(state="halted")
            assert await shop.paid(invoice) == []
    finally:
        await other.kill()


async def test_a_node_behind_the_same_address_that_can_do_less_halts_nothing(
    anvil: AnvilNode, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.workers.follow_chain._MAX_PAUSE_SECONDS", 0.5)
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.only("ETH")
        less = liar.on("txpool_*").error(-32601, "the method txpool_status does not exist/is not available").times(1)
        await shop.pay(invoice, PRICE_WEI)
        await shop.mine()
        await shop.until(invoice, status="settled")
        assert less.applied


async def test_b21_a_wrong_chain_from_the_start_is_refused(
    anvil: AnvilNode, anvil_program: Program, database: Database, tmp_path: Path
) -> None:
    other = await AnvilNode.start(anvil_program, tmp_path / "other", AnvilOptions(chain_id=31338))
    try:
        async with open_evm_shop(anvil, database, tmp_path / "kassa", rpc_url=other.rpc_url, ready=False) as shop:

            async def look() -> Any:
                row = await database.pool.fetchrow("select state, detail, height from networks where id = 'anvil'")
                return {"refused": row is not None and "refused" in row["detail"], "height": row and row["height"]}

            await shop.until_seen(look, {"refused": True, "height": None})
    finally:
        await other.kill()
