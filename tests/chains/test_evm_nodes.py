"""Nodes that lag, lie, are exchanged or refuse: what is concluded from their answers, and what is not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kassa.chains.base import Connection, Program
from kassa.chains.evm.devnode import AnvilNode, AnvilOptions
from kassa.chains.evm.networks import NETWORKS
from kassa.chains.registry import FAMILIES
from kassa.core.errors import ChainInvalid, ChainMoved, ChainUnavailable
from kassa.core.facts import Block, BlockRef
from tests.chains.bench import ANVIL, SUBJECTS, Bench, Watched, in_scheme, watching
from tests.chains.liar import Liar, lying
from tests.tools.liar import Liar as Proxy

EvmBench = Bench[AnvilNode]
Json = Any
UNKNOWN = {"code": -32601, "message": "the method does not exist/is not available"}


@asynccontextmanager
async def lied_to(anvil: AnvilNode, **options: Any) -> AsyncIterator[tuple[Liar, EvmBench, Watched]]:
    async with lying(anvil.rpc_url) as liar, watching(ANVIL, anvil, Connection(liar.url, **options)) as bench:
        await bench.source.check()
        yield liar, bench, Watched()


@asynccontextmanager
async def second(program: Program, folder: Path, **options: Any) -> AsyncIterator[AnvilNode]:
    node = await AnvilNode.start(program, folder / "second", AnvilOptions(**options))
    try:
        yield node
    finally:
        await node.kill()


# ---------------------------------------------------------------- the right chain


async def test_another_chain_id_is_refused(anvil_program: Program, tmp_path: Path) -> None:  # B21
    async with second(anvil_program, tmp_path, chain_id=31338) as other, watching(ANVIL, other) as bench:
        for look in (bench.source.check, bench.source.tip):
            with pytest.raises(ChainInvalid, match="is not on anvil"):
                await look()


async def test_another_first_block_behind_the_same_address_is_refused(
    anvil: AnvilNode, anvil_program: Program, tmp_path: Path
) -> None:  # A32, B21
    async with (
        second(anvil_program, tmp_path, genesis_time=1_700_000_000) as other,
        Proxy(anvil.rpc_url) as proxy,
        watching(ANVIL, anvil, Connection(proxy.url)) as bench,
    ):
        await bench.source.check()
        proxy.on("*").swap(other.rpc_url)
        for look in (bench.source.check, bench.source.tip, lambda: bench.source.pending(Watched(), ())):
            with pytest.raises(ChainInvalid, match="is not on anvil"):
                await look()
        proxy.honest()
        await bench.source.tip()


async def test_a_public_chain_is_known_by_its_first_block(anvil_program: Program, tmp_path: Path) -> None:  # A32
    async with second(anvil_program, tmp_path, chain_id=1) as pretender:
        source = FAMILIES["evm"].chain("1", "ethereum", ()).connect(Connection(pretender.rpc_url))
        with pytest.raises(ChainInvalid, match="is not on Ethereum"):
            await source.check()
        await source.close()


# ---------------------------------------------------------------- finality


@pytest.mark.parametrize(("finality", "below"), [("safe", 2), ("finalized", 4)])
async def test_what_is_final_is_what_the_node_calls_so(anvil: AnvilNode, finality: str, below: int) -> None:  # A38
    async with lied_to(anvil, finality=finality) as (liar, bench, _):
        await anvil.mine(9)
        tip = await bench.source.tip()
        assert tip.final is not None
        assert tip.final == BlockRef(tip.ref.height - below, await anvil.block_hash(tip.ref.height - below))
        ahead = await anvil.rpc.call("eth_getBlockByNumber", "latest", False)
        liar.results["eth_getBlockByNumber"] = lambda block: {**block, "number": hex(int(block["number"], 16) + 50)}
        tip = await bench.source.tip()
        assert tip.final is not None
        assert tip.final.height <= tip.ref.height
        assert ahead


async def test_without_finality_nothing_is_final(anvil: AnvilNode) -> None:
    async with watching(ANVIL, anvil) as bench:
        assert (await bench.source.tip()).final is None


async def test_a_node_that_knows_no_final_block_cannot_be_followed_by_it(anvil: AnvilNode) -> None:
    async with (
        Proxy(anvil.rpc_url) as proxy,
        watching(ANVIL, anvil, Connection(proxy.url, finality="finalized")) as bench,
    ):
        proxy.on("eth_getBlockByNumber").where(lambda call: call.params[0] == "finalized").answer(None)
        with pytest.raises(ChainInvalid, match="finality"):
            await bench.source.check()
        assert (await bench.source.tip()).final is None


# ---------------------------------------------------------------- a node that is behind


async def test_a_node_that_catches_up_says_so(anvil: AnvilNode) -> None:  # A31
    async with lied_to(anvil) as (liar, bench, _):
        liar.results["eth_syncing"] = lambda _: {"currentBlock": "0x1", "highestBlock": "0x2328"}
        tip = await bench.source.tip()
        assert (tip.best_header, tip.syncing, tip.behind) == (9_000, True, True)
        liar.results["eth_syncing"] = lambda _: {"msgCount": 7}  # a rollup's own words
        assert (await bench.source.tip()).syncing


async def test_a_node_that_cannot_say_whether_it_catches_up_is_followed(anvil: AnvilNode) -> None:  # A31
    async with lied_to(anvil) as (liar, bench, _):
        liar.errors["eth_syncing"] = UNKNOWN
        await bench.source.check()
        assert not (await bench.source.tip()).syncing


async def paying(anvil: AnvilNode, bench: EvmBench, watched: Watched) -> None:
    """Mine one block that pays us in ether and in the token."""
    ours = bench.address()
    watched.pay(ours)
    await anvil.fund(ours.text, 5)
    await anvil.fund(ours.text, 6, "USDC")
    await anvil.fund(await anvil.address(), 7, "USDC")
    await anvil.mine()


def units(block: Block) -> list[int]:
    return sorted(transfer.units for transaction in block.transactions for transfer in transaction.transfers)


Change = Callable[[Json], Json]
STRANGE: dict[str, Change] = {
    "none": lambda _: None,
    "empty": lambda _: [],
    "one missing": lambda receipts: receipts[:-1],
    "one twice": lambda receipts: [*receipts[:-1], receipts[0]],
    "one too many": lambda receipts: [*receipts, receipts[0]],
    "of another block": lambda receipts: [{**one, "blockHash": "0x" + "11" * 32} for one in receipts],
    "of other transactions": lambda receipts: [{**one, "transactionHash": "0x" + "11" * 32} for one in receipts],
    "without logs": lambda receipts: [{**one, "logs": []} for one in receipts],
    "without some logs": lambda receipts: (
        [{**receipts[0], "logs": []}, *receipts[1:]]
        if receipts[0]["logs"]
        else [*receipts[:-1], {**receipts[-1], "logs": []}]
    ),
    **{
        f"of status {status}": lambda receipts, status=status: [{**one, "status": status} for one in receipts]
        for status in ("0x2", "0x", None, "0x01", "ok")
    },
    "without a status": lambda receipts: [
        {key: value for key, value in one.items() if key != "status"} for one in receipts
    ],
    "removed": lambda receipts: [
        {**one, "logs": [{**log, "removed": True} for log in one["logs"]]} for one in receipts
    ],
    "no receipts": lambda _: [{}],
    "null logs": lambda receipts: [{**one, "logs": None} for one in receipts],
    "text": lambda _: "0x",
    "odd topics": lambda receipts: [
        {**one, "logs": [{**log, "topics": ["0xzz"]} for log in one["logs"]]} for one in receipts
    ],
    "odd address": lambda receipts: [
        {**one, "logs": [{**log, "address": " 0x1"} for log in one["logs"]]} for one in receipts
    ],
}


@pytest.mark.parametrize("strange", STRANGE)
async def test_receipts_that_are_not_all_of_a_block_conclude_nothing(
    anvil: AnvilNode, strange: str
) -> None:  # B1, B17, B18, B19
    async with lied_to(anvil) as (liar, bench, watched):
        await paying(anvil, bench, watched)
        liar.results["eth_getBlockReceipts"] = STRANGE[strange]
        with pytest.raises(ChainUnavailable) as fault:
            await bench.last(1, watched)
        assert not isinstance(fault.value, ChainMoved)
        liar.results.clear()
        (block,) = await bench.last(1, watched)
        assert units(block) == [5, 6]


async def test_a_failed_transaction_pays_nothing(anvil: AnvilNode) -> None:  # B1
    async with lied_to(anvil) as (liar, bench, watched):
        await paying(anvil, bench, watched)
        liar.results["eth_getBlockReceipts"] = lambda receipts: [{**one, "status": "0x0"} for one in receipts]
        (block,) = await bench.last(1, watched)
        assert units(block) == []


async def test_receipts_come_one_by_one_where_a_node_has_no_other_way(anvil: AnvilNode) -> None:
    async with lying(anvil.rpc_url) as liar, watching(ANVIL, anvil, Connection(liar.url)) as bench:
        liar.errors["eth_getBlockReceipts"] = UNKNOWN
        watched = Watched()
        await paying(anvil, bench, watched)
        (block,) = await bench.last(1, watched)
        assert units(block) == [5, 6]
        assert liar.methods.count("eth_getTransactionReceipt") == 3
        liar.results["eth_getTransactionReceipt"] = lambda _: None
        with pytest.raises(ChainUnavailable):
            await bench.last(1, watched)


async def test_where_a_bloom_leaves_out_logs_no_block_is_passed_over_by_it(
    anvil: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, ANVIL.chain, replace(NETWORKS[ANVIL.chain], complete_bloom=False))
    async with lied_to(anvil, internal="off") as (liar, bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await anvil.fund(ours.text, 7, "USDC")
        await anvil.mine()
        liar.results["eth_getBlockByNumber"] = lambda block: block | {"logsBloom": "0x" + "00" * 256}
        (block,) = await bench.last(1, watched)
        assert units(block) == [7]


async def test_a_node_that_tells_of_blocks_only_is_listened_to(anvil: AnvilNode) -> None:
    async with (
        lying(anvil.rpc_url) as liar,
        watching(ANVIL, anvil, Connection(in_scheme(liar.url, SUBJECTS["anvil over WebSocket"]))) as bench,
    ):
        liar.results["eth_subscribe"] = lambda _: "0x1"  # it asks the node over HTTP, which has no subscriptions
        liar.errors["eth_subscribe"] = UNKNOWN
        liar.concerned = lambda asked: asked[0] == "newPendingTransactions"
        async with asyncio.timeout(20):
            async for _ in bench.source.wake(Watched()):
                break


async def test_a_block_without_our_business_needs_no_receipts(anvil: AnvilNode) -> None:
    async with lied_to(anvil, internal="off") as (liar, bench, watched):
        await anvil.fund(await anvil.address(), 5)
        await anvil.mine()
        liar.methods.clear()
        await bench.last(1, watched)
        assert "eth_getBlockReceipts" not in liar.methods


@pytest.mark.parametrize("internal", ["trace", "debug"])
@pytest.mark.parametrize("strange", ["none", "empty", "one missing", "one too many", "no receipts", "text"])
async def test_traces_that_are_not_all_of_a_block_conclude_nothing(
    anvil: AnvilNode, internal: str, strange: str
) -> None:
    method = {"trace": "trace_block", "debug": "debug_traceBlockByHash"}[internal]
    async with lied_to(anvil, internal=internal) as (liar, bench, watched):
        await paying(anvil, bench, watched)
        liar.results[method] = STRANGE[strange]
        with pytest.raises(ChainUnavailable):
            await bench.last(1, watched)
        liar.results.clear()
        assert units((await bench.last(1, watched))[0]) == [5, 6]


async def test_traces_of_another_block_are_refused(anvil: AnvilNode) -> None:  # A34
    async with lied_to(anvil, internal="trace") as (liar, bench, watched):
        await paying(anvil, bench, watched)
        liar.results["trace_block"] = lambda traces: [{**one, "blockHash": "0x" + "11" * 32} for one in traces]
        with pytest.raises(ChainUnavailable):
            await bench.last(1, watched)


async def test_a_head_without_its_block_is_waited_for(anvil: AnvilNode) -> None:  # B19
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url)) as bench:
        watched = Watched()
        await paying(anvil, bench, watched)
        proxy.on("eth_getBlockByNumber").where(lambda call: call.params[1]).answer(None)
        with pytest.raises(ChainMoved):
            await bench.last(1, watched)
        proxy.honest()
        assert units((await bench.last(1, watched))[0]) == [5, 6]


async def test_a_stale_node_behind_the_same_address_changes_nothing(
    anvil: AnvilNode, anvil_program: Program, tmp_path: Path
) -> None:  # B19: heads come from one node, receipts from one that has not seen the block
    async with (
        second(anvil_program, tmp_path) as stale,
        Proxy(anvil.rpc_url) as proxy,
        watching(ANVIL, anvil, Connection(proxy.url)) as bench,
    ):
        watched = Watched()
        await paying(anvil, bench, watched)
        for method in ("eth_getBlockReceipts", "trace_block", "eth_call"):
            rule = proxy.on(method).swap(stale.rpc_url)
            with pytest.raises(ChainUnavailable):
                await bench.last(1, watched)
            rule.off()
        assert units((await bench.last(1, watched))[0]) == [5, 6]


ODD: tuple[Json, ...] = (None, -2, 1.5, "7", "0xzz", True, {}, [[]], "0x" + "f" * 65, {"number": "0x1"})


@pytest.mark.parametrize("method", ["eth_chainId", "eth_getBlockByNumber", "eth_syncing"])
async def test_odd_answers_about_the_tip_are_faults_and_never_crashes(anvil: AnvilNode, method: str) -> None:  # A37
    async with lied_to(anvil) as (liar, bench, _):
        for odd in ODD:
            liar.results[method] = lambda _, odd=odd: odd
            if method == "eth_syncing" and odd in ({}, {"number": "0x1"}):
                assert (await bench.source.tip()).syncing
                continue
            with pytest.raises((ChainUnavailable, ChainInvalid)):
                await bench.source.tip()


# ---------------------------------------------------------------- what waits


async def test_a_waiting_transaction_is_asked_for_by_its_id(anvil: AnvilNode) -> None:  # A13
    async with lied_to(anvil) as (liar, bench, watched):
        ours = bench.address()
        watched.pay(ours)
        token = await anvil.fund(ours.text, 6, "USDC")
        gone = "0x" + "ab" * 32
        pending = await bench.source.pending(watched, [token, gone, "no id"])
        assert (pending.complete, [tx.txid for tx in pending.transactions]) == (True, [token])
        (waits,) = pending.transactions
        told = await anvil.transaction(token)
        assert (waits.transfers, waits.replaceable) == ((), True)
        assert [item.outpoint for item in waits.inputs] == [f"{told['from']}:{int(told['nonce'], 16)}"]
        await anvil.drop(token)
        pending = await bench.source.pending(watched, [token])
        assert (pending.complete, pending.transactions) == (True, ())
        liar.errors["eth_getTransactionByHash"] = {"code": -32000, "message": "internal error"}
        with pytest.raises(ChainUnavailable):
            await bench.source.pending(watched, [token])


async def test_a_transaction_in_a_block_of_the_best_chain_does_not_wait(anvil: AnvilNode) -> None:
    async with lied_to(anvil) as (liar, bench, watched):
        txid = await anvil.fund(await anvil.address(), 5)
        await anvil.mine()
        pending = await bench.source.pending(watched, [txid])
        assert (pending.complete, pending.transactions) == (True, ())
        liar.results["eth_getTransactionByHash"] = lambda tx: {**tx, "blockHash": "0x" + "11" * 32}
        pending = await bench.source.pending(watched, [txid])
        assert (pending.complete, pending.transactions) == (False, ())  # another branch's block proves nothing
        liar.results["eth_getTransactionByHash"] = lambda tx: {**tx, "blockNumber": "0xffffff"}
        assert not (await bench.source.pending(watched, [txid])).complete


async def test_a_large_pool_is_not_fetched_whole(anvil: AnvilNode) -> None:
    async with lied_to(anvil) as (liar, bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await anvil.fund(ours.text, 5)
        liar.results["txpool_status"] = lambda _: {"pending": "0x1389", "queued": "0x0"}
        liar.methods.clear()
        (seen,) = (await bench.source.pending(watched, ())).transactions  # from the block that would be next
        assert [transfer.units for transfer in seen.transfers] == [5]
        assert "txpool_content" not in liar.methods


async def test_a_pool_too_large_for_one_answer_is_no_fault(anvil: AnvilNode) -> None:
    async with lied_to(anvil) as (liar, bench, watched):
        ours = bench.address()
        watched.pay(ours)
        txid = await anvil.fund(ours.text, 5)
        liar.errors["txpool_content"] = {"code": -32000, "message": "response too large"}
        pending = await bench.source.pending(watched, [txid])
        assert (pending.complete, [tx.txid for tx in pending.transactions]) == (True, [txid])


async def test_a_node_that_shows_no_pool_shows_none(anvil: AnvilNode) -> None:
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url)) as bench:
        ours, watched = bench.address(), Watched()
        watched.pay(ours)
        txid = await anvil.fund(ours.text, 5)
        proxy.on("txpool_*").error(-32601, "the method txpool_status does not exist")
        proxy.on("eth_getBlockByNumber").where(lambda call: call.params[0] == "pending").answer(None)
        assert (await bench.source.pending(watched, ())).transactions == ()
        (seen,) = (await bench.source.pending(watched, [txid])).transactions
        assert [transfer.units for transfer in seen.transfers] == [5]


async def test_another_transaction_than_the_one_asked_for_is_refused(anvil: AnvilNode) -> None:
    async with lied_to(anvil) as (liar, bench, watched):
        other = await anvil.transaction(await anvil.fund(await anvil.address(), 5))
        liar.results["eth_getTransactionByHash"] = lambda _: other
        with pytest.raises(ChainUnavailable, match="another transaction"):
            await bench.source.pending(watched, ["0x" + "ab" * 32])


async def test_a_node_that_restarts_is_followed_again(anvil: AnvilNode) -> None:  # A29
    async with watching(ANVIL, anvil) as bench:
        before = await bench.source.tip()
        await anvil.restart()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert (await bench.source.tip()).ref == before.ref
                    break
                except ChainUnavailable:
                    continue
