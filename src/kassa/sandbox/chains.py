"""The sandbox's private chains: their nodes, what Kassa is told of them, and where the demo shop is paid on each."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kassa.chains.base import DevNode
from kassa.chains.bitcoin.devnode import DevNode as BitcoinNode
from kassa.chains.devrpc import DevRpc, Json
from kassa.chains.evm.devnode import AnvilNode
from kassa.core.errors import SandboxError
from kassa.sandbox.nodes import find_or_install, nodes_dir
from kassa.sandbox.screen import Screen
from kassa.sandbox.state import Folder, NodeNote, State
from kassa.sandbox.whole import whole

BITCOIN, ANVIL = "bitcoin-regtest", "anvil"
COIN = "ETH"
RATES = {"BTC/EUR": "60000", "ETH/EUR": "3000", "USDC/EUR": "0.92"}
_SHOP = "shop"
# Account m/44'/60'/1' of the mnemonic that every anvil begins with, apart from the accounts that it pays from.
_SHOP_KEY = (
    "xpub6Ce9NcJvTk372KjsGfWqbcex5DumjpNquQLApoeQUavSCjEc823BV1tb4rXUuPuht8h2hSxkg2EXUaKUJmniJvRZAELxypsCzBFdtosmV76"
)
_TOKEN, _DECIMALS = "USDC", 6
_CONFIRMATIONS = '[{ up_to = "100 EUR", blocks = 1 }, { up_to = "1000 EUR", blocks = 3 }, { blocks = 6 }]'
_BITCOIN_SECTION = """\
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "{url}"
zmq = {push}
confirmations = {confirmations}
poll_seconds = 1
drop_after_seconds = 10
"""
_ANVIL_SECTION = """\
[networks.anvil]
family = "evm"
chain_id = 31337
rpc_url = "{url}"
tokens = [{{ symbol = "{token}", contract = "{contract}", decimals = {decimals} }}]
confirmations = {confirmations}
poll_seconds = 1
drop_after_seconds = 10
"""


@dataclass(frozen=True, slots=True)
class Chains:
    """The running nodes. Without an anvil on this machine there is Bitcoin alone."""

    bitcoin: BitcoinNode
    anvil: AnvilNode | None

    @property
    def nodes(self) -> Mapping[str, DevNode]:
        """Each node by its network's name."""
        return {BITCOIN: self.bitcoin} | ({} if self.anvil is None else {ANVIL: self.anvil})

    def settings(self) -> str:
        """Write the networks' part of kassa.toml."""
        bitcoin = _BITCOIN_SECTION.format(
            url=self.bitcoin.rpc_url, push=json.dumps(self.bitcoin.push), confirmations=_CONFIRMATIONS
        )
        if self.anvil is None:
            return bitcoin
        return f"{bitcoin}\n" + _ANVIL_SECTION.format(
            url=self.anvil.websocket_url,
            token=_TOKEN,
            contract=self.anvil.tokens[_TOKEN],
            decimals=_DECIMALS,
            confirmations=_CONFIRMATIONS,
        )

    async def descriptors(self) -> Mapping[str, str]:
        """Return the public half of the shop's wallet on each network."""
        found = {BITCOIN: await _shop_descriptor(self.bitcoin)}
        return found if self.anvil is None else found | {ANVIL: _SHOP_KEY}

    async def notes(self, earlier: State | None) -> dict[str, NodeNote]:
        """Return what other terminals need to know; a chain that goes on keeps the height at which the shop began."""
        notes = {}
        for network, node in self.nodes.items():
            known = None if earlier is None else earlier.nodes.get(network)
            tokens = dict(self.anvil.tokens) if self.anvil is not None and network == ANVIL else {}
            goes_on = known is not None and known.tokens == tokens
            height = known.base_height if known is not None and goes_on else (await node.tip()).height
            notes[network] = NodeNote(node.rpc_url, height, tokens)
        return notes


def attach(notes: Mapping[str, NodeNote]) -> Chains:
    """Command the nodes of a sandbox that another process runs."""
    anvil = notes.get(ANVIL)
    return Chains(
        BitcoinNode.attach(notes[BITCOIN].url), None if anvil is None else AnvilNode.attach(anvil.url, anvil.tokens)
    )


async def start(stack: AsyncExitStack, folder: Folder, screen: Screen, earlier: State | None) -> Chains:
    """Start every node on its folder; each ends with `stack`."""
    if await asyncio.to_thread(folder.end_leftover_nodes):
        screen.note("ended the nodes that a killed sandbox had left behind")
    bitcoin = await _start_bitcoin(stack, folder, screen)
    return Chains(bitcoin, await _start_anvil(stack, folder, screen, earlier))


async def _start_bitcoin(stack: AsyncExitStack, folder: Folder, screen: Screen) -> BitcoinNode:
    with screen.doing("Bitcoin node", "starting bitcoind on a chain of its own (regtest)") as tell:
        program = await asyncio.to_thread(find_or_install, "bitcoind", nodes_dir(), screen.note)

        async def started() -> BitcoinNode:
            node = await BitcoinNode.start(program, folder.node)
            stack.push_async_callback(node.stop)
            return node

        node = await whole(started())
        await _set_aside_young_coins(node)
        # A node whose last block is a day old takes itself for one that is catching up, and Kassa believes it.
        if (await node.rpc.call("getblockchaininfo"))["initialblockdownload"]:
            await node.mine()
        tell(f"{program.version}, {(await node.tip()).height} blocks")
    return node


async def _set_aside_young_coins(node: BitcoinNode) -> None:
    """Let payers spend old coins alone: a reorganisation loses what was paid with a reward just matured."""
    spendable = {_outpoint(coin) for coin in await node.rpc.call("listunspent")}
    rewards = await node.rpc.call("listunspent", 1, 9_999_999, [], True, {"include_immature_coinbase": True})
    young = {_outpoint(coin) for coin in rewards} - spendable
    outputs = [{"txid": txid, "vout": vout} for txid, vout in sorted(young)]
    await node.rpc.call("lockunspent", False, outputs, True)  # kept when the node starts again


def _outpoint(coin: Json) -> tuple[str, int]:
    return coin["txid"], coin["vout"]


async def _start_anvil(
    stack: AsyncExitStack, folder: Folder, screen: Screen, earlier: State | None
) -> AnvilNode | None:
    with screen.doing("Ethereum node", "starting anvil on a chain of its own") as tell:
        try:
            program = await asyncio.to_thread(find_or_install, "anvil", nodes_dir(), screen.note)
        except SandboxError as fault:
            tell(f"left out: {fault}")
            return None

        async def started() -> AnvilNode:
            node = await AnvilNode.start(program, folder.anvil)
            stack.push_async_callback(node.stop)
            return node

        node = await whole(started())
        known = None if earlier is None else earlier.nodes.get(ANVIL)
        # Killed before it had written its chain, a node begins anew: then nobody knows the token there.
        if known is not None and await node.rpc.call("eth_getCode", known.tokens[_TOKEN], "latest") != "0x":
            node.tokens.update(known.tokens)
        else:
            await node.deploy(_TOKEN, _DECIMALS)
        tell(f"{program.version}, {(await node.tip()).height} blocks, demo {_TOKEN}")
    return node


async def _shop_descriptor(node: BitcoinNode) -> str:
    """Return the public descriptor of the merchant's wallet, which the node keeps apart from the payer's."""
    if _SHOP not in await node.rpc.call("listwallets"):
        on_disk = [wallet["name"] for wallet in (await node.rpc.call("listwalletdir"))["wallets"]]
        how = "loadwallet" if _SHOP in on_disk else "createwallet"
        await node.rpc.call(how, _SHOP)
    shop = DevRpc(f"{node.rpc_url}/wallet/{_SHOP}")
    try:
        listed = (await shop.call("listdescriptors"))["descriptors"]
    finally:
        await shop.close()
    for each in listed:
        if each["desc"].startswith("wpkh(") and not each["internal"]:
            return str(each["desc"])
    raise SandboxError("the node's wallet offers no wpkh descriptor: put another bitcoind on PATH")
