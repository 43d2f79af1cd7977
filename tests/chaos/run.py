"""One chaos run: the whole program under a plan of faults, then the verdict."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic

import asyncpg

from kassa.core.errors import KassaError
from tests.chaos.plan import plan
from tests.chaos.shoppers import Shoppers
from tests.chaos.stage import Stage
from tests.chaos.tenants import keeps_apart
from tests.chaos.verdict import judge
from tests.house import BITCOIN, TPUB, XPUB

CLIENTS = 4
CUSTOMERS = 3
BLOCK_SECONDS = 1.2
CALM_SECONDS = 150
"""How long catching up may take once nothing is broken any more."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Told:
    """What a run was like."""

    acts: int
    invoices: int
    repeats: int
    payments: int
    statuses: dict[str, int]
    starts: int
    deliveries: int
    calm_seconds: float


async def chaos(stage: Stage, seed: int, seconds: float, say: Say) -> Told:
    """Play a run; raise `AssertionError` when something that must hold does not."""
    (secrets, hook), (others, _) = await _open(stage, "Chaos"), await _open(stage, "Other")
    stage.start()
    await _until(stage, _serving, "both APIs answer", 120)
    shoppers, strangers = Shoppers(stage, secrets[0], Random(seed)), Shoppers(stage, others[0], Random(-1 - seed))
    await shoppers.register(CUSTOMERS)
    await strangers.register(1)
    say(f"seed {seed}: {CLIENTS} clients, {CUSTOMERS} customers, faults for {seconds:.0f} s")
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        mining = group.create_task(_mine(stage))
        clients = [group.create_task(shoppers.shop(over)) for _ in range(CLIENTS)]
        clients.append(group.create_task(strangers.shop(over)))
        acts = await _play(stage, seed, seconds, shoppers, say)
        stage.heal()
        over.set()
        say("calm: every fault is taken back; catching up")
        began = monotonic()
        await _until(stage, _all_done(clients), "every client got its answers", CALM_SECONDS)
        mining.cancel()
    await _settle_down(stage, hook)
    calm = monotonic() - began
    await _until(stage, _serving, "both APIs answer again", CALM_SECONDS)
    for mine, foreign in ((shoppers, strangers), (strangers, shoppers)):
        await keeps_apart(stage.urls[0], mine, foreign)
    # One that had only just been started again has nothing yet that it could end in good order.
    assert set(await stage.end()) <= {0, -signal.SIGTERM}, f"SIGTERM was not obeyed: {stage.exits[-6:]}"
    say(f"caught up after {calm:.0f} s; judging")
    await judge(stage, [shoppers, strangers], [*secrets, *others])
    return Told(
        acts, len(shoppers.made), shoppers.repeats, shoppers.payments, await _statuses(stage),
        sum(stage.starts.values()), len(stage.sink.got), calm,
    )  # fmt: skip


async def _open(stage: Stage, name: str) -> tuple[list[str], str]:
    """Make a store with wallets and a receiver; return its secrets, the key first, and the receiver's id.

    All stores have the same wallets: not even those keep their invoices apart.
    """
    assert (await stage.run("migrate"))[0] == 0
    code, said = await stage.run("store", "create", "--name", name, "--currency", "EUR", "--test", "--json")
    assert code == 0, said
    made = json.loads(said.splitlines()[-1])
    for network, key in ((BITCOIN, TPUB), ("anvil", XPUB)):
        wallet = ("wallet", "add", "--store", made["store_id"], "--network", network, "--descriptor", key, "--json")
        code, said = await stage.run(*wallet)
        assert code == 0, said
    url = f"http://127.0.0.1:{stage.wires['receiver'].port}/hook"
    code, said = await stage.run("webhook", "add", "--store", made["store_id"], "--url", url, "--json")
    assert code == 0, said
    hook = json.loads(said.splitlines()[-1])
    return [made["api_key"], hook["secret"]], hook["id"]


async def _play(stage: Stage, seed: int, seconds: float, shoppers: Shoppers, say: Say) -> int:
    began, done = monotonic(), 0
    for act in plan(seed, seconds):
        await asyncio.sleep(max(0, act.at - (monotonic() - began)))
        say(f"{act}   [{len(shoppers.made)} invoices, {shoppers.payments} payments, {len(stage.sink.got)} deliveries]")
        with suppress(KassaError):  # a fork of a node that has nothing to undo
            await stage.act(act)
        done += 1
    await asyncio.sleep(max(0, seconds - (monotonic() - began)))
    return done


async def _mine(stage: Stage) -> None:
    while True:
        for name, node in (("bitcoin", stage.bitcoin), ("anvil", stage.anvil)):
            async with stage.locks[name]:
                await node.mine()
        await asyncio.sleep(BLOCK_SECONDS)


async def _settle_down(stage: Stage, hook: str) -> None:
    """Bury what is unconfirmed, wait until both networks are seen whole, nothing is due, and every event came."""
    for node in (stage.bitcoin, stage.anvil):
        await node.mine(3)  # type: ignore[attr-defined]
    await _until(stage, _seen_whole, "both networks are seen whole", CALM_SECONDS)
    # What failed often enough is due only after a long pause: a person would press the button, so do we.
    connection = await asyncpg.connect(stage.server.url)
    try:
        await connection.execute("update deliveries set due_at = now() where state = 'due'")
    finally:
        await connection.close()
    await _until(stage, _delivered, f"every delivery to {hook} was made", CALM_SECONDS)


async def _serving(stage: Stage, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    for url in stage.urls:
        port = int(url.rpartition(":")[2])
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
    return bool(
        await connection.fetchval("select count(*) = 2 from networks where state = 'ok' and observed_at is not null")
    )


async def _seen_whole(stage: Stage, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    tips = {BITCOIN: (await stage.bitcoin.tip()).hash, "anvil": (await stage.anvil.tip()).hash}
    rows = await connection.fetch("select id, hash, state from networks")
    if {row["id"]: row["hash"] for row in rows} != tips or any(row["state"] != "ok" for row in rows):
        return False
    # A whole look, made since the tips were read, with nothing left that only the clock decides.
    return bool(
        await connection.fetchval(
            """select min(observed_at) > now() - interval '4 seconds' and not exists (
                   select from invoices where deadline < now() - interval '4 seconds') from networks"""
        )
    )


def _all_done(tasks: list[asyncio.Task[None]]) -> Callable[..., object]:
    async def done(_: Stage, __: object) -> bool:
        return all(task.done() for task in tasks)

    return done


async def _delivered(_: Stage, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    return not await connection.fetchval("select count(*) from deliveries where state = 'due'")


async def _until(stage: Stage, holds: Callable[..., object], what: str, seconds: float) -> None:
    connection = await asyncpg.connect(stage.server.url)
    try:
        async with asyncio.timeout(seconds):
            while not await holds(stage, connection):  # type: ignore[misc]  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"within {seconds} s {what}: no\n{await _scene(connection)}") from None
    finally:
        await connection.close()


async def _scene(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """Describe who waits for whom: what a person would want to see of a run that does not come to rest."""
    networks = await connection.fetch("select id, state, height, observed_at, lease_until from networks")
    states = Counter(row["state"] for row in await connection.fetch("select state from deliveries"))
    sessions = await connection.fetch(
        """select pid, state, wait_event, now() - state_change as since, pg_blocking_pids(pid) as blocked_by,
               left(query, 120) as query
           from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
               and (state <> 'idle' or cardinality(pg_blocking_pids(pid)) > 0) order by state_change"""
    )
    return "\n".join(map(str, [*networks, dict(states), *sessions]))


async def _statuses(stage: Stage) -> dict[str, int]:
    connection = await asyncpg.connect(stage.server.url)
    try:
        rows = await connection.fetch("select status, count(*) from invoices group by 1 order by 1")
    finally:
        await connection.close()
    return {row["status"]: row["count"] for row in rows}
