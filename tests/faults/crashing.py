"""A shop that was left behind its node, ready to be caught up with: by processes that die on the way."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from kassa import flow
from kassa.chains.base import Connection
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.clock import SystemClock
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices.model import Order
from kassa.stores.model import Store
from kassa.watch import store as watch
from kassa.workers.follow_chain import Follower
from tests.faults.runner import network
from tests.house import BITCOIN, add_store, build_house

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 60


@dataclass
class Databases:
    """Copies of databases, made in milliseconds; no connection may be open to what is copied."""

    url: str
    template: str
    made: list[str]

    async def copy(self, of: str | None = None) -> str:
        """Return the URL of a copy of a database, or of an empty, migrated one."""
        name = f"kassa_crash_{uuid4().hex[:12]}"
        source = self.template if of is None else urlsplit(of).path.lstrip("/")
        admin = await asyncpg.connect(self.url)
        try:
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", source)
            await admin.execute(f"create database {name} template {source} strategy file_copy")
        finally:
            await admin.close()
        self.made.append(name)
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, "/" + name, parts.query, parts.fragment))

    async def drop(self) -> None:
        admin = await asyncpg.connect(self.url)
        for name in self.made:
            await admin.execute(f"drop database {name} with (force)")
        await admin.close()


@asynccontextmanager
async def opened(url: str, folder: Path, rpc_url: str) -> AsyncIterator[House]:
    """Open a house on a database, with the settings of the runner."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True, parents=True)
    database = await Database.open(url, connections=4)
    house = await build_house(database, folder, {BITCOIN: network(rpc_url)}, SystemClock())  # type: ignore[arg-type]
    try:
        yield house
    finally:
        await house.marks.close()
        await database.close()


async def follow_once(house: House, rpc_url: str, looks: int = 1) -> None:
    """Look at the node in this process, and leave the lease to the next."""
    async with house.database.transaction() as tx:
        await watch.register(tx, BITCOIN, BITCOIN)
        await tx.execute("update networks set lease_until = null")
        position = await watch.take_lease(tx, BITCOIN, "test", 60)
    assert position is not None
    source = house.chains[BITCOIN].connect(Connection(rpc_url))
    follower = Follower(house, house.settings.networks[BITCOIN], source, position)
    for _ in range(looks):
        await follower.look()
    async with house.database.transaction() as tx:
        await watch.release_lease(tx, BITCOIN, position.fence)
    await source.close()


async def open_shop(house: House) -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house)


async def invoice(house: House, store: Store, expires_in: int = 3600) -> tuple[str, int]:
    """Open an invoice over 50 EUR; return its address and what is due."""
    now = house.clock.now()
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR", expires_in=expires_in), now)
    async with house.database.transaction() as tx:
        made = await flow.open_invoice(tx, house, opening, now)
    return made["payment_options"][0]["address"], 100_000


class Run:
    """A runner process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def running(url: str, folder: Path, rpc_url: str, mode: str = "follow", **environment: str) -> AsyncIterator[Run]:
    """Run the loops in a process; it is killed at the end if it still runs."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True, parents=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.faults.runner", mode, url, str(folder), rpc_url),
        cwd=ROOT,
        env=os.environ | {"KASSA_CRASH": ""} | environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Run(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(holds: Callable[[], Awaitable[Any]], what: str) -> None:
    """Wait for a condition, with a limit."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():  # noqa: ASYNC110  # another process brings it about
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} within {PATIENCE_SECONDS} seconds") from None


async def free_lease(url: str) -> None:
    """Do what time would do: let the lease of a dead process run out."""
    connection = await asyncpg.connect(url)
    await connection.execute("update networks set lease_until = null")
    await connection.close()


async def caught_up(url: str, node: DevNode) -> None:
    """Wait until a follower stands on the node's tip and has looked into the mempool, with nothing left to decide."""
    connection = await asyncpg.connect(url)
    tip, since = await node.tip(), await connection.fetchval("select clock_timestamp()")

    async def holds() -> bool:
        return bool(
            await connection.fetchval(
                """select hash = $1 and observed_at > $2 and not exists (
                       select from invoices where deadline < $2)
                   from networks where id = $3""",
                tip.hash,
                since,
                BITCOIN,
            )
        )

    await until(holds, "the follower caught up")
    await connection.close()


async def story(house: House) -> list[tuple[str, ...]]:
    """Return what was announced of each invoice, in order, without ids and times."""
    rows = await house.database.pool.fetch(
        """select e.invoice_id, e.type, e.object::json ->> 'txid' as txid, e.object::json ->> 'position' as position,
               e.object::json ->> 'status' as status, e.object::json ->> 'amount_paid' as paid
           from events e order by e.invoice_id, e.position"""
    )
    return [tuple(str(value) for value in row) for row in rows]
