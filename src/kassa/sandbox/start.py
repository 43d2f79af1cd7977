"""Start everything that a sandbox is made of: nodes, a database, Kassa with every role, a receiver of webhooks."""

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

import kassa.audit.store as audit
import kassa.people.store as people
from kassa import flow, logs
from kassa.audit.model import KASSA, Actor
from kassa.chains.devprocess import free_port
from kassa.house import House
from kassa.main import ROLES, open_house, serve
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.proofs import new_totp_secret
from kassa.sandbox import chains
from kassa.sandbox.chains import Chains
from kassa.sandbox.client import Client, Json
from kassa.sandbox.receiver import Hear, Receiver
from kassa.sandbox.screen import Screen
from kassa.sandbox.state import Folder, State
from kassa.sandbox.whole import whole
from kassa.settings import read_settings

BY = Actor("sandbox")
CURRENCY = "EUR"
_OWNER = "owner@sandbox.example"
READY_SECONDS = 60
"""Longer than a lease: a follower that was killed keeps its network for some seconds."""
_API_PORT, _RECEIVER_PORT, _OPS_PORT = 8080, 8081, 9464
_SETTINGS = """\
# Written by `kassa sandbox` each time it starts; what you change here is lost.
# Other commands can be tried on the running sandbox: kassa store list --config {path}
data_dir = "kassa"

[http]
listen = "127.0.0.1:{api}"
public_url = "http://127.0.0.1:{api}"
ops_listen = "127.0.0.1:{ops}"

{networks}
[rates]
fixed = {{ {rates} }}

[webhooks]
allow_private_addresses = true  # the receiver is on this machine
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox, as the story and the terminal use it."""

    state: State
    client: Client
    chains: Chains
    receiver: Receiver
    dashboard: str
    """A link that signs in as the store's owner, once."""


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
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup(1) leaves it
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
        running = await chains.start(stack, folder, screen, earlier)
        receiver = Receiver(hear)
        await receiver.start(_port(stack, earlier.receiver_url if earlier else None, _RECEIVER_PORT))
        stack.push_async_callback(receiver.close)
        _write_settings(stack, folder, running, earlier)
        settings = read_settings(folder.settings, {})
        with screen.doing("PostgreSQL", "starting the embedded database") as tell:
            house = await whole(stack.enter_async_context(open_house(settings, migrating=True)))
            tell("embedded, on a private socket")
        async with _served(house):
            with screen.doing("Kassa", "starting API, chain follower and webhook sender") as tell:
                state = await _state(folder, house, running, receiver, earlier)
                tell(f"API, follower, webhooks on {state.api_url}")
            async with Client(state.api_url, state.api_key) as client:
                yield Sandbox(state, client, running, receiver, await _dashboard(house, state.store_id))


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


async def _state(folder: Folder, house: House, running: Chains, receiver: Receiver, earlier: State | None) -> State:
    api_url = house.settings.http.public_url
    if earlier is None:
        store_id, key = await _open_store(house)
    else:
        store_id, key = earlier.store_id, earlier.api_key
        receiver.secret = earlier.webhook_secret
    async with Client(api_url, key) as client:
        await client.until("/v1/networks", _follows, READY_SECONDS, "the node to be followed", patient=True)
        if earlier is None:
            state = await _furnish(client, store_id, key, running, receiver)
        else:
            await client.patch(f"/v1/webhooks/{earlier.webhook_id}", {"url": receiver.url})
            await _add_wallets(client, running)
            nodes = await running.notes(earlier)
            state = replace(earlier, pid=os.getpid(), api_url=api_url, receiver_url=receiver.url, nodes=nodes)
    folder.write(state)
    return state


async def _open_store(house: House) -> tuple[str, str]:
    """Make the demo store as `kassa store create` does; return its id and its API key."""
    now = house.clock.now()
    async with house.database.transaction() as tx:
        store = await flow.create_store(tx, BY, "Demo shop", CURRENCY, False, now)
        _, key = await flow.create_key(tx, house, BY, store, now, label="sandbox")
    return store.id, key


async def _dashboard(house: House, store_id: str) -> str:
    """Make the demo store's owner, if there is none yet, and a link that signs them in."""
    now = house.clock.now()
    async with house.database.transaction() as tx:
        owner = await people.create(tx, _OWNER, "Demo owner", now)
        if store_id not in await people.stores_of(tx, owner.id):
            await people.put_member(tx, store_id, owner.id, Role.OWNER, now)
            told = {"email": _OWNER, "role": Role.OWNER.value}
            await audit.record(tx, BY, "member.joined", owner.id, now, store_id=store_id, after=told)
        # An app that nobody has, so that the link opens the demo at once instead of asking for one.
        if not owner.has_second_factor:
            await people.set_totp(tx, owner.id, house.seal.lock(owner.id, new_totp_secret()), 0)
        token = await membership.invite(tx, house.seal, KASSA, _OWNER, None, now)
    return f"{house.settings.http.public_url}/dashboard/invitation/{token}"


async def _furnish(client: Client, store_id: str, key: str, running: Chains, receiver: Receiver) -> State:
    """Give a new store its wallets and its webhook, over the API as a merchant would."""
    await _add_wallets(client, running)
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
        nodes=await running.notes(None),
    )


async def _add_wallets(client: Client, running: Chains) -> None:
    """Add the wallets that the store lacks: a sandbox may have begun before a node could be had."""
    held = {wallet["network"] for wallet in (await client.get("/v1/wallets"))["data"]}
    for network, descriptor in (await running.descriptors()).items():
        if network not in held:
            await client.post("/v1/wallets", {"network": network, "descriptor": descriptor})


def _follows(networks: Json) -> bool:
    return all(network["state"] == "ok" and network["lag_blocks"] == 0 for network in networks["data"])


def _write_settings(stack: AsyncExitStack, folder: Folder, running: Chains, earlier: State | None) -> None:
    text = _SETTINGS.format(
        path=folder.settings,
        api=_port(stack, earlier.api_url if earlier else None, _API_PORT),
        ops=_port(stack, None, _OPS_PORT),
        networks=running.settings(),
        rates=", ".join(f'"{pair}" = "{rate}"' for pair, rate in chains.RATES.items()),
    )
    folder.write_settings(text)


def _port(stack: AsyncExitStack, earlier_url: str | None, default: int) -> int:
    """Return the port of an earlier run, so that old addresses hold, or the default, or any that is free."""
    wanted = (urlsplit(earlier_url).port or default) if earlier_url else default
    # Nobody listens there for seconds to come: that it is given away, another sandbox sees by its number in UDP.
    given = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            given.bind(("127.0.0.1", wanted))
            probe.bind(("127.0.0.1", wanted))
            probe.listen()
        except OSError:
            return free_port()
    return wanted
