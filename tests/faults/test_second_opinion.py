"""A second node that holds another chain: F4, A31 and A32, on two real nodes that are partitioned."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kassa.alerts.store as alerts
from kassa import flow
from kassa.alerts.model import Alert, Kind, Verdict
from kassa.audit.model import Actor
from kassa.chains.base import Program
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.core.errors import Unavailable
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import second_connection_of
from kassa.settings import Confirmations
from kassa.watch.store import network_rows
from kassa.workers.second_opinion import Asker
from tests.api.served import until
from tests.evmshop import PRICE_WEI, open_evm_shop
from tests.shop import Shop, open_shop
from tests.tools.liar import Liar

TIERS = (Confirmations(3),)


@asynccontextmanager
async def asking(shop: Shop) -> AsyncIterator[Asker]:
    """Ask the second node when told."""
    house = shop.house
    source = house.chains[shop.network].connect(second_connection_of(house.settings.networks[shop.network]))
    try:
        yield Asker(house, shop.network, source)
    finally:
        await source.close()


async def ask_later(shop: Shop, asker: Asker) -> None:
    """Ask as if a minute had passed since the chains were first found to differ."""
    await shop.house.database.pool.execute(
        "update second_opinions set parted_since = parted_since - interval '1 minute'"
    )
    await asker.ask()


async def same_tip(one: DevNode, other: DevNode) -> bool:
    return await one.tip() == await other.tip()


async def open_alerts(shop: Shop) -> dict[Kind, Alert]:
    async with shop.house.database.transaction() as tx:
        found = await alerts.page(tx, None, alerts.Filters(is_open=True))
    return {alert.finding.kind: alert for alert in found}


async def decide(shop: Shop, alert: Alert, verdict: Verdict = Verdict.UNDONE) -> None:
    async with shop.house.database.transaction() as tx:
        now = shop.house.clock.now()
        await flow.decide_alert(tx, shop.house, None, alert.id, verdict, Actor("operator"), "compared with others", now)


async def state(shop: Shop) -> str:
    async with shop.house.database.transaction() as tx:
        return next(row.state for row in await network_rows(tx) if row.name == shop.network)


async def part(ours: DevNode, theirs: DevNode, depth: int) -> None:
    """Let two nodes mine branches of their own: without a payment both would mine the same blocks."""
    await theirs.fund(await theirs.address(), 100_000)
    await ours.mine(depth)
    await theirs.mine(depth)


async def test_a32_nothing_settles_on_the_minority_branch_until_an_operator_has_decided(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    settings: dict[str, Any] = {"confirmations": TIERS, "second_rpc_url": Secret(theirs.rpc_url)}
    async with open_shop(ours, database, tmp_path, **settings) as shop, asking(shop) as asker:
        invoice, unpaid = await shop.invoice(), await shop.invoice(expires_in=3_600)
        await shop.pay(invoice)
        await ours.mine(1)
        await theirs.mine(1)
        await shop.caught_up()
        await asker.ask()
        assert await open_alerts(shop) == {}  # one block each may differ for a moment between honest nodes

        await ours.mine(1)
        await theirs.mine(2)
        await shop.until(invoice, status="processing", payments=["confirming"])
        await shop.caught_up()
        await asker.ask()
        assert not (await open_alerts(shop))[Kind.CHAIN_DISAGREEMENT].finding.lasting
        assert await state(shop) == "halted"
        await ask_later(shop, asker)
        [alert] = (await open_alerts(shop)).values()
        assert alert.finding.lasting
        assert (alert.finding.kind, alert.finding.about["parted_at"]) == (
            Kind.CHAIN_DISAGREEMENT,
            (await ours.tip()).height - 1,
        )
        assert await state(shop) == "halted"
        await ours.mine(3)
        await shop.caught_up()
        shown = await shop.shown(invoice)
        assert (shown["status"], shown["payments"][0]["confirmations"]) == ("processing", 5)
        with pytest.raises(Unavailable, match="cannot be followed"):
            await shop.invoice()
        # However far we see on a chain that is in doubt, nothing there is over.
        await database.pool.execute("update networks set observed_at = observed_at + interval '2 hours'")
        async with database.transaction() as tx:
            late = shop.house.clock.now() + timedelta(seconds=3_700)
            assert await flow.on_deadlines(tx, shop.house, late) == 0
            read = await flow.invoice_resource(tx, shop.house, shop.store, unpaid["id"], late)
        assert read["status"] == "new"

        # The longer branch wins; our node follows it. That they agree again releases nothing by itself.
        await theirs.mine(5)
        await ours.connect(theirs)
        await shop.until(invoice, status="processing", payments=["detected"])
        await ours.mine(4)
        await until(lambda: same_tip(ours, theirs))
        await shop.caught_up()
        await asker.ask()
        alert = (await open_alerts(shop))[Kind.CHAIN_DISAGREEMENT]
        assert alert.over_at is not None
        assert (await shop.shown(invoice))["status"] == "processing"
        await decide(shop, alert)
        await shop.until(invoice, status="settled")
        await shop.caught_up()
        assert (await open_alerts(shop), await state(shop)) == ({}, "ok")
        await asker.ask()
        assert await open_alerts(shop) == {}
        assert await shop.invoice()


async def test_two_tips_of_a_moment_hold_a_network_for_that_moment(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with (
        open_shop(ours, database, tmp_path, second_rpc_url=Secret(theirs.rpc_url)) as shop,
        asking(shop) as asker,
    ):
        await part(ours, theirs, 2)
        await shop.caught_up()
        await asker.ask()
        assert await state(shop) == "halted"
        await ours.mine(1)
        await theirs.connect(ours)
        await until(lambda: same_tip(ours, theirs))
        await shop.caught_up()
        await asker.ask()
        assert (await open_alerts(shop), await state(shop)) == ({}, "ok")
        assert await shop.invoice()


async def test_a_person_may_overrule_a_second_node_that_stays_wrong(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with (
        open_shop(ours, database, tmp_path, second_rpc_url=Secret(theirs.rpc_url)) as shop,
        asking(shop) as asker,
    ):
        await part(ours, theirs, 3)
        await shop.caught_up()
        await asker.ask()
        await decide(shop, (await open_alerts(shop))[Kind.CHAIN_DISAGREEMENT])
        for _ in range(2):
            await asker.ask()
        assert await open_alerts(shop) == {}

        await ours.mine(3)
        await theirs.connect(ours)
        await until(lambda: same_tip(ours, theirs))
        await shop.caught_up()
        await theirs.partition()
        await asker.ask()  # it was over once: the next time is another one
        await part(ours, theirs, 2)
        await shop.caught_up()
        await asker.ask()
        assert list(await open_alerts(shop)) == [Kind.CHAIN_DISAGREEMENT]


async def test_a_fork_that_is_deeper_than_the_one_decided_about_is_told_again(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with (
        open_shop(ours, database, tmp_path, second_rpc_url=Secret(theirs.rpc_url)) as shop,
        asking(shop) as asker,
    ):
        await ours.mine(4)
        await theirs.connect(ours)
        await until(lambda: same_tip(ours, theirs))
        await theirs.partition()
        await part(ours, theirs, 3)
        await shop.caught_up()
        await asker.ask()
        await decide(shop, (await open_alerts(shop))[Kind.CHAIN_DISAGREEMENT])
        await theirs.fork(6)
        await theirs.mine(2)
        await asker.ask()
        assert list(await open_alerts(shop)) == [Kind.CHAIN_DISAGREEMENT]


async def test_a_second_node_that_lags_says_nothing_and_one_that_is_silent_only_warns(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with (
        open_shop(ours, database, tmp_path, second_rpc_url=Secret(theirs.rpc_url)) as shop,
        asking(shop) as asker,
    ):
        await ours.mine(3)
        await shop.caught_up()
        await asker.ask()
        assert await open_alerts(shop) == {}
        await ours.mine(1)
        await shop.caught_up()
        await asker.ask()
        [alert] = (await open_alerts(shop)).values()
        assert (alert.finding.kind, alert.finding.actions) == (Kind.SECOND_NODE_BEHIND, ())
        await theirs.connect(ours)
        await until(lambda: same_tip(ours, theirs))
        await asker.ask()
        assert await open_alerts(shop) == {}

        await theirs.kill()
        await asker.ask()
        assert await open_alerts(shop) == {}  # once is no silence
        await database.pool.execute("update second_opinions set silent_since = silent_since - interval '2 seconds'")
        await asker.ask()
        [alert] = (await open_alerts(shop)).values()
        assert (alert.finding.kind, alert.finding.actions) == (Kind.SECOND_NODE_SILENT, ())
        assert await state(shop) == "ok"
        assert await shop.invoice()


async def test_a31_a_node_that_misses_blocks_holds_its_network_until_it_has_them(
    bitcoind_pair: tuple[DevNode, DevNode], database: Database, tmp_path: Path
) -> None:
    ours, theirs = bitcoind_pair
    async with (
        open_shop(ours, database, tmp_path, second_rpc_url=Secret(theirs.rpc_url)) as shop,
        asking(shop) as asker,
    ):
        shop.house.chains[shop.network] = replace(  # type: ignore[index]  # the blocks of regtest come on demand
            shop.house.chains[shop.network], block_seconds=600
        )
        await theirs.mine(4)
        await asker.ask()
        assert list(await open_alerts(shop)) == [Kind.NODE_BEHIND]
        with pytest.raises(Unavailable, match="cannot be followed"):
            await shop.invoice()

        await ours.connect(theirs)
        await shop.until_network(height=(await theirs.tip()).height, state="ok")
        await asker.ask()
        assert await open_alerts(shop) == {}
        assert await shop.invoice()


async def test_two_anvils_that_part_are_told_apart_within_one_question(
    anvil: AnvilNode, anvil_program: Program, database: Database, tmp_path: Path
) -> None:
    await anvil.stop()
    shutil.copytree(tmp_path / "anvil", tmp_path / "other")
    await anvil.restart()
    other = await AnvilNode.start(anvil_program, tmp_path / "other")
    try:
        settings: dict[str, Any] = {"confirmations": TIERS, "second_rpc_url": Secret(other.rpc_url)}
        async with open_evm_shop(anvil, database, tmp_path, **settings) as shop, asking(shop) as asker:
            shop.house.chains[shop.network] = replace(  # type: ignore[index]  # as slow as Ethereum
                shop.house.chains[shop.network], block_seconds=12
            )
            await asker.ask()
            assert await open_alerts(shop) == {}
            invoice = await shop.only("ETH")
            await shop.pay(invoice, PRICE_WEI)
            await shop.mine(2)
            await other.mine(2)
            await asker.ask()
            assert list(await open_alerts(shop)) == [Kind.CHAIN_DISAGREEMENT]
            await shop.mine(3)
            assert (await shop.shown(invoice))["status"] == "processing"
    finally:
        await other.kill()


async def test_a_second_node_of_another_network_is_refused(
    anvil: AnvilNode, database: Database, tmp_path: Path
) -> None:
    async with (
        Liar(anvil.rpc_url) as liar,
        open_evm_shop(anvil, database, tmp_path, second_rpc_url=Secret(liar.url)) as shop,
        asking(shop) as asker,
    ):
        liar.on("eth_chainId").answer("0x1")
        await asker.ask()
        [alert] = (await open_alerts(shop)).values()
        assert (alert.finding.kind, alert.finding.network) == (Kind.SECOND_NODE_REFUSED, None)
        assert "chain id 1" in alert.finding.detail
        liar.honest()
        await asker.ask()
        assert await open_alerts(shop) == {}
