"""What only the EVM family must do, against a real anvil."""

import pytest

from kassa.chains.base import Connection
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.registry import FAMILIES
from kassa.core.errors import ChainMoved
from kassa.core.money import Token
from tests.chains.bench import ANVIL, EVM_ACCOUNT, Watched, watching
from tests.tools.liar import Liar as Proxy


async def test_ether_and_tokens_are_found_in_blocks(anvil: AnvilNode) -> None:
    usdc = Token("USDC", anvil.tokens["USDC"], 6)
    chain = FAMILIES["evm"].chain("31337", "anvil", (usdc,))
    source = chain.connect(Connection(anvil.rpc_url))
    descriptor = chain.addresses.account(EVM_ACCOUNT).descriptor
    coin, token = [chain.addresses.derive(descriptor, index) for index in (0, 1)]
    watched = Watched()
    watched.pay(coin, token)
    first = await anvil.fund(coin.text, 10**18)
    second = await anvil.fund(token.text, 2_500_000, "USDC")
    await anvil.fund(await anvil.address(), 7)
    await anvil.mine(2)
    tip = await source.tip()
    assert tip.ref == await anvil.tip()
    blocks = await source.blocks(0, tip.ref.height, watched)
    found = [
        (transfer.key.txid, transfer.key.position, transfer.to, transfer.asset, transfer.units)
        for block in blocks
        for transaction in block.transactions
        for transfer in transaction.transfers
    ]
    assert sorted(found) == sorted(
        [
            (first, "value", coin.script, "ETH@anvil", 10**18),
            (second, "log:0", token.script, "USDC@anvil", 2_500_000),
        ]
    )
    await source.close()


async def test_what_follows_is_on_its_way_while_the_caller_commits(anvil: AnvilNode) -> None:
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url)) as bench:
        await anvil.mine(60)
        end = (await bench.source.tip()).ref.height
        first = end - 55
        await bench.source.blocks(first, first + 14, Watched())  # not a whole number of groups
        proxy.forget()
        blocks = await bench.source.blocks(first + 15, end, Watched())
        asked = {call.params[0] for call in proxy.calls if call.method == "eth_getBlockByNumber" and call.params[1]}
        assert hex(first + 22) not in asked
        assert [block.ref.height for block in blocks] == list(range(first + 15, end + 1))


async def test_who_asks_for_little_gets_no_more(anvil: AnvilNode) -> None:
    """A node that is too slow for many blocks at once is asked for fewer, until it is caught up with."""
    async with Proxy(anvil.rpc_url) as proxy, watching(ANVIL, anvil, Connection(proxy.url)) as bench:
        await anvil.mine(60)
        end = (await bench.source.tip()).ref.height
        await bench.source.blocks(end - 50, end - 49, Watched())
        asked = {call.params[0] for call in proxy.calls if call.method == "eth_getBlockByNumber" and call.params[1]}
        assert asked == {hex(end - 50), hex(end - 49)}


async def test_what_was_fetched_of_a_branch_that_lost_is_not_believed(anvil: AnvilNode) -> None:  # A34
    async with watching(ANVIL, anvil) as bench:
        await anvil.mine(60)
        end = (await bench.source.tip()).ref.height
        await bench.source.blocks(end - 40, end - 31, Watched())
        hashes = await anvil.fork(20)
        with pytest.raises(ChainMoved):
            await bench.source.blocks(end - 30, end, Watched())
        blocks = await bench.source.blocks(end - 30, end, Watched())
        assert blocks[-1].ref.hash == hashes[-2]
