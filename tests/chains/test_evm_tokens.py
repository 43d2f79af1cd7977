"""Tokens: what counts as a transfer of one, what its balances say about it, and how its contract looks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from kassa.chains.base import Connection
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.rpc import JsonRpc
from kassa.core.errors import ChainUnavailable
from kassa.core.facts import Block, Contract
from kassa.core.money import Token
from tests.chains.bench import ANVIL, Bench, Watched, watching
from tests.chains.liar import Liar, lying
from tests.contracts import deploy as contracts

EvmBench = Bench[AnvilNode]
DOLLAR = ("Dollar", "USDX", 6)
MISSING = {"code": -32000, "message": "missing trie node 5f4f (path ) state is not available"}


@pytest.fixture
async def rpc(anvil: AnvilNode) -> AsyncIterator[JsonRpc]:
    async with JsonRpc(anvil.rpc_url) as made:
        yield made


@pytest.fixture
async def us(rpc: JsonRpc) -> str:
    """The account that deploys, mints and pays where no other is named."""
    return (await rpc.call(list[str], "eth_accounts"))[0]


@asynccontextmanager
async def holding(
    anvil: AnvilNode, *tokens: contracts.Contract, url: str | None = None
) -> AsyncIterator[tuple[EvmBench, Watched]]:
    """Watch a node whose network has these tokens, T0, T1, …, of 6 decimals."""
    named = [Token(f"T{place}", token.address, 6) for place, token in enumerate(tokens)]
    async with watching(ANVIL, anvil, Connection(url or anvil.rpc_url), named) as made:
        watched = Watched()
        yield made, watched


async def mined(bench: EvmBench, watched: Watched) -> Block:
    await bench.node.mine()
    (block,) = await bench.last(1, watched)
    return block


def told(block: Block) -> list[tuple[str, str, int]]:
    return [
        (transfer.key.position, transfer.asset, transfer.units)
        for transaction in block.transactions
        for transfer in transaction.transfers
    ]


async def test_a_token_that_answers_nothing_is_read_by_its_log(anvil: AnvilNode, rpc: JsonRpc, us: str) -> None:
    token = await contracts.deploy(rpc, "NoReturnToken", *DOLLAR)
    async with holding(anvil, token) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await token.send("mint", us, 100)
        await token.send("transfer", ours.text, 40)
        block = await mined(bench, watched)
        assert (told(block), block.doubts) == ([("log:0", "T0@anvil", 40)], ())


async def test_a_transfer_that_moved_nothing_is_none(anvil: AnvilNode, rpc: JsonRpc) -> None:  # B2
    quiet = await contracts.deploy(rpc, "FalseReturnToken", *DOLLAR, False)
    loud = await contracts.deploy(rpc, "FalseReturnToken", *DOLLAR, True)
    async with holding(anvil, quiet, loud) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await quiet.send("transfer", ours.text, 101)
        txid = await loud.send("transfer", ours.text, 101)
        block = await mined(bench, watched)
        assert told(block) == []
        (doubt,) = block.doubts
        assert (doubt.asset, doubt.txid) == ("T1@anvil", txid)
        assert "101" in doubt.reason


async def test_of_a_token_that_takes_a_fee_only_what_arrived_counts(
    anvil: AnvilNode, rpc: JsonRpc, us: str
) -> None:  # B6
    honest = await contracts.deploy(rpc, "FeeToken", *DOLLAR, False)
    gross = await contracts.deploy(rpc, "FeeToken", *DOLLAR, True)
    payer = (await rpc.call(list[str], "eth_accounts"))[1]
    async with holding(anvil, honest, gross) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        for token in (honest, gross):
            await token.send("mint", payer, 10_000)
            await anvil.mine()
            await token.send("transfer", ours.text, 10_000, sender=payer)
        block = await mined(bench, watched)
        assert told(block) == [("log:0", "T1@anvil", 9_900)]
        assert [doubt.asset for doubt in block.doubts] == ["T1@anvil"]
        height = block.ref.height
        (before,) = await bench.source.blocks(height - 1, height - 1, watched)
        assert (told(before), before.doubts) == ([("log:0", "T0@anvil", 9_900)], ())


async def test_what_the_receiver_sent_on_in_the_same_block_is_no_doubt(anvil: AnvilNode, rpc: JsonRpc, us: str) -> None:
    token = await contracts.deploy(rpc, "NoReturnToken", *DOLLAR)
    async with holding(anvil, token) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await anvil.rpc.call("anvil_setBalance", ours.text, hex(10**18))
        await anvil.rpc.call("anvil_impersonateAccount", ours.text)
        await token.send("mint", us, 100)
        await token.send("transfer", ours.text, 40)
        await token.send("transfer", us, 35, sender=ours.text)
        await token.send("transfer", ours.text, 2)
        block = await mined(bench, watched)
        assert {units for _, _, units in told(block)} <= {40, 2}
        assert block.doubts == ()


async def test_a_log_stands_where_the_node_no_longer_has_the_balances(anvil: AnvilNode, rpc: JsonRpc) -> None:
    loud = await contracts.deploy(rpc, "FalseReturnToken", *DOLLAR, True)
    async with lying(anvil.rpc_url) as liar, holding(anvil, loud, url=liar.url) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await loud.send("transfer", ours.text, 101)
        liar.errors["eth_call"] = MISSING
        block = await mined(bench, watched)
        assert (told(block), block.doubts) == ([("log:0", "T0@anvil", 101)], ())
        liar.errors["eth_call"] = {"code": 3, "message": "execution reverted"}
        (block,) = await bench.last(1, watched)
        assert (told(block), len(block.doubts)) == ([], 1)
        liar.errors["eth_call"] = {"code": -32000, "message": "internal error"}
        with pytest.raises(ChainUnavailable):
            await bench.last(1, watched)


async def test_logs_of_other_contracts_and_of_odd_forms_are_nothing(
    anvil: AnvilNode, rpc: JsonRpc, us: str
) -> None:  # B3, B4, B8, A28
    real = await contracts.deploy(rpc, "DecimalsToken", *DOLLAR)
    forger = await contracts.deploy(rpc, "EventForger", *DOLLAR)
    fake = await contracts.deploy(rpc, "FakeToken", real.address)
    spammer = await contracts.deploy(rpc, "ZeroTransferSpammer")
    async with holding(anvil, real) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await real.send("mint", us, 100)
        await real.send("mint", forger.address, 5)
        await fake.send("mint", ours.text, 77)
        for verb in ("forge", "forgeTwoTopics", "forgeFourTopics", "forgeShortData", "forgeDirtyTopic"):
            await forger.send(verb, ours.text)
        await spammer.send("spam", real.address, us, ours.text, 3)
        beside = await forger.send("forgeBesideReal", ours.text, real.address)
        block = await mined(bench, watched)
        paying = [tx for tx in block.transactions if tx.transfers]
        assert [tx.txid for tx in paying] == [beside]
        # The forged log stands before it and is counted, for the position is that in the receipt.
        assert (told(block), block.doubts) == ([("log:1", "T0@anvil", 1)], ())


@pytest.mark.parametrize("verb", ["forgeTwoTopics", "forgeFourTopics", "forgeShortData", "forgeDirtyTopic"])
async def test_an_odd_log_of_the_configured_contract_is_nothing_either(
    anvil: AnvilNode, rpc: JsonRpc, verb: str
) -> None:
    forger = await contracts.deploy(rpc, "EventForger", *DOLLAR)
    async with holding(anvil, forger) as (bench, watched):
        ours = bench.address()
        watched.pay(ours)
        await forger.send(verb, ours.text)
        assert told(await mined(bench, watched)) == []


async def test_many_transfers_of_one_transaction_are_told_apart(anvil: AnvilNode, rpc: JsonRpc) -> None:  # B13, A21
    token = await contracts.deploy(rpc, "NoReturnToken", *DOLLAR)
    payer = await contracts.deploy(rpc, "BatchPayer")
    async with holding(anvil, token) as (bench, watched):
        first, second = bench.address(), bench.address()
        watched.pay(first, second)
        await token.send("mint", payer.address, 10_000)
        await anvil.mine()
        to = [await anvil.address() for _ in range(47)] + [first.text, second.text, first.text]
        await payer.send("pay", [], [], token.address, to, [10 + place for place in range(50)], gas=10_000_000)
        block = await mined(bench, watched)
        assert told(block) == [("log:47", "T0@anvil", 57), ("log:48", "T0@anvil", 58), ("log:49", "T0@anvil", 59)]
        assert block.doubts == ()


async def test_ether_is_no_token_and_a_token_no_ether(anvil: AnvilNode) -> None:  # B14
    async with watching(ANVIL, anvil) as bench:
        ours, watched = bench.address(), Watched()
        watched.pay(ours)
        await anvil.fund(ours.text, 25)
        await anvil.fund(ours.text, 25, "USDC")
        block = await mined(bench, watched)
        assert sorted(told(block)) == [("log:0", "USDC@anvil", 25), ("value", "ETH@anvil", 25)]


# ---------------------------------------------------------------- the contracts themselves


async def looked(bench: EvmBench) -> Sequence[Contract]:
    return await bench.source.contracts()


async def test_an_upgrade_behind_a_proxy_changes_the_code(anvil: AnvilNode, rpc: JsonRpc) -> None:  # B16
    first = await contracts.deploy(rpc, "UpgradeableTokenV1")
    second = await contracts.deploy(rpc, "UpgradeableTokenV2")
    proxy = await contracts.deploy(rpc, "UpgradeableToken", first.address)
    async with holding(anvil, proxy) as (bench, _):
        (before,) = await looked(bench)
        await anvil.mine()
        assert await looked(bench) == [before]
        assert before.decimals == 6
        await proxy.send("upgradeTo", second.address)
        await anvil.mine()
        (after,) = await looked(bench)
        assert after.code != before.code
        # The same address with other code behind it is a change as well.
        await rpc.call(object, "anvil_setCode", second.address, "0x6001")
        await anvil.mine()
        (changed,) = await looked(bench)
        assert changed.code not in (before.code, after.code)


async def test_decimals_are_what_the_contract_says_now(anvil: AnvilNode, rpc: JsonRpc) -> None:  # B5
    token = await contracts.deploy(rpc, "DecimalsToken", *DOLLAR)
    odd = await contracts.deploy(rpc, "Forwarder")
    async with holding(anvil, token, odd) as (bench, _):
        assert [contract.decimals for contract in await looked(bench)] == [6, None]
        await token.send("setDecimals", 18)
        await anvil.mine()
        assert [contract.decimals for contract in await looked(bench)] == [18, None]
        assert [contract.asset for contract in await looked(bench)] == ["T0@anvil", "T1@anvil"]


async def test_a_network_without_tokens_has_no_contracts(anvil: AnvilNode) -> None:
    anvil.tokens.clear()
    async with watching(ANVIL, anvil) as bench:
        assert await looked(bench) == ()


@pytest.mark.parametrize(
    "said", [(3, "execution reverted"), (-32000, "execution reverted"), (-32015, "VM execution error.")]
)
async def test_a_call_that_fails_is_an_answer_in_the_words_of_every_node(
    anvil: AnvilNode, rpc: JsonRpc, said: tuple[int, str]
) -> None:
    token = await contracts.deploy(rpc, "Forwarder")
    async with lying(anvil.rpc_url) as liar, holding(anvil, token, url=liar.url) as (bench, _):
        liar.errors["eth_call"] = {"code": said[0], "message": said[1]}
        assert [contract.decimals for contract in await looked(bench)] == [None]


async def test_contracts_that_cannot_be_read_are_no_change(anvil: AnvilNode, rpc: JsonRpc) -> None:
    token = await contracts.deploy(rpc, "NoReturnToken", *DOLLAR)
    async with lying(anvil.rpc_url) as liar, holding(anvil, token, url=liar.url) as (bench, _):
        for method in ("eth_getCode", "eth_getStorageAt", "eth_call"):
            failing(liar, method)
            with pytest.raises(ChainUnavailable):
                await looked(bench)
            liar.errors.clear()
        assert len(await looked(bench)) == 1


def failing(liar: Liar, method: str) -> None:
    liar.errors[method] = {"code": -32000, "message": "header not found"}
