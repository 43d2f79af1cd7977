"""Kassa's loops in a process of their own, to be killed, stopped and started again.

`python -m tests.faults.runner MODE DATABASE_URL FOLDER RPC_URL`: `follow` a node and let the clock's gate come by;
`tick` does only the latter; `invoice` opens one invoice and prints it. Ends with status 3 when the lease is lost.
`RUNNER_FREEZE=point` stops the process (SIGSTOP) once at a crash point, or at `read`: after blocks were read and before
they are committed. `RUNNER_LEASE`, `RUNNER_IDLE` and `RUNNER_BLOCKS` set what is constant in production.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kassa import flow
from kassa.chains.base import ChainSource, Connection, Watched
from kassa.core.clock import SystemClock
from kassa.core.errors import LeaseLost
from kassa.core.facts import Block
from kassa.db import pool
from kassa.db.pool import Database
from kassa.flow import chain as chain_gate
from kassa.house import House
from kassa.invoices.model import Order
from kassa.settings import Network
from kassa.stores import store as stores
from kassa.workers import follow_chain, tick
from tests.house import BITCOIN, build_house, regtest

LOST = 3
_frozen = False


def network(rpc_url: str) -> Network:
    return regtest(rpc_url=rpc_url, poll_seconds=1, drop_after_seconds=1)


async def main(mode: str, database_url: str, folder: str, rpc_url: str) -> None:
    follow_chain.LEASE_SECONDS = int(os.environ.get("RUNNER_LEASE", "10"))
    follow_chain.BLOCKS_AT_ONCE = int(os.environ.get("RUNNER_BLOCKS", "100"))
    pool.IDLE_SECONDS = int(os.environ.get("RUNNER_IDLE", pool.IDLE_SECONDS))
    tick.TICK_SECONDS = float(os.environ.get("RUNNER_TICK", "0.1"))
    database = await Database.open(database_url, connections=5)
    house = await build_house(database, Path(folder), {BITCOIN: network(rpc_url)}, SystemClock())  # type: ignore[arg-type]
    if mode == "invoice":
        await _open_invoice(house)
        await house.marks.close()
        await database.close()
        return
    if "RUNNER_FREEZE" in os.environ:
        house = _freezing(house, os.environ["RUNNER_FREEZE"])
    async with asyncio.TaskGroup() as group:
        group.create_task(tick.tick(house))
        if mode == "follow":
            group.create_task(_follow(house))


async def _follow(house: House) -> None:
    try:
        await follow_chain.follow_chain(house, BITCOIN)
    except LeaseLost:
        os._exit(LOST)


async def _open_invoice(house: House) -> None:
    async with house.database.transaction() as tx:
        store = (await stores.list_stores(tx))[0]
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR"), house.clock.now())
    async with house.database.transaction() as tx:
        made = await flow.open_invoice(tx, house, opening, house.clock.now())
    print(json.dumps(made), flush=True)


def _freezing(house: House, point: str) -> House:
    real_point, real_connect = chain_gate.crashpoint, house.chains[BITCOIN].connect

    def at(name: str) -> None:
        if name == point:
            _freeze()
        real_point(name)

    def connect(connection: Connection) -> ChainSource:
        source = real_connect(connection)
        real_blocks = source.blocks

        async def blocks(first: int, last: int, watched: Watched) -> Sequence[Block]:
            found = await real_blocks(first, last, watched)
            at("read")
            return found

        source.blocks = blocks  # type: ignore[method-assign]
        return source

    chain_gate.crashpoint = at
    return replace(house, chains={BITCOIN: replace(house.chains[BITCOIN], connect=connect)})


def _freeze() -> None:
    global _frozen  # noqa: PLW0603  # once in the life of the process
    if not _frozen:
        _frozen = True
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
