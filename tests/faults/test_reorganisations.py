"""Reorganisations on a real node: A1 to A6."""

import random
from itertools import pairwise
from pathlib import Path

import pytest

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import Unavailable
from kassa.db.pool import Database
from kassa.settings import Confirmations
from tests.shop import Shop, compare_with_fresh_scan, open_shop
from tests.sizes import size

SETTLED = {"wallet:bitcoin-regtest": 100_000, "sales": -100_000}


async def test_a1_a_payment_is_undone_and_mined_again(shop: Shop) -> None:
    invoice = await shop.invoice()
    txid = await shop.pay(invoice)
    await shop.node.mine()
    first = await shop.until(invoice, status="settled")
    assert await shop.books() == SETTLED
    await shop.node.fork(1, drop={txid})
    await shop.until(invoice, status="processing", flags=["reversed"], payments=["detected"])
    await shop.caught_up()
    assert await shop.books() == {}
    await shop.node.mine()
    again = await shop.until(invoice, status="settled", flags=[])
    assert [p["id"] for p in again["payments"]] == [p["id"] for p in first["payments"]]
    assert await shop.books() == SETTLED


@pytest.mark.parametrize("depth", [3, 4, 5, 6])
async def test_a2_a_settled_payment_that_survives_in_another_block_stays_settled(
    bitcoind: DevNode, database: Database, tmp_path: Path, depth: int
) -> None:
    async with open_shop(bitcoind, database, tmp_path, confirmations=(Confirmations(3),)) as shop:
        invoice = await shop.invoice()
        await shop.pay(invoice)
        await bitcoind.mine(1)
        await shop.until(invoice, status="processing", payments=["confirming"])
        await bitcoind.mine(depth - 1)
        old = (await shop.until(invoice, status="settled"))["payments"][0]["block_hash"]
        await bitcoind.fork(depth)
        await shop.caught_up()
        shown = await shop.shown(invoice)
        new = shown["payments"][0]["block_hash"]
        assert new != old
        assert new == await bitcoind.block_hash(shown["payments"][0]["block_height"])
        assert (await shop.events(invoice)).count("invoice.settled") == 1
        assert await shop.books() == SETTLED


async def test_a3_a_settled_payment_is_destroyed_by_a_double_spend(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    async with open_shop(bitcoind, database, tmp_path, confirmations=(Confirmations(6),)) as shop:
        invoice = await shop.invoice()
        txid = await shop.pay(invoice)
        thief = await bitcoind.conflict(txid)
        await bitcoind.mine(1)
        await shop.until(invoice, status="processing", payments=["confirming"])
        await bitcoind.mine(5)
        await shop.until(invoice, status="settled", is_final=True)
        await bitcoind.fork(6, drop={txid}, transactions=[thief])
        shown = await shop.until(invoice, status="new", flags=["reversed"], payments=["reversed"])
        assert shown["payments"][0]["replaced_by"] == (await bitcoind.rpc.call("decoderawtransaction", thief))["txid"]
        assert (await shop.events(invoice))[-2:] == ["payment.reversed", "invoice.reopened"]
        assert await shop.books() == {}
        # The credit, its move to sales, and the reversal: three entries, none of them changed or gone.
        assert await database.pool.fetchval("select count(*) from entries") == 3


@pytest.mark.catalogue
async def test_a4_flip_flops_end_where_a_fresh_scan_ends(shop: Shop, empty: Database, tmp_path: Path) -> None:
    dice = random.Random(4)
    for _ in range(size(1, 5)):
        await flip_flop(shop, dice, size(25, 10))
    events = await database_events(shop)
    assert len(events) == len(set(events))
    await compare_with_fresh_scan(shop, empty, tmp_path / "fresh")


async def flip_flop(shop: Shop, dice: random.Random, switches: int) -> None:
    """Let the node switch between two branches that both hold a payment, and only one of them another."""
    invoice, other = await shop.invoice(), await shop.invoice()
    await shop.pay(invoice)
    await shop.caught_up()
    base = (await shop.node.tip()).height
    ours = await shop.node.mine(dice.randint(1, 8))
    await shop.caught_up()
    await shop.node.invalidate(ours[0])
    await shop.pay(other)
    theirs = await shop.node.mine(dice.randint(1, 8))
    for _ in range(switches):
        on_ours = await shop.node.block_hash(base + 1) == ours[0]
        await (shop.node.invalidate(ours[0]) if on_ours else shop.node.reconsider(ours[0]))
        await (shop.node.reconsider(theirs[0]) if on_ours else shop.node.invalidate(theirs[0]))
        if dice.random() < 0.5:
            await shop.heard()
    await shop.node.reconsider(ours[0])
    await shop.node.reconsider(theirs[0])
    await shop.node.mine(1)
    await shop.until(invoice, status="settled")
    await shop.until(other, status="settled")
    for one in (invoice, other):
        said = await shop.events(one)
        # Every reversal was answered by a new settlement; nothing was said twice in a row.
        assert said.count("invoice.settled") == said.count("invoice.reopened") + 1
        assert all(a != b for a, b in pairwise(said))


async def database_events(shop: Shop) -> list[str]:
    return [row["id"] for row in await shop.house.database.pool.fetch("select id from events")]


@pytest.mark.parametrize("depth", [12, 150])
async def test_a6_a_reorganisation_beyond_the_limit_halts_until_an_operator_resumes(
    bitcoind: DevNode, database: Database, tmp_path: Path, depth: int
) -> None:
    async with open_shop(bitcoind, database, tmp_path, max_reorg=10) as shop:
        invoice = await shop.invoice()
        txid = await shop.pay(invoice)
        raw = str(await bitcoind.rpc.call("getrawtransaction", txid))
        await bitcoind.mine(depth)
        await shop.until(invoice, status="settled")
        await shop.caught_up()
        await bitcoind.fork(depth, drop={txid})
        await shop.until_network(state="halted")
        # Nothing is settled or undone meanwhile, reading still works, and nobody is asked to pay here.
        assert (await shop.shown(invoice))["status"] == "settled"
        with pytest.raises(Unavailable, match="cannot be followed"):
            await shop.invoice()
        async with database.transaction() as tx:
            await flow.resume_network(tx, shop.network, depth, Actor("operator test"), shop.house.clock.now())
        # Undoing more than ten blocks, a node does not put their transactions back into its mempool.
        await shop.until(invoice, status="new", flags=["reversed"], payments=["reversed"])
        await shop.until_network(state="ok")
        await bitcoind.broadcast(raw)
        await shop.until(invoice, status="processing", flags=["reversed"], payments=["detected"])
        await bitcoind.mine()
        await shop.until(invoice, status="settled", flags=[])
        alerts = await database.pool.fetch("select type from events where type like 'alert.%' order by position")
        assert [row["type"] for row in alerts] == ["alert.opened", "alert.closed"]
        decided = await database.pool.fetch("select decision from network_decisions order by id")
        assert [row["decision"] for row in decided] == ["halted", "resumed"]


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_a_reorganisation_while_kassa_is_down_is_found_at_the_next_start(shop: Shop, depth: int) -> None:
    kept, lost = await shop.invoice(), await shop.invoice()
    await shop.pay(kept)
    txid = await shop.pay(lost)
    thief = await shop.node.conflict(txid)
    await shop.node.mine(depth)
    await shop.until(lost, status="settled")
    await shop.stop()
    await shop.node.fork(depth, drop={txid}, transactions=[thief])
    await shop.node.mine(3)
    shop.start()
    await shop.until(lost, status="new", flags=["reversed"], payments=["reversed"])
    await shop.until(kept, status="settled", flags=[])


async def test_a_shorter_branch_and_a_lagging_node_undo_nothing(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice)
    first, *_ = await shop.node.mine(3)
    await shop.until(invoice, status="settled")
    await shop.caught_up()
    said = await shop.events(invoice)
    await shop.node.invalidate(first)
    await shop.until_network(state="syncing", detail="the node is 3 blocks behind what Kassa has seen")
    assert (await shop.shown(invoice))["status"] == "settled"
    await shop.node.reconsider(first)
    await shop.caught_up()
    assert await shop.events(invoice) == said
