"""What only the EVM family must do, against a real anvil."""

from kassa.chains.base import Connection
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.registry import FAMILIES
from kassa.core.money import Token
from tests.chains.bench import EVM_ACCOUNT, Watched


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
