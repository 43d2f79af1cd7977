"""The private Ethereum node does what it is told, and says so when it cannot."""

import asyncio
from pathlib import Path

import pytest

from kassa.chains.base import DevNode, Program
from kassa.chains.evm.devnode import AnvilNode, AnvilOptions
from kassa.core.errors import SandboxError
from kassa.core.facts import BlockRef
from tests.tools.thief import robbed


async def balance(node: AnvilNode, address: str) -> int:
    return int(await node.rpc.call("eth_getBalance", address, "latest"), 16)


async def tokens(node: AnvilNode, address: str) -> int:
    call = {"to": node.tokens["USDC"], "data": f"0x70a08231{address[2:]:0>64}"}
    return int(await node.rpc.call("eth_call", call, "latest"), 16)


async def test_it_is_a_node_like_those_of_other_families(anvil: AnvilNode) -> None:
    common: DevNode = anvil  # what the type checker verifies
    assert common.push == ()


async def test_a_payment_waits_until_a_block_is_mined(anvil: AnvilNode) -> None:
    to = await anvil.address()
    before = await anvil.tip()
    ether, usdc = await anvil.fund(to, 5), await anvil.fund(to, 6, "USDC")
    assert await anvil.mempool() == {ether, usdc}
    assert await balance(anvil, to) == 0
    mined = await anvil.mine(3)
    assert await anvil.mempool() == frozenset()
    assert (await balance(anvil, to), await tokens(anvil, to)) == (5, 6)
    assert await anvil.tip() == BlockRef(before.height + 3, mined[-1])
    assert mined[0] == await anvil.block_hash(before.height + 1)


async def test_a_fork_keeps_what_it_is_not_told_to_drop(anvil: AnvilNode) -> None:
    to = await anvil.address()
    await anvil.mine(2)
    txids = [await anvil.fund(to, 1), await anvil.fund(to, 2), await anvil.fund(to, 4, "USDC")]
    await anvil.mine()
    await anvil.mine()
    before = await anvil.tip()
    old = [await anvil.block_hash(before.height - 1), before.hash]
    new = await anvil.fork(2, drop={txids[0]})
    assert (await anvil.tip()).height == before.height + 1
    assert len(new) == 3
    assert not set(new) & set(old)
    assert (await balance(anvil, to), await tokens(anvil, to)) == (2, 4)
    with pytest.raises(SandboxError, match="does not know"):
        await anvil.transaction(txids[0])
    assert (await anvil.transaction(txids[1]))["blockHash"] == new[0]


async def test_a_transaction_is_replaced_or_forgotten(anvil: AnvilNode) -> None:
    to = await anvil.address()
    first = await anvil.fund(to, 5)
    second = await anvil.replace(first)
    assert await anvil.mempool() == {second}
    third = await anvil.replace(second, to, 3)
    fourth = await anvil.fund(to, 7)
    assert await anvil.mempool() == {third, fourth}
    await anvil.drop(fourth)
    await anvil.mine()
    assert await balance(anvil, to) == 3


async def test_a_signed_rival_is_mined_in_the_place_of_the_first(anvil: AnvilNode) -> None:
    to = await anvil.address()
    first = await anvil.fund(to, 5)
    rival = await anvil.conflict(first, to, 2)
    assert await anvil.mempool() == {first}
    await anvil.broadcast(rival)
    await anvil.mine()
    assert await balance(anvil, to) == 2


async def test_a_restart_continues_the_same_chain(anvil: AnvilNode) -> None:
    to = await anvil.address()
    await anvil.fund(to, 5)
    await anvil.mine(2)
    genesis, tip = await anvil.block_hash(0), await anvil.tip()
    await anvil.restart()
    assert (await anvil.block_hash(0), await anvil.tip()) == (genesis, tip)
    assert await balance(anvil, to) == 5
    await anvil.fund(to, 6, "USDC")
    await anvil.mine()
    assert await tokens(anvil, to) == 6


async def test_another_process_can_command_it(anvil: AnvilNode) -> None:
    other = AnvilNode.attach(anvil.rpc_url, anvil.tokens)
    to = await other.address()
    await other.fund(to, 6, "USDC")
    await other.mine()
    assert await tokens(anvil, to) == 6
    with pytest.raises(SandboxError, match="another process"):
        _ = other.pid
    await other.close()


async def test_time_is_what_it_is_told(anvil: AnvilNode) -> None:
    await anvil.set_time(2_000_000_000)
    (block,) = await anvil.mine()
    told = await anvil.rpc.call("eth_getBlockByHash", block, False)
    assert 0 <= int(told["timestamp"], 16) - 2_000_000_000 < 60


async def test_it_refuses_in_its_own_words(anvil: AnvilNode) -> None:
    with pytest.raises(SandboxError, match="deploy it first"):
        await anvil.fund(await anvil.address(), 5, "PEPE")
    with pytest.raises(SandboxError, match="refuses eth_sendRawTransaction"):
        await anvil.broadcast("0x00")
    with pytest.raises(SandboxError, match="has no block"):
        await anvil.block_hash(10_000)


@pytest.mark.parametrize("options", [AnvilOptions(automine=True), AnvilOptions(block_seconds=1)])
async def test_blocks_come_by_themselves_if_wanted(
    anvil_program: Program, tmp_path: Path, options: AnvilOptions
) -> None:
    node = await AnvilNode.start(anvil_program, tmp_path / "node", options)
    try:
        to = await node.address()
        await node.fund(to, 5)
        async with asyncio.timeout(20):
            while await balance(node, to) != 5:  # noqa: ASYNC110  # it mines when it does
                await asyncio.sleep(0.05)
    finally:
        await node.kill()


async def test_a_port_that_another_anvil_took_is_left_to_it(anvil_program: Program, tmp_path: Path) -> None:
    rival = [*anvil_program.argv, "--port", "{port}", "--chain-id", "5"]
    with robbed(anvil_program, "--port ", rival, tmp_path) as program:
        node = await AnvilNode.start(program, tmp_path / "anvil")
        try:
            assert await node.rpc.call("eth_chainId") == hex(31337)
        finally:
            await node.kill()
