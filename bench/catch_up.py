"""Catching up over full blocks, beside the time that downloading the same raw blocks takes.

Goals: with a million watched addresses at most 1.5 times the download, and at most 1.2 times a thousand's cost a block.
Run: python bench/catch_up.py
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.full_blocks import BLOCKS, PAYMENTS, full_chain
from kassa.chains.base import Connection, Keys
from kassa.chains.bitcoin.layout import COMPILED
from kassa.chains.bitcoin.source import BODIES_AHEAD
from kassa.chains.registry import FAMILIES
from kassa.chains.rpc import JsonRpc
from kassa.core.facts import Opened

ROUNDS = 9


class Watched:
    """Keys that stand still."""

    def __init__(self, count: int) -> None:
        self.destinations: Keys = np.unique(np.random.default_rng(1).integers(-(2**63), 2**63 - 1, count))
        self.outpoints: Keys = self.destinations[:: max(1, count // 1000)].copy()

    async def refresh(self) -> None:
        """Nothing is ever added."""

    async def open(self) -> Opened:
        """Nobody is being paid whose balance would have to be asked for."""
        return Opened()


async def measure() -> None:
    node, first, last = await full_chain(print)
    source = FAMILIES["bitcoin"].chain("bitcoin-regtest", "bitcoin-regtest", ()).connect(Connection(node.rpc_url))
    rpc = JsonRpc(node.rpc_url)
    few, many = Watched(1_000), Watched(1_000_000)
    try:
        print(f"{last - first + 1} blocks of {PAYMENTS} payments, fastest of {ROUNDS} rounds, {BODIES_AHEAD} in flight")
        print("scanner: " + ("compiled" if COMPILED else "Python"))

        async def download() -> None:
            await download_only(rpc, first, last)

        async def scan(watched: Watched) -> None:
            found = await source.blocks(first, last, watched)
            assert len(found) == BLOCKS

        runs: dict[str, Callable[[], Awaitable[None]]] = {
            "download only": download,
            "1,000 watched": lambda: scan(few),
            "1,000,000 watched": lambda: scan(many),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        cpu: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):  # the first round warms the node's cache and is not counted
            for name, run in runs.items():
                started, used = time.perf_counter(), time.process_time()
                await run()
                times[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
        report({name: min(taken[1:]) for name, taken in times.items()}, {name: min(cpu[name][1:]) for name in runs})
    finally:
        await source.close()
        await rpc.close()
        await node.stop()


async def download_only(rpc: JsonRpc, first: int, last: int) -> None:
    """Fetch the same bodies by the same calls, with as many in flight, and drop them."""
    hashes = await rpc.batch(str, [("getblockhash", (height,)) for height in range(first, last + 1)])
    waiting = iter(hashes)

    async def fetch() -> None:
        for block in waiting:
            assert await rpc.get(f"/rest/block/{block}.bin")

    async with asyncio.TaskGroup() as group:
        for _ in range(BODIES_AHEAD):
            group.create_task(fetch())


def report(times: dict[str, float], cpu: dict[str, float]) -> None:
    for name, seconds in times.items():
        wall, ours = [1000 * taken / BLOCKS for taken in (seconds, cpu[name])]
        print(f"  {name:20} {seconds:6.3f} s   {wall:6.2f} ms a block   {ours:6.2f} ms of our CPU a block")
    limit, few, many = times.values()
    print(f"1M watched / download  {many / limit:5.2f}   goal ≤ 1.50   {'met' if many / limit <= 1.5 else 'MISSED'}")
    print(f"1M watched / 1k        {many / few:5.2f}   goal ≤ 1.20   {'met' if many / few <= 1.2 else 'MISSED'}")


if __name__ == "__main__":
    asyncio.run(measure())
