"""Start everything that a sandbox is made of: a node, a database, Kassa with every role, a receiver of webhooks."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

import kassa.stores.store as stores
from kassa import logs
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.devprocess import free_port
from kassa.chains.devrpc import DevRpc
from kassa.core.errors import SandboxError
from kassa.house import House
from kassa.main import ROLES, open_house, serve
from kassa.sandbox.client import Client, Json
from kassa.sandbox.nodes import find_or_install, nodes_dir
from kassa.sandbox.receiver import Hear, Receiver
from kassa.sandbox.screen import Screen
from kassa.sandbox.state import Folder, State
from kassa.settings import read_settings

NETWORK = "bitcoin-regtest"
CURRENCY = "EUR"
RATE = "60000"
READY_SECONDS = 60
"""Longer than a lease: a follower that was killed keeps its network for some seconds."""
_API_PORT, _RECEIVER_PORT, _OPS_PORT = 8080, 8081, 9464
_SHOP = "shop"
_SETTINGS = """\
# Written by `kassa sandbox` each time it starts; what you change here is lost.
# Other commands can be tried on the running sandbox: kassa store list --config {path}
data_dir = "kassa"

[http]
listen = "127.0.0.1:{api}"
public_url = "http://127.0.0.1:{api}"
ops_listen = "127.0.0.1:{ops}"

[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "{rpc_url}"
zmq = [{zmq}]
confirmations = [{{ up_to = "100 EUR", blocks = 1 }}, {{ up_to = "1000 EUR", blocks = 3 }}, {{ blocks = 6 }}]
poll_seconds = 1
drop_after_seconds = 10

[rates]
fixed = {{ "BTC/EUR" = "{rate}" }}

[webhooks]
allow_private_addresses = true  # the receiver is on this machine
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox, as the story and the terminal use it."""

    state: State
    client: Client
    node: DevNode
    receiver: Receiver


def run(work: Coroutine[Any, Any, T]) -> T | None:
    """Run to the end, or until SIGINT, SIGTERM or SIGHUP; then everything is ended in good order: None.

    Another signal, more than a second later, ends at once; the next start clears up what that leaves.
    """

    async def interruptible() -> T | None:
        running, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert running is not None
        asked_at: float | None = None

        def interrupt() -> None:
            nonlocal asked_at
            if asked_at is None:
                asked_at = loop.time()
                running.cancel()
            elif loop.time() - asked_at > 1:  # programs such as timeout(1) send the same signal twice
                os._exit(130)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt)
        try:
            return await work
        except asyncio.CancelledError:
            return None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(interruptible())


@asynccontextmanager
async def opened(folder: Folder, screen: Screen, hear: Hear) -> AsyncIterator[Sandbox]:
    """Start a sandbox in a folder that is held, with its demo store; at the end, end it all in the reverse order."""
    earlier = folder.read()
    async with AsyncExitStack() as stack:
        logs.configure(to=stack.enter_context(folder.log.open("w")))
        stack.callback(logs.configure)  # before the file is closed
        node = await _start_node(stack, folder, screen)
        receiver = Receiver(hear)
        await receiver.start(_port(earlier.receiver_url if earlier else None, _RECEIVER_PORT))
        stack.push_async_callback(receiver.close)
        _write_settings(folder, node, earlier)
        settings = read_settings(folder.settings, {})
        with screen.doing("PostgreSQL", "starting the embedded database") as tell:
            house = await _whole(stack.enter_async_context(open_house(settings, migrating=True)))
            tell("embedded, on a private socket")
        async with _served(house):
            with screen.doing("Kassa", "starting API, chain follower and webhook sender") as tell:
                state = await _state(folder, house, node, receiver, earlier)
                tell(f"API, follower, webhooks on {state.api_url}")
            async with Client(state.api_url, state.api_key) as client:
                yield Sandbox(state, client, node, receiver)


async def _start_node(stack: AsyncExitStack, folder: Folder, screen: Screen) -> DevNode:
    with screen.doing("Bitcoin node", "starting bitcoind on a chain of its own (regtest)") as tell:
        program = await asyncio.to_thread(find_or_install, "bitcoind", nodes_dir(), screen.note)
        if await asyncio.to_thread(folder.end_leftover_node):
            screen.note("ended the node that a killed sandbox had left behind")

        async def started() -> DevNode:
            node = await DevNode.start(program, folder.node)
            stack.push_async_callback(node.stop)
            return node

        node = await _whole(started())
        # A node whose last block is a day old takes itself for one that is catching up, and Kassa believes it.
        if (await node.rpc.call("getblockchaininfo"))["initialblockdownload"]:
            await node.mine()
        tell(f"{program.version}, {(await node.tip()).height} blocks")
    return node


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end even when interrupted, and be interrupted then: half a start would leave a process running."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.exception()  # looked at: an interrupted start may well have failed
        raise


@asynccontextmanager
async def _served(house: House) -> AsyncIterator[None]:
    """Run every role in this process while the block runs; whichever fails first is raised."""
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(house, ROLES, stop))
            try:
                yield
            finally:
                stop.set()
                await asyncio.wait([serving])
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None


async def _state(folder: Folder, house: House, node: DevNode, receiver: Receiver, earlier: State | None) -> State:
    api_url = house.settings.http.public_url
    if earlier is None:
        store_id, key = await _open_store(house)
    else:
        store_id, key = earlier.store_id, earlier.api_key
        receiver.secret = earlier.webhook_secret
    async with Client(api_url, key) as client:
        await client.until("/v1/networks", _follows, READY_SECONDS, "the node to be followed", patient=True)
        if earlier is None:
            state = await _furnish(client, store_id, key, node, receiver)
        else:
            await client.patch(f"/v1/webhooks/{earlier.webhook_id}", {"url": receiver.url})
            state = replace(earlier, pid=os.getpid(), api_url=api_url, receiver_url=receiver.url, node_url=node.rpc_url)
    folder.write(state)
    return state


async def _open_store(house: House) -> tuple[str, str]:
    """Make the demo store as `kassa store create` does; return its id and its API key."""
    now = house.clock.now()
    async with house.database.transaction() as tx:
        store = await stores.create_store(tx, "Demo shop", CURRENCY, False, now)
        _, key = await stores.create_key(tx, store, now, label="sandbox")
    return store.id, key


async def _furnish(client: Client, store_id: str, key: str, node: DevNode, receiver: Receiver) -> State:
    """Give a new store its wallet and its webhook, over the API as a merchant would."""
    await client.post("/v1/wallets", {"network": NETWORK, "descriptor": await _shop_descriptor(node)})
    webhook = await client.post("/v1/webhooks", {"url": receiver.url, "events": ["*"]})
    receiver.secret = webhook["secret"]
    return State(
        pid=os.getpid(),
        api_url=client.url,
        api_key=key,
        store_id=store_id,
        webhook_id=webhook["id"],
        webhook_secret=webhook["secret"],
        receiver_url=receiver.url,
        node_url=node.rpc_url,
        base_height=(await node.tip()).height,
    )


async def _shop_descriptor(node: DevNode) -> str:
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


def _follows(networks: Json) -> bool:
    return all(network["state"] == "ok" and network["lag_blocks"] == 0 for network in networks["data"])


def _write_settings(folder: Folder, node: DevNode, earlier: State | None) -> None:
    text = _SETTINGS.format(
        path=folder.settings,
        api=_port(earlier.api_url if earlier else None, _API_PORT),
        ops=_port(None, _OPS_PORT),
        rpc_url=node.rpc_url,
        zmq=", ".join(f'"{address}"' for address in node.push),
        rate=RATE,
    )
    folder.write_settings(text)


def _port(earlier_url: str | None, default: int) -> int:
    """Return the port of an earlier run, so that old addresses hold, or the default, or any that is free."""
    wanted = (urlsplit(earlier_url).port or default) if earlier_url else default
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
            probe.listen()
        except OSError:
            return free_port()
    return wanted
