"""Ether that contracts move, in each of the ways in which a node can show it: the same payments by trace and debug."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from eth_abi import encode

from kassa.chains.base import Connection, Derived
from kassa.chains.evm import tracing
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from kassa.core.errors import ChainInvalid, ChainUnavailable
from kassa.core.facts import Block, Transfer, Unseen
from tests.chains.bench import ANVIL, Bench, Watched, watching
from tests.chains.liar import lying
from tests.contracts.deploy import Contract, artifact, deploy
from tests.tools.liar import Liar as Proxy
from tests.tools.lies import Call

ETHER = 10**18
EvmBench = Bench[AnvilNode]
NOBODY = "0x" + "0" * 40


@pytest.fixture(params=["trace", "debug"])
async def bench(anvil: AnvilNode, request: pytest.FixtureRequest) -> AsyncIterator[EvmBench]:
    """A node whose internal transfers are seen in either of the two exact ways."""
    async with watching(ANVIL, anvil, Connection(anvil.rpc_url, internal=request.param)) as made:
        yield made


@asynccontextmanager
async def contract(node: AnvilNode, name: str, *values: object, wei: int = 0) -> AsyncIterator[Contract]:
    async with JsonRpc(node.rpc_url) as rpc:
        yield await deploy(rpc, name, *values, wei=wei)


async def paid(bench: EvmBench, *addresses: Derived) -> list[Transfer]:
    """Mine, and return what the last block pays to these addresses."""
    watched = Watched()
    watched.pay(*addresses)
    await bench.node.mine()
    (block,) = await bench.last(1, watched)
    return [transfer for transaction in block.transactions for transfer in transaction.transfers]


def told(transfers: Sequence[Transfer]) -> list[tuple[str, bytes, int]]:
    return [(transfer.key.position, transfer.to, transfer.units) for transfer in transfers]


async def test_a_contract_that_forwards_pays_by_an_inner_call(bench: EvmBench) -> None:  # B10
    ours = bench.address()
    async with contract(bench.node, "Forwarder") as forwarder:
        txid = await forwarder.send("forward", ours.text, 3 * ETHER, wei=3 * ETHER)
        (transfer,) = await paid(bench, ours)
    assert (transfer.key.txid, transfer.asset) == (txid, "ETH@anvil")
    assert told([transfer]) == [("call:0", ours.script, 3 * ETHER)]


async def test_a_batch_pays_each_of_its_receivers_and_one_of_them_twice(bench: EvmBench) -> None:  # B10, B13, A20, A21
    first, second = bench.address(), bench.address()
    stranger = await bench.node.address()
    to = [first.text, stranger, second.text, first.text]
    async with contract(bench.node, "BatchPayer") as payer:
        await payer.send("pay", to, [1, 2, 3, 4], NOBODY, [], [], wei=10)
        assert told(await paid(bench, first, second)) == [
            ("call:0", first.script, 1),
            ("call:2", second.script, 3),
            ("call:3", first.script, 4),
        ]


async def test_a_call_that_was_taken_back_pays_nothing(bench: EvmBench) -> None:  # B11
    ours = bench.address()
    async with contract(bench.node, "RevertingPayer") as payer:
        await payer.send("payAndRevert", ours.text, wei=ETHER)
        await payer.send("payInCallThatReverts", ours.text, wei=ETHER)
        assert await paid(bench, ours) == []


async def test_only_the_calls_beside_the_failed_one_pay_and_are_counted(bench: EvmBench) -> None:  # B11
    ours = bench.address()
    async with contract(bench.node, "ReenteringPayer") as payer:
        await payer.send("outer", ours.text, wei=3 * ETHER)
        assert told(await paid(bench, ours)) == [("call:0", ours.script, ETHER), ("call:1", ours.script, ETHER)]


async def test_a_contract_that_ends_itself_pays_what_it_had(bench: EvmBench) -> None:
    ours, other = bench.address(), bench.address()
    async with contract(bench.node, "SelfDestructPayer", NOBODY) as payer:
        await payer.send("destruct", ours.text, wei=7)
        assert told(await paid(bench, ours)) == [("call:0", ours.script, 7)]
    made = artifact("SelfDestructPayer")["bytecode"] + encode(["address"], [other.text]).hex()
    await bench.node.send({"data": made, "value": hex(9)})  # while it is being made
    assert told(await paid(bench, other)) == [("call:0", other.script, 9)]


async def test_an_address_that_has_code_is_paid_by_its_value(bench: EvmBench) -> None:  # B27
    ours = bench.address()
    async with contract(bench.node, "Forwarder") as delegate:
        await bench.node.rpc.call("anvil_setCode", ours.text, "0xef0100" + delegate.address[2:])
        await bench.node.send({"to": ours.text, "value": hex(5)})
        await delegate.send("forward", ours.text, 6, wei=6)
        assert told(await paid(bench, ours)) == [("value", ours.script, 5), ("call:0", ours.script, 6)]


async def test_what_an_address_sends_itself_is_no_payment(bench: EvmBench) -> None:
    ours = bench.address()
    await bench.node.rpc.call("anvil_setBalance", ours.text, hex(10 * ETHER))
    await bench.node.rpc.call("anvil_impersonateAccount", ours.text)
    await bench.node.send({"from": ours.text, "to": ours.text, "value": hex(ETHER)})
    assert await paid(bench, ours) == []


# ---------------------------------------------------------------- by balances


@pytest.fixture
async def counting(anvil: AnvilNode) -> AsyncIterator[EvmBench]:
    async with watching(ANVIL, anvil, Connection(anvil.rpc_url, internal="balances")) as made:
        yield made


async def test_a_balance_that_grew_is_a_payment_of_the_block(counting: EvmBench) -> None:  # B10
    ours, idle = counting.address(), counting.address()
    watched = Watched(opened=[ours.script, idle.script])
    watched.pay(ours, idle)
    async with contract(counting.node, "Forwarder") as forwarder:
        await forwarder.send("forward", ours.text, 3, wei=3)
        await counting.node.fund(ours.text, 4)
        await counting.node.mine()
    (block,) = await counting.last(1, watched)
    found = [(transfer.key.txid, *told([transfer])[0]) for tx in block.transactions for transfer in tx.transfers]
    assert [item[1:] for item in found] == [
        ("value", ours.script, 4),
        (f"balance:0x{ours.script.hex()}", ours.script, 3),
    ]
    assert found[1][0] == block.ref.hash
    assert (await counting.source.pending(watched, [block.ref.hash])).complete


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_contract_pays_in_the_block_in_which_its_address_is_swept_is_seen(
    counting: EvmBench, fails: bool
) -> None:
    ours, watched = counting.address(), Watched()
    watched.opened.append(ours.script)
    watched.pay(ours)
    node, there = counting.node, await counting.node.address()
    await node.rpc.call("anvil_setBalance", ours.text, hex(10 * ETHER))
    await node.rpc.call("anvil_impersonateAccount", ours.text)
    if fails:
        await node.rpc.call("anvil_setCode", there, "0x60006000fd")
    async with contract(node, "Forwarder") as forwarder:
        await node.mine()
        await counting.last(1, watched)
        await node.send({"from": ours.text, "to": there, "value": hex(9 * ETHER), "gas": hex(100_000)})
        await forwarder.send("forward", ours.text, 3, wei=3)
        await node.mine()
    (block,) = await counting.last(1, watched)
    paid = [transfer for transaction in block.transactions for transfer in transaction.transfers]
    assert told(paid) == [(f"balance:0x{ours.script.hex()}", ours.script, 3)]
    assert block.unseen is None


@pytest.mark.parametrize(
    ("told_fees", "cost"),
    [
        ({"l1Fee": "0x3e8"}, lambda _gas: 1000),
        (
            {"l1Fee": "0x3e8", "operatorFeeScalar": "0x186a1", "operatorFeeConstant": "0x7"},
            lambda gas: 1007 + gas * 100_001 // 1_000_000,
        ),
        (
            {"l1Fee": "0x3e8", "operatorFeeScalar": "0x3", "operatorFeeConstant": "0x7", "daFootprintGasScalar": "0x0"},
            lambda gas: 1007 + gas * 3 * 100,
        ),
    ],
    ids=["data fee", "isthmus", "jovian"],
)
async def test_what_a_rollup_charges_a_sender_beside_gas_hides_no_payment_and_is_none(
    counting: EvmBench, told_fees: dict[str, str], cost: Callable[[int], int]
) -> None:
    ours, watched, node = counting.address(), Watched(), counting.node
    watched.opened.append(ours.script)
    watched.pay(ours)
    await node.rpc.call("anvil_impersonateAccount", ours.text)
    await node.rpc.call("anvil_setBalance", ours.text, hex(10 * ETHER))
    there = await node.address()
    async with (
        contract(node, "Forwarder") as forwarder,
        Proxy(node.rpc_url) as liar,
        watching(ANVIL, node, Connection(liar.url, internal="balances")) as rollup,
    ):
        await node.mine()
        await rollup.last(1, watched)
        swept = await node.send({"from": ours.text, "to": there, "value": hex(9 * ETHER), "gas": hex(100_000)})
        await forwarder.send("forward", ours.text, 3, wei=3)
        await node.mine()
        receipt = await node.rpc.call("eth_getTransactionReceipt", swept)
        fees = cost(int(receipt["gasUsed"], 16))

        def charged(receipts: list[dict[str, Any]]) -> list[dict[str, Any]]:  # JSON
            return [each | told_fees if each["transactionHash"] == swept else each for each in receipts]

        liar.on("eth_getBlockReceipts").mutate(charged)
        after = liar.on("eth_getBalance").where(lambda call: call.params[1] == {"blockHash": receipt["blockHash"]})
        after.mutate(lambda balance: hex(int(balance, 16) - fees))
        (block,) = await rollup.last(1, watched)
    paid = [transfer for transaction in block.transactions for transfer in transaction.transfers]
    assert told(paid) == [(f"balance:0x{ours.script.hex()}", ours.script, 3)]
    assert block.unseen is None


async def test_what_a_rollup_moves_in_the_name_of_an_address_is_added_to_nothing(counting: EvmBench) -> None:
    ours, watched, node = counting.address(), Watched(), counting.node
    watched.opened.append(ours.script)
    watched.pay(ours)
    await node.rpc.call("anvil_impersonateAccount", ours.text)
    await node.rpc.call("anvil_setBalance", ours.text, hex(10 * ETHER))
    await node.mine()
    there = await node.address()
    async with Proxy(node.rpc_url) as liar, watching(ANVIL, node, Connection(liar.url, internal="balances")) as fresh:
        await fresh.last(1, watched)
        # As the OP Stack's deposit of 9 ETH: its sender gets what it moves, and pays no gas.
        await node.send({"from": ours.text, "to": there, "value": hex(9 * ETHER), "gas": hex(100_000)})
        await node.mine()
        liar.on("eth_getBalance").answer(hex(10 * ETHER))
        liar.on("eth_getBlockByNumber").mutate(_deposits)
        liar.on("eth_getBlockByHash").mutate(_deposits)
        (block,) = await fresh.last(1, watched)
    assert (positions(block), block.unseen) == ([], Unseen.SPENT)


def _deposits(body: dict[str, Any]) -> dict[str, Any]:  # JSON
    """Make every transaction of a block one that nobody signed."""
    held = [tx if isinstance(tx, str) else tx | {"type": "0x7e"} for tx in body["transactions"]]
    return body | {"transactions": held}


async def test_a_balance_that_fell_by_more_than_was_sent_is_named(counting: EvmBench) -> None:
    ours, watched = counting.address(), Watched()
    watched.opened.append(ours.script)
    watched.pay(ours)
    await counting.node.rpc.call("anvil_setBalance", ours.text, hex(ETHER))
    await counting.node.mine()
    await counting.last(1, watched)
    async with contract(counting.node, "Forwarder") as drain:
        pass
    # As an account that delegates to a contract (EIP-7702) loses ether by a call from outside.
    code = "0x5f5f5f5f6103e873" + drain.address[2:] + "5af100"
    await counting.node.rpc.call("anvil_setCode", ours.text, code)
    await counting.node.send({"to": ours.text, "gas": hex(100_000)})
    await counting.node.mine()
    (block,) = await counting.last(1, watched)
    assert (positions(block), block.unseen) == ([], Unseen.SPENT)


async def test_balances_without_open_business_are_not_asked_for(counting: EvmBench) -> None:
    ours, watched = counting.address(), Watched()
    watched.pay(ours)
    async with contract(counting.node, "Forwarder") as forwarder:
        await forwarder.send("forward", ours.text, 3, wei=3)
        await counting.node.mine()
    (block,) = await counting.last(1, watched)
    assert block.transactions == ()


async def test_without_internal_transfers_only_the_own_value_counts(anvil: AnvilNode) -> None:
    async with watching(ANVIL, anvil, Connection(anvil.rpc_url, internal="off")) as bench:
        ours = bench.address()
        async with contract(anvil, "Forwarder") as forwarder:
            await forwarder.send("forward", ours.text, 3, wei=3)
            await anvil.fund(ours.text, 4)
            assert told(await paid(bench, ours)) == [("value", ours.script, 4)]


BOMB = "0x6101905b5f5f620186a05f5f60ff5af150600190038060035700"
"""Calls an address 400 times with 100,000 bytes each, for 110,000 gas: 80 MB of trace."""


@pytest.mark.parametrize("internal", ["trace", "debug"])
async def test_a_block_whose_trace_is_too_large_is_read_by_balances(anvil: AnvilNode, internal: str) -> None:
    async with watching(ANVIL, anvil, Connection(anvil.rpc_url, internal=internal)) as bench:
        await bench.source.check()
        ours, watched = bench.address(), Watched()
        watched.pay(ours)
        watched.opened.append(ours.script)
        there = await anvil.address()
        await anvil.rpc.call("anvil_setCode", there, BOMB)
        payer = (await anvil.accounts())[0]
        async with contract(anvil, "Forwarder") as forwarder:
            await forwarder.send("forward", ours.text, 3, wei=3)
            await anvil.mine()
            await anvil.rpc.call("eth_sendTransaction", {"from": payer, "to": there, "gas": hex(10**6)})
            await forwarder.send("forward", ours.text, 4, wei=4)
            await anvil.mine()
        before, with_bomb = await bench.last(2, watched)
        positions = [
            (transfer.key.position.partition(":")[0], transfer.units)
            for block in (before, with_bomb)
            for transaction in block.transactions
            for transfer in transaction.transfers
        ]
        assert positions == [("call", 3), ("balance", 4)]


# ---------------------------------------------------------------- what the node can


UNKNOWN = {"code": -32601, "message": "the method does not exist/is not available"}


@pytest.mark.parametrize(
    ("without", "asked"),
    [
        ((), "trace_block"),
        (("trace_block",), "debug_traceBlockByHash"),
        (("trace_block", "debug_traceBlockByHash"), "eth_getBalance"),
    ],
)
async def test_the_exact_ways_are_tried_first(anvil: AnvilNode, without: tuple[str, ...], asked: str) -> None:
    async with lying(anvil.rpc_url) as liar:
        liar.errors.update(dict.fromkeys(without, UNKNOWN))
        async with watching(ANVIL, anvil, Connection(liar.url)) as bench:
            await bench.source.check()
            ours, watched = bench.address(), Watched()
            watched.pay(ours)
            watched.opened.append(ours.script)
            await anvil.fund(ours.text, 4)
            await anvil.mine()
            liar.methods.clear()
            await bench.last(1, watched)
            assert asked in liar.methods


@pytest.mark.parametrize("internal", ["trace", "debug"])
async def test_a_way_that_the_settings_want_must_be_there(anvil: AnvilNode, internal: str) -> None:
    async with lying(anvil.rpc_url) as liar:
        liar.errors.update(dict.fromkeys(("trace_block", "debug_traceBlockByHash"), UNKNOWN))
        async with watching(ANVIL, anvil, Connection(liar.url, internal=internal)) as bench:
            with pytest.raises(ChainInvalid, match="internal"):
                await bench.source.check()


async def test_a_way_that_the_providers_plan_leaves_out_is_not_taken(anvil: AnvilNode) -> None:
    async with lying(anvil.rpc_url) as liar, watching(ANVIL, anvil, Connection(liar.url)) as bench:
        words = "trace_block is not available on the Free tier - upgrade to Pay As You Go for access"
        liar.errors["trace_block"] = {"code": -32600, "message": words}
        await bench.source.check()
        await anvil.fund(await anvil.address(), 4)
        await anvil.mine()
        assert len(await bench.last(1, Watched())) == 1
        assert "debug_traceBlockByHash" in liar.methods


async def test_a_busy_node_is_not_taken_for_one_that_cannot(anvil: AnvilNode) -> None:
    async with lying(anvil.rpc_url) as liar:
        liar.errors["trace_block"] = {"code": 429, "message": "too many requests"}
        async with watching(ANVIL, anvil, Connection(liar.url)) as bench:
            with pytest.raises(ChainUnavailable):
                await bench.source.check()


GONE = {"code": -32000, "message": "missing trie node 12ab (path )"}


async def forwarded(bench: EvmBench) -> Watched:
    """Let a contract forward ether to us in one block; return what to look for."""
    ours, watched = bench.address(), Watched()
    watched.pay(ours)
    watched.opened.append(ours.script)
    async with contract(bench.node, "Forwarder") as forwarder:
        await forwarder.send("forward", ours.text, 3, wei=3)
        await bench.node.mine()
    return watched


def positions(block: Block) -> list[str]:
    return [item.key.position.partition(":")[0] for transaction in block.transactions for item in transaction.transfers]


async def test_blocks_whose_state_is_gone_are_passed_and_named(anvil: AnvilNode) -> None:
    async with lying(anvil.rpc_url) as liar, watching(ANVIL, anvil, Connection(liar.url, internal="debug")) as bench:
        await bench.source.check()
        watched = await forwarded(bench)
        liar.errors["debug_traceBlockByHash"] = GONE
        (block,) = await bench.last(1, watched)
        assert (positions(block), block.unseen) == (["balance"], Unseen.UNTRACED)
        liar.errors["eth_getBalance"] = GONE
        await anvil.mine()
        await anvil.fund(await anvil.address(), 1)
        await anvil.mine()
        (block,) = await bench.last(1, watched)
        assert (positions(block), block.unseen) == ([], Unseen.STATE_GONE)
        liar.errors.clear()
        await forwarded(bench)
        (block,) = await bench.last(1, watched)
        assert block.unseen is None


@pytest.mark.parametrize("how", ["refused", "cut off", "askew"])
async def test_a_trace_that_goes_on_failing_is_given_up_while_the_node_answers(
    anvil: AnvilNode, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "TRIES", 6)
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url, internal="trace")) as bench:
        await bench.source.check()
        watched = await forwarded(bench)
        rule = proxy.on("trace_block")
        {
            "refused": lambda: rule.error(-32000, "execution timeout"),
            "cut off": rule.drop,
            "askew": lambda: rule.answer([{"error": "execution timeout"}]),
        }[how]()
        for seconds in (999.0, 0.0):  # however often, it must have gone on for a while
            monkeypatch.setattr(tracing, "TRY_SECONDS", seconds)
            for _ in range(2 if seconds else 0):
                with pytest.raises(ChainUnavailable):
                    await bench.last(1, watched)
        (block,) = await bench.last(1, watched)
        assert (positions(block), block.unseen) == (["balance"], Unseen.UNTRACED)


async def test_a_node_that_answers_nothing_is_no_reason_to_give_up_a_trace(
    anvil: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "TRIES", 1)
    monkeypatch.setattr(tracing, "TRY_SECONDS", 0.0)
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url, internal="trace")) as bench:
        await bench.source.check()
        watched = await forwarded(bench)
        down = [proxy.on("trace_block").http(503), proxy.on("eth_getBlockByNumber").where(_latest).http(503)]
        with pytest.raises(ChainUnavailable):
            await bench.last(1, watched)
        for rule in down:
            rule.off()
        assert positions((await bench.last(1, watched))[0]) == ["call"]


def _latest(call: Call) -> bool:
    return bool(call.params[0] == "latest")


async def test_what_a_block_ended_with_is_not_asked_for_again_by_the_next(anvil: AnvilNode) -> None:
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url, internal="balances")) as one:
        await one.source.check()
        watched = await forwarded(one)
        await anvil.mine(3)
        proxy.forget()
        await one.last(4, watched)
        assert proxy.count("eth_getBalance") == 5
        watched.left_out = True
        (block,) = await one.last(1, watched)
        assert block.unseen is Unseen.CROWDED
