"""A node under command does what the tests that lean on it believe."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kassa.chains.base import Program
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.bitcoin.networks import NETWORKS
from kassa.core.errors import SandboxError
from kassa.core.facts import BlockRef
from tests.tools.thief import robbed

CHAINS = {"bitcoind": "bitcoin-regtest", "litecoind": "litecoin-regtest"}


@pytest.fixture(params=list(CHAINS))
def node(request: pytest.FixtureRequest) -> DevNode:
    """Each of the two programs in turn."""
    return request.getfixturevalue(request.param)


def amounts(transaction: dict[str, Any], address: str) -> dict[int, Decimal]:
    """What a transaction pays to an address, by position."""
    return {
        output["n"]: output["value"]
        for output in transaction["vout"]
        if address in (output["scriptPubKey"].get("address"), *output["scriptPubKey"].get("addresses", ()))
    }


async def confirmations(node: DevNode, txid: str) -> int:
    return (await node.rpc.call("gettransaction", txid))["confirmations"]


async def test_a_payment_is_pending_until_a_block_is_mined(node: DevNode) -> None:
    address = await node.address()
    txid = await node.fund(address, 123_456)
    assert await node.mempool() == {txid}
    height = (await node.tip()).height

    (block,) = await node.mine()

    assert await node.mempool() == frozenset()
    assert await node.tip() == BlockRef(height + 1, block)
    assert list(amounts(await node.transaction(txid), address).values()) == [Decimal("0.00123456")]


async def test_the_least_that_we_ask_for_is_the_least_that_a_node_relays(
    node: DevNode, request: pytest.FixtureRequest
) -> None:
    record = NETWORKS[CHAINS[request.node.callspec.params["node"]]]
    address = await node.rpc.call("getnewaddress", "", "legacy")
    await node.fund(address, record.dust_units)
    with pytest.raises(SandboxError, match=r"dust|too small"):
        await node.fund(address, record.dust_units - 1)


async def test_one_transaction_pays_the_same_address_several_times_in_the_order_asked(node: DevNode) -> None:
    address, other = await node.address(), await node.address()
    txid = await node.send_many([(address, 30_000), (other, 5_000), (address, 30_000), (address, 40_000)])
    assert amounts(await node.transaction(txid), address) == {
        0: Decimal("0.0003"),
        2: Decimal("0.0003"),
        3: Decimal("0.0004"),
    }


async def test_five_hundred_payments_are_five_hundred_transactions(node: DevNode) -> None:
    outputs = [(await node.address(), 10_000 + number) for number in range(5)] * 100
    txids = await node.fund_each(outputs)
    assert len(set(txids)) == 500
    assert set(txids) < await node.mempool()
    await node.mine()
    assert await node.mempool() == frozenset()
    for (address, units), txid in zip(outputs[:10], txids[:10], strict=True):
        assert amounts(await node.transaction(txid), address) == {0: Decimal(units) / 10**8}


async def test_a_replacement_pays_less_or_nobody(node: DevNode) -> None:
    address = await node.address()
    first = await node.send_many([(address, 100_000)])
    second = await node.replace(first, [(address, 50_000)])
    assert await node.mempool() == {second}
    assert amounts(await node.transaction(second), address) == {0: Decimal("0.0005")}
    third = await node.replace(second)
    assert await node.mempool() == {third}
    assert amounts(await node.transaction(third), address) == {}


async def test_a_bump_pays_the_same_under_another_id(node: DevNode) -> None:
    address = await node.address()
    first = await node.fund(address, 100_000)
    second = await node.bump(first)
    assert await node.mempool() == {second}
    assert list(amounts(await node.transaction(second), address).values()) == [Decimal("0.001")]


async def test_a_mined_conflict_beats_the_transaction_in_the_mempool(node: DevNode) -> None:
    first = await node.fund(await node.address(), 100_000)
    conflict = await node.conflict(first)
    await node.mine(transactions=[conflict])
    assert await node.mempool() == frozenset()
    assert await confirmations(node, first) == -1


async def test_a_malleated_payment_is_mined_under_another_id(node: DevNode) -> None:
    address = await node.address()
    first = await node.send_many([(address, 70_000)], legacy=True)
    raw = await node.malleate(first)
    second = (await node.rpc.call("decoderawtransaction", raw))["txid"]
    assert second != first
    with pytest.raises(SandboxError):
        await node.broadcast(raw)
    await node.mine(transactions=[raw])
    assert await node.mempool() == frozenset()
    assert amounts(await node.transaction(second), address) == {0: Decimal("0.0007")}
    assert await confirmations(node, first) == -1


async def test_a_draft_can_be_mined_without_ever_being_pending(node: DevNode) -> None:
    address = await node.address()
    raw = await node.draft([(address, 70_000)])
    assert await node.mempool() == frozenset()
    (block,) = await node.mine(transactions=[raw])
    found = (await node.rpc.call("getblock", block, 2))["tx"][1]
    assert amounts(found, address) == {0: Decimal("0.0007")}


async def test_a_fork_keeps_what_it_is_not_told_to_drop(node: DevNode) -> None:
    kept = await node.send_many([(await node.address(), 100_000)])
    dropped = await node.send_many([(await node.address(), 100_000)])
    before = await node.tip()
    old = await node.mine(2)

    new = await node.fork(2, drop={dropped})

    assert await node.tip() == BlockRef(before.height + 3, new[-1])
    assert not set(old) & set(new)
    assert await node.mempool() == {dropped}
    assert (await confirmations(node, kept), await confirmations(node, dropped)) == (3, 0)


async def test_a_fork_drops_what_spends_from_the_dropped(node: DevNode) -> None:
    parent = await node.send_many([(await node.address(), 100_000)])
    (coin,) = [coin for coin in await node.rpc.call("listunspent", 0, 0) if coin["vout"] == 0]
    inputs = [{"txid": parent, "vout": 0}]
    assert coin["txid"] == parent
    raw = await node.rpc.call("createrawtransaction", inputs, {await node.address(): "0.00090000"})
    signed = await node.rpc.call("signrawtransactionwithwallet", raw)
    child = await node.broadcast(signed["hex"])
    await node.mine()

    await node.fork(1, drop={parent})

    assert await node.mempool() == {parent, child}


async def test_a_fork_can_hold_a_double_spend(node: DevNode) -> None:
    paid = await node.send_many([(await node.address(), 100_000)])
    conflict = await node.conflict(paid)
    await node.mine(3)
    await node.fork(3, drop={paid}, transactions=[conflict])
    assert await node.mempool() == frozenset()
    assert await confirmations(node, paid) == -4


async def test_a_node_flips_between_two_branches(node: DevNode) -> None:
    (block,) = await node.mine()
    old = await node.tip()
    await node.fork(1)
    await node.invalidate(await node.block_hash(old.height))
    await node.reconsider(block)
    assert await node.tip() == old


async def test_blocks_carry_the_mock_time(node: DevNode) -> None:
    now = (await node.rpc.call("getblockchaininfo"))["mediantime"] + 30 * 24 * 3600
    await node.set_mock_time(now)
    (block,) = await node.mine()
    assert (await node.rpc.call("getblockheader", block))["time"] == now


async def test_a_restart_keeps_address_and_coins(node: DevNode) -> None:
    txid = await node.fund(await node.address(), 100_000)
    url, tip = node.rpc_url, await node.tip()
    await node.restart("-persistmempool=0")
    assert (node.rpc_url, await node.tip()) == (url, tip)
    await node.kill()
    await node.restart()
    assert await node.tip() == tip
    assert await confirmations(node, txid) == 0


async def test_another_process_can_command_a_running_node(node: DevNode) -> None:
    other = DevNode.attach(node.rpc_url)
    try:
        txid = await other.fund(await other.address(), 100_000)
    finally:
        await other.stop()
    assert await node.mempool() == {txid}


async def test_litecoin_is_mined_beyond_the_height_where_mweb_begins(litecoind: DevNode) -> None:
    await litecoind.mine(440 - (await litecoind.tip()).height)
    assert (await litecoind.tip()).height == 440


async def test_partitioned_nodes_disagree_and_the_longer_branch_wins(bitcoind_pair: tuple[DevNode, DevNode]) -> None:
    first, second = bitcoind_pair
    await first.connect(second)
    await first.mine()
    await agreed(first, second)

    await first.partition()
    await first.mine(1)
    await second.mine(2)
    assert await first.tip() != await second.tip()

    longer = await second.tip()
    await first.connect(second)
    await agreed(first, second)
    assert await first.tip() == longer


async def agreed(first: DevNode, second: DevNode) -> None:
    """Wait until both nodes stand on the same block."""
    async with asyncio.timeout(20):
        while await first.tip() != await second.tip():  # noqa: ASYNC110 nodes tell nobody
            await asyncio.sleep(0.02)


async def test_a_program_that_ends_is_reported_with_its_last_words(bitcoind_program: Program, tmp_path: Path) -> None:
    broken = Program("bitcoind", (*bitcoind_program.argv, "-nosuchoption"), bitcoind_program.version)
    with pytest.raises(SandboxError, match="nosuchoption"):
        await DevNode.start(broken, tmp_path / "data")


@pytest.mark.parametrize("prefix", ["-rpcport=", "-zmqpubrawtx=tcp://127.0.0.1:", "-bind=127.0.0.1:"])
async def test_a_port_that_somebody_took_is_left_to_them(
    bitcoind_program: Program, tmp_path: Path, prefix: str
) -> None:
    rival = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    with robbed(bitcoind_program, prefix, rival, tmp_path) as program:
        node = await DevNode.start(program, tmp_path / "data", peers=True)
        try:
            pushed = await node.rpc.call("getzmqnotifications")
            assert {each["address"] for each in pushed} == set(node.push)
        finally:
            await node.kill()
