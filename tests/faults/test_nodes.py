"""Lying, lagging and dying nodes: A27 to A41. What is believed is always one true chain."""

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from kassa import flow
from kassa.alerts.chain_rules import on_nodes
from kassa.alerts.model import Kind, Severity
from kassa.alerts.seen_store import followed
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import Unavailable
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.doctor import Verdict, examine
from kassa.settings import Settings
from tests.house import BITCOIN, regtest
from tests.shop import Json, Shop, address, compare_with_fresh_scan, open_shop
from tests.sizes import size
from tests.tools.hints import Hints
from tests.tools.liar import Liar
from tests.tools.sending import Skewed


async def said(shop: Shop, invoice: Json) -> list[str]:
    await shop.caught_up()
    return await shop.events(invoice)


@pytest.mark.catalogue
async def test_a27_a_long_backlog_is_read_without_a_hole_and_expires_nothing_wrongly(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    clock = Skewed()
    async with open_shop(bitcoind, database, tmp_path, clock=clock) as shop:
        invoices = [await shop.invoice(expires_in=900) for _ in range(size(30, 100))]
        unpaid = await shop.invoice(expires_in=900)
        await shop.stop()
        await bitcoind.fund_each([(address(invoice), 100_000) for invoice in invoices])
        await bitcoind.mine(1)
        # By the clock all of them are over when Kassa comes back; by what happened, only one is.
        clock.ahead = timedelta(hours=1)
        await bitcoind.set_mock_time(int(clock.now().timestamp()))
        for _ in range(size(10, 100)):
            await bitcoind.mine(100)
        shop.start()
        await shop.heard()  # a minute after its last follower a network is not offered until there is one again
        fresh = await shop.invoice(expires_in=86_400)
        await shop.until(unpaid, status="expired")
        for invoice in invoices:
            await shop.until(invoice, status="settled", flags=[])
        assert (await shop.shown(fresh))["status"] == "new"


async def test_a28_a_poisonous_script_does_not_hide_the_payment_after_it(shop: Shop) -> None:
    invoice = await shop.invoice()
    node = shop.node
    # Spendable by nobody, longer than any rule allows to be spent, and full of what looks like lengths.
    data = "6a" + "4d0002" + "fd" * 512
    coins = await node.rpc.call("listunspent", 1)
    inputs = [{"txid": coins[0]["txid"], "vout": coins[0]["vout"]}]
    raw = await node.rpc.call("createrawtransaction", inputs, [{"data": data[8:]}, {address(invoice): "0.001"}])
    signed = await node.rpc.call("signrawtransactionwithwallet", raw)
    await node.mine(transactions=[signed["hex"]])
    await shop.until(invoice, status="settled")


@pytest.mark.parametrize("damage", ["truncated", "empty", "another block", "garbage"])
async def test_a28_a_damaged_block_is_asked_for_again_and_never_skipped(
    bitcoind: DevNode, database: Database, tmp_path: Path, damage: str
) -> None:
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.invoice()
        other = await bitcoind.rpc.call("getblock", (await bitcoind.tip()).hash, 0)
        rest, rpc = liar.on("/rest/block/*").times(3), liar.on("getblock").times(3)
        bodies = {"truncated": None, "empty": b"", "another block": bytes.fromhex(other), "garbage": b"\xff" * 500}
        if damage == "truncated":
            rest.truncate(200)
            rpc.truncate(200)
        else:
            body = bodies[damage] or b""
            rest.answer(body)
            rpc.answer(body.hex())
        await shop.pay(invoice)
        await bitcoind.mine()
        await shop.until(invoice, status="settled")
        assert rest.applied + rpc.applied >= 3


async def test_a29_a_node_that_restarts_during_a_scan_loses_nothing(
    bitcoind: DevNode, database: Database, empty: Database, tmp_path: Path
) -> None:
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice, waiting = await shop.invoice(), await shop.invoice()
        await shop.stop()
        await shop.pay(invoice)
        await bitcoind.mine(500)
        await shop.pay(waiting)
        reset = liar.on("*").every(5).drop()
        liar.on("getrawmempool").times(2).warming_up()
        liar.on("getblockhash").times(2).http(503, b"Work queue depth exceeded")
        shop.start()
        await liar.seen("/rest/block/*", 100)  # in the middle of the scan
        await bitcoind.restart()
        await shop.until(waiting, payments=["detected"])
        await shop.until(invoice, status="settled")
        assert reset.applied > 100
        reset.off()
        await shop.caught_up()
        lost = {"payment.dropped", "payment.replaced", "payment.reversed", "invoice.reopened"}
        assert not lost & {*await shop.events(waiting), *await shop.events(invoice)}
        assert (await shop.shown(waiting))["status"] == "processing"
        await compare_with_fresh_scan(shop, empty, tmp_path / "fresh")


@pytest.mark.parametrize("answer", [None, [], {}, "", 0, "x" * 100])
async def test_a29_a_senseless_mempool_drops_nothing(
    bitcoind: DevNode, database: Database, tmp_path: Path, answer: object
) -> None:
    """An empty list would be a truth that a node can tell; with `loaded` false it is not."""
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.invoice()
        await shop.pay(invoice)
        await shop.until(invoice, status="processing")
        liar.on("getrawmempool").answer(answer)
        if answer == []:
            liar.on("getmempoolinfo").mutate(lambda info: {**info, "loaded": False})
        before = liar.count("getrawmempool")
        await liar.seen("getrawmempool", before + 6)
        assert (await shop.shown(invoice))["status"] == "processing"
        liar.honest()
        await shop.caught_up()
        assert "payment.dropped" not in await shop.events(invoice)


async def test_a31_a_node_that_is_behind_holds_expiry(bitcoind: DevNode, database: Database, tmp_path: Path) -> None:
    clock = Skewed()
    async with (
        Liar(bitcoind.rpc_url) as liar,
        open_shop(bitcoind, database, tmp_path, clock=clock, rpc_url=liar.url) as shop,
    ):
        invoice = await shop.invoice(expires_in=60)
        liar.on("getblockchaininfo").mutate(lambda info: {**info, "initialblockdownload": True})
        await shop.until_network(state="syncing", node_behind=True)
        with pytest.raises(Unavailable) as refused:
            await shop.invoice()
        assert refused.value.code == "network_unavailable"
        clock.ahead = timedelta(seconds=61)  # only now is its time over
        asked = liar.count("getrawmempool")
        await liar.seen("getrawmempool", asked + 4)
        assert (await shop.shown(invoice))["status"] == "new"
        liar.honest()
        await shop.until(invoice, status="expired")


async def test_a31_nobody_is_asked_to_pay_while_a_replaced_node_stands_below_us(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, database_url: str, tmp_path: Path
) -> None:
    """The other one is on a branch of its own and without peers: it is at the end of all that it knows."""
    ours, theirs = bitcoind_pair
    clock = Skewed()
    async with Liar(ours.rpc_url) as liar, open_shop(ours, database, tmp_path, rpc_url=liar.url, clock=clock) as shop:
        await theirs.fund(await theirs.address(), 100_000)
        await theirs.mine()
        await ours.mine(2)
        await shop.caught_up()
        invoice = await shop.invoice()
        other = liar.on("*").swap(theirs.rpc_url)
        await shop.until_network(state="syncing", node_behind=False)  # one block: ordinary between backends
        await shop.invoice()
        other.off()
        await ours.mine(2)
        await shop.caught_up()
        other = liar.on("*").swap(theirs.rpc_url)
        await shop.until_network(state="syncing", node_behind=True)
        with pytest.raises(Unavailable) as refused:
            await shop.invoice()
        assert refused.value.code == "network_unavailable"
        async with shop.house.database.transaction() as tx:
            [view] = (await flow.payer_views(tx, shop.house, [invoice["id"]], clock.now())).values()
        assert [(each["closed"], each["address"]) for each in view.public["payment_options"]] == [(True, None)]

        clock.ahead = timedelta(seconds=61)
        async with shop.house.database.transaction() as tx:
            [found] = on_nodes(await followed(tx), [BITCOIN], clock.now())
        assert (found.kind, found.severity) == (Kind.NODE_SYNCING, Severity.CRITICAL)
        settings = Settings(
            database_url=Secret(database_url), data_dir=tmp_path, networks={BITCOIN: regtest(rpc_url=theirs.rpc_url)}
        )
        seen = {each.check: each for each in await examine(settings)}[f"{BITCOIN} node sync"]
        assert seen.verdict is Verdict.WARN
        assert "3 blocks behind what Kassa has seen" in seen.detail

        await theirs.mine(4)  # it overtakes: a reorganisation as any other, and offers come back by themselves
        await shop.until_network(state="ok", node_behind=False)
        await shop.invoice()


async def test_a31_a_stalled_node_is_not_offered_and_expires_nothing(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    clock, settings = Skewed(), {"stalled_after_seconds": 3600}
    async with Liar(bitcoind.rpc_url) as liar, AsyncExitStack() as stack:
        shop = await stack.enter_async_context(
            open_shop(bitcoind, database, tmp_path, clock=clock, rpc_url=liar.url, **settings)  # type: ignore[arg-type]
        )
        invoice = await shop.invoice(expires_in=60)
        liar.on("getblockchaininfo").mutate(lambda info: {**info, "time": info["time"] - 7200})
        await shop.until_network(state="stalled")
        with pytest.raises(Unavailable) as refused:
            await shop.invoice()
        assert refused.value.code == "network_unavailable"
        clock.ahead = timedelta(seconds=61)
        asked = liar.count("getrawmempool")
        await liar.seen("getrawmempool", asked + 4)
        assert (await shop.shown(invoice))["status"] == "new"
        liar.honest()
        await shop.until_network(state="ok")
        await shop.until(invoice, status="expired")


async def test_a32_a_node_of_another_network_is_refused_and_changes_nothing(
    bitcoind: DevNode, litecoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.invoice()
        await shop.pay(invoice)
        await bitcoind.mine()
        await shop.until(invoice, status="settled")
        before = await said(shop, invoice)
        await litecoind.mine(30)
        liar.swap_after(0, litecoind.rpc_url)
        row = await shop.until_network(state="halted")
        assert "is not on bitcoin-regtest" in row["detail"]
        assert (await shop.shown(invoice))["status"] == "settled"
        assert await shop.events(invoice) == before


async def test_a32_a_minority_branch_settles_nothing_until_an_operator_decides(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with Liar(ours.rpc_url) as liar, open_shop(ours, database, tmp_path, rpc_url=liar.url, max_reorg=5) as shop:
        invoice = await shop.invoice()
        await ours.mine(7)
        await shop.caught_up()
        await theirs.fund(address(invoice), 100_000)
        await theirs.mine(9)
        liar.swap_after(0, theirs.rpc_url)
        await shop.until_network(state="halted")
        assert (await shop.shown(invoice))["status"] == "new"
        # The right node again: that alone starts nothing.
        liar.honest()
        asked = liar.count("*")
        await ours.mine(2)
        with pytest.raises(TimeoutError):
            await liar.seen("*", asked + 1, seconds=3)
        assert (await shop.until_network(state="halted"))["height"] == (await ours.tip()).height - 2


CALLS_OF_A_LOOK = 14


@pytest.mark.parametrize("call", range(CALLS_OF_A_LOOK))
async def test_a34_the_branch_switches_between_any_two_calls(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path, call: int
) -> None:
    """Whatever call the switch falls on, what is believed is one of the two branches, and in the end the longer one."""
    ours, theirs = bitcoind_pair
    async with Liar(ours.rpc_url) as liar, open_shop(ours, database, tmp_path, rpc_url=liar.url) as shop:
        invoice, other = await shop.invoice(), await shop.invoice()
        await shop.stop()
        await ours.fund(address(invoice), 100_000)
        await ours.mine(2)
        await theirs.fund(address(other), 100_000)
        await theirs.mine(4)
        liar.swap_after(call, theirs.rpc_url)
        shop.start()
        await shop.until(other, status="settled")
        await shop.until_network(hash=(await theirs.tip()).hash)
        branch = {ref: await theirs.block_hash(ref) for ref in range(112, (await theirs.tip()).height + 1)}
        rows = await database.pool.fetch("select height, hash from blocks where height >= 112")
        assert {row["height"]: row["hash"] for row in rows} == branch
        assert (await shop.shown(invoice))["status"] == "new"
        assert await shop.books() == {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}


# A node takes no block that is two hours ahead of its own clock, and blocks mined in one moment run ahead of it.
@pytest.mark.parametrize("skew", [-7100, 7200])
async def test_a36_a_miners_clock_decides_nothing_while_we_look(shop: Shop, skew: int) -> None:
    """A block time two hours off makes a payment neither late nor early: our own looks bound it."""
    in_time, late = await shop.invoice(), await shop.invoice(expires_in=1)
    await shop.until_event(late, "invoice.expired")
    now = int(shop.house.clock.now().timestamp())
    await shop.node.set_mock_time(now + skew)
    for invoice in (in_time, late):
        raw = await shop.node.draft([(address(invoice), 100_000)])
        await shop.node.mine(transactions=[raw])
    await shop.until(in_time, status="settled", flags=[])
    await shop.until(late, status="expired", flags=["late"])


@pytest.mark.parametrize("odd", [-2, -1, None, "6", "many", 1.5, 10**30])
async def test_a37_odd_numbers_from_a_node_settle_nothing_and_crash_nothing(
    bitcoind: DevNode, database: Database, tmp_path: Path, odd: object
) -> None:
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.invoice()
        liar.on("getblockchaininfo").mutate(lambda info: {**info, "blocks": odd})
        asked = liar.count("getblockchaininfo")
        await shop.pay(invoice)
        await bitcoind.mine()
        await liar.seen("getblockchaininfo", asked + 3)
        assert (await shop.shown(invoice))["status"] == "new"
        assert shop.running
        liar.honest()
        await shop.until(invoice, status="settled")


@pytest.mark.parametrize("fault", ["lost", "repeated", "forged"])
async def test_a41_hints_are_only_hints(bitcoind: DevNode, database: Database, tmp_path: Path, fault: str) -> None:
    async with Hints(bitcoind.push[0]) as hints, open_shop(bitcoind, database, tmp_path, zmq=(hints.url,)) as shop:
        await hints.subscribed("rawtx")
        invoice, untouched = await shop.invoice(), await shop.invoice()
        hints.lose, hints.repeat = fault == "lost", 10 if fault == "repeated" else 1
        if fault == "forged":
            never = await bitcoind.draft([(address(untouched), 100_000)])
            await hints.forge("rawtx", bytes.fromhex(never))
            await hints.forge("hashblock", b"\x00" * 32)
            await hints.forge("rawtx", b"\xff" * 1000)
        await shop.pay(invoice)
        await shop.until(invoice, status="processing")
        await bitcoind.mine()
        await shop.until(invoice, status="settled", amount_paid="50.00")
        assert await said(shop, invoice) == [
            "invoice.created", "payment.detected", "invoice.processing", "payment.settled", "invoice.settled",
        ]  # fmt: skip
        assert (await shop.shown(untouched))["payments"] == []


async def test_one_networks_broken_node_leaves_the_other_network_alone(
    bitcoind: DevNode, litecoind: DevNode, database: Database, tmp_path: Path
) -> None:
    litecoin = "litecoin-regtest"
    async with (
        Liar(bitcoind.rpc_url) as liar,
        open_shop(litecoind, database, tmp_path, network=litecoin, beside=(regtest(BITCOIN, liar.url),)) as shop,
    ):
        shop.start(BITCOIN)
        await shop.until_network(BITCOIN, state="ok")
        broken = liar.on("*").http(500, b"<html>broken</html>")
        await liar.seen("*", liar.count("*") + 5)
        invoice = await shop.invoice("8.00")
        await litecoind.fund(address(invoice), 10_000_000)
        await litecoind.mine()
        await shop.until(invoice, status="settled")
        height = (await shop.until_network(BITCOIN))["height"]
        await bitcoind.mine()
        await liar.seen("*", liar.count("*") + 3)
        assert (await shop.until_network(BITCOIN))["height"] == height
        assert broken.applied
        assert shop.running
        liar.honest()
        await shop.until_network(BITCOIN, state="ok", height=height + 1)
