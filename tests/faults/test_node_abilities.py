"""What nodes show beside their chain, and when they show less: A36, A38, B10, B27, and pruned nodes."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kassa.alerts.model import Kind
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.core.clock import SystemClock
from kassa.core.errors import LeaseLost
from kassa.db.pool import Database
from kassa.house import connection_of
from kassa.watch import store as watch
from kassa.watch.model import Position
from kassa.workers import closer_look, follow_chain
from tests.detecting import look, open_alerts
from tests.evmshop import ANVIL, PRICE_WEI, address, open_evm_shop
from tests.shop import Json, open_shop
from tests.tools.liar import Liar


class SkewedClock(SystemClock):
    """A clock that goes, so many hours ahead."""

    hours = 0

    def now(self) -> datetime:
        return super().now() + timedelta(hours=self.hours)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look closer at every look, and come back soon to a node that was refused."""
    monkeypatch.setattr(closer_look, "NODE_EVERY_SECONDS", 0)
    monkeypatch.setattr(closer_look, "DELEGATES_EVERY_SECONDS", 0)
    monkeypatch.setattr(follow_chain, "_MAX_PAUSE_SECONDS", 0.5)


async def test_a38_finality_that_stands_still_while_blocks_come_is_told_of(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url, finality="safe") as shop,
    ):
        await shop.mine(5)
        old = await anvil.rpc.call("eth_getBlockByNumber", "safe", False)
        stuck = liar.on("eth_getBlockByNumber").where(lambda call: call.params[0] == "safe").answer(old)
        tip = await anvil.rpc.call("eth_getBlockByNumber", "latest", False)
        await anvil.rpc.call("evm_setNextBlockTimestamp", int(tip["timestamp"], 16) + 1700)
        await shop.mine()
        assert Kind.FINALITY_STALLED not in await look(shop.house, "node_abilities")
        await anvil.rpc.call("evm_setNextBlockTimestamp", int(tip["timestamp"], 16) + 1900)
        await shop.mine()
        [alert] = (await look(shop.house, "node_abilities"))[Kind.FINALITY_STALLED]
        assert "for 31 minutes none was called final" in alert.finding.reason
        stuck.off()
        rising = (await shop.until_network())["final_height"]
        await shop.mine(3)
        assert (await shop.until_network())["final_height"] > rising
        await database.pool.execute("update networks set final_at = node_time")  # our clock has not moved with theirs
        assert Kind.FINALITY_STALLED not in await look(shop.house, "node_abilities")


async def test_f4_a_node_that_warns_of_rules_it_does_not_know_is_told_of(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    said = "Unknown new rules activated (versionbit 28)"
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        await shop.until_network(node_outdated=False)
        about = await bitcoind.rpc.call("getnetworkinfo")
        warns = liar.on("getnetworkinfo").answer(about | {"warnings": [said]})
        await shop.until_network(node_warning=said)
        [alert] = (await look(shop.house, "node_abilities"))[Kind.NODE_WARNS]
        assert (alert.finding.network, alert.finding.detail) == (shop.network, said)
        warns.off()
        old = liar.on("getnetworkinfo").answer(about | {"warnings": "", "version": 1})
        await shop.until_network(node_outdated=True)
        [alert] = (await look(shop.house, "node_abilities"))[Kind.NODE_WARNS]
        assert "older than the rules" in alert.finding.reason
        old.off()
        liar.on("getnetworkinfo").answer(about | {"warnings": []})
        await shop.until_network(node_warning="", node_outdated=False)
        assert Kind.NODE_WARNS not in await look(shop.house, "node_abilities")


async def test_a_network_that_settles_by_depth_has_no_finality_to_wait_for(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path) as shop:
        await shop.mine()
        await database.pool.execute("update networks set final_at = node_time - interval '1 day'")
        assert Kind.FINALITY_STALLED not in await look(shop.house, "node_abilities")


async def test_b10_a_node_that_shows_less_than_before_is_told_of_until_it_shows_it_again(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(anvil.rpc_url) as liar, open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop:
        await shop.until_network(internal="trace", internal_best="trace")
        assert Kind.NODE_SHOWS_LESS not in await look(shop.house, "node_abilities")
        less = [
            liar.on(method).error(-32601, f"the method {method} does not exist/is not available")
            for method in ("trace_block", "debug_traceBlockByHash")
        ]
        liar.on("*").times(3).http(503)  # it starts again
        await shop.until_network(internal="balances", internal_best="trace")
        [alert] = (await look(shop.house, "node_abilities"))[Kind.NODE_SHOWS_LESS]
        assert "read from balances" in alert.finding.reason
        for rule in less:
            rule.off()
        liar.on("*").times(3).http(503)
        await shop.until_network(internal="trace")
        assert Kind.NODE_SHOWS_LESS not in await look(shop.house, "node_abilities")


async def test_b27_an_address_of_ours_that_delegates_to_a_contract_is_named_with_it(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with open_evm_shop(anvil, database, tmp_path) as shop:
        invoice, other = await shop.only("ETH"), await shop.only("ETH")
        delegate = "0x" + "de1e" * 10
        await anvil.rpc.call("anvil_setCode", address(invoice), "0xef0100" + delegate[2:])
        await anvil.rpc.call("anvil_setCode", address(other), "0x60006000fd")  # a contract, and no delegation
        await shop.pay(invoice, PRICE_WEI)
        await shop.mine()

        async def told() -> Json:
            return {"told": Kind.ADDRESS_DELEGATED in await open_alerts(shop.house)}

        await shop.until_seen(told, {"told": True})
        [alert] = (await open_alerts(shop.house))[Kind.ADDRESS_DELEGATED]
        assert alert.finding.about["delegates"] == {address(invoice).lower(): delegate}


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a36_a_clock_of_ours_that_is_an_hour_off_is_told_of_and_decides_no_payment(
    bitcoind: DevNode, database: Database, tmp_path: Path, hours: int
) -> None:
    clock = SkewedClock()
    async with open_shop(bitcoind, database, tmp_path, clock=clock) as shop:
        await shop.heard()
        assert Kind.NODE_CLOCK not in await look(shop.house, "node_abilities")
        clock.hours = hours
        invoice = await shop.invoice()
        await shop.pay(invoice)
        await shop.until(invoice, status="processing", flags=[])
        await bitcoind.mine()
        await shop.until(invoice, status="settled", flags=[])

        async def seen() -> Json:
            skew = await database.pool.fetchval("select clock_skew_seconds from networks")
            return {"off": abs(skew + hours * 3600) < 60}

        await shop.heard()
        await shop.until_seen(seen, {"off": True})
        [alert] = (await look(shop.house, "node_abilities"))[Kind.NODE_CLOCK]
        assert ("behind" if hours > 0 else "ahead of") in alert.finding.detail
        clock.hours = 0
        await shop.until_seen(lambda: _skew(database), {"even": True})
        assert Kind.NODE_CLOCK not in await look(shop.house, "node_abilities")


async def _skew(database: Database) -> Json:
    return {"even": abs(await database.pool.fetchval("select clock_skew_seconds from networks")) < 60}


async def test_a36_an_evm_nodes_clock_is_read_from_its_answers(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    clock = SkewedClock()
    async with open_evm_shop(anvil, database, tmp_path, clock=clock) as shop:
        await anvil.set_time(int(clock.now().timestamp()) + 7200)  # the time of its blocks is another matter
        await shop.mine()
        await shop.until_seen(lambda: _skew(database), {"even": True})
        clock.hours = 1
        await shop.heard()
        await shop.until_seen(lambda: _skew(database), {"even": False})
        assert Kind.NODE_CLOCK in await look(shop.house, "node_abilities")


@pytest.mark.parametrize("millis", [2**47, 2**48])  # the years 6429, and 10889
async def test_a36_a_node_that_tells_an_absurd_time_is_followed_as_before(
    bitcoind: DevNode, database: Database, tmp_path: Path, millis: int
) -> None:
    async with Liar(bitcoind.rpc_url) as liar:
        totals = {"totalbytesrecv": 0, "totalbytessent": 0, "timemillis": millis}
        liar.on("getnettotals").answer(totals)
        async with open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
            invoice = await shop.invoice()
            await shop.pay(invoice)
            await bitcoind.mine()
            await shop.until(invoice, status="settled", flags=[])
            assert liar.count("getnettotals") > 0
            skew = await database.pool.fetchval("select clock_skew_seconds from networks")
            assert skew == (closer_look.MOST_SKEW_SECONDS if millis == 2**47 else None)


async def test_a_node_that_has_pruned_what_is_still_needed_is_refused_with_the_remedy(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with Liar(bitcoind.rpc_url) as liar, open_shop(bitcoind, database, tmp_path, rpc_url=liar.url) as shop:
        invoice = await shop.invoice()
        await shop.caught_up()
        height = (await bitcoind.tip()).height
        pruned = liar.on("getblockchaininfo").mutate(lambda info: info | {"pruned": True, "pruneheight": height + 2})
        liar.on("*").times(3).http(503)
        await shop.pay(invoice)
        row = await shop.until_network(node_refused=True)
        assert f"below block {height + 2}, and {height + 1} is the next" in row["detail"]
        pruned.off()
        liar.on("getblockchaininfo").mutate(lambda info: info | {"pruned": True, "pruneheight": height + 1})
        await bitcoind.mine()
        await shop.until(invoice, status="settled")


ASKED = {
    "ability": lambda call: call.method == "trace_block",
    "contracts": lambda call: call.method == "eth_getStorageAt",
    "clock and words": lambda call: call.method == "web3_clientVersion",
    "delegates": lambda call: call.method == "eth_getCode" and call.params[1] == "latest",
}


@pytest.mark.parametrize("asked", ASKED)
async def test_d6_who_lost_the_lease_while_the_node_answered_writes_nothing_of_it_down(
    anvil: AnvilNode, database: Database, tmp_path: Path, asked: str
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, rpc_url=liar.url) as shop,
    ):
        invoice = await shop.only("ETH")
        await shop.stop()
        await anvil.rpc.call("anvil_setCode", address(invoice), "0xef0100" + "de1e" * 10)
        await database.pool.execute("delete from contracts")
        await database.pool.execute("update networks set internal = null, internal_best = null, node_name = 'another'")
        first, then = await _take(database), list[object]()

        async def taken_over() -> None:
            await database.pool.execute("update networks set lease_until = now()")
            assert (await _take(database)).fence == first.fence + 1
            then.append(await _facts(database))

        liar.on("*").where(ASKED[asked]).times(1).run(taken_over)
        configured = shop.house.settings.networks[ANVIL]
        source = shop.house.chains[ANVIL].connect(connection_of(configured))
        try:
            with pytest.raises(LeaseLost):
                await follow_chain.Follower(shop.house, configured, source, first).look()
        finally:
            await source.close()
        assert then == [await _facts(database)]


async def _take(database: Database) -> Position:
    async with database.transaction() as tx:
        position = await watch.take_lease(tx, ANVIL, "test", follow_chain.LEASE_SECONDS)
    assert position is not None
    return position


async def _facts(database: Database) -> dict[str, list[str]]:
    return {
        table: [str(row) for row in await database.pool.fetch(f"select * from {table}")]
        for table in ("networks", "contracts", "alerts")
    }
