"""Catching up over blocks full of token transfers, beside fetching and discarding the very same responses.

Goals: with a million watched addresses at most 1.5 times the download, and at most 1.2 times a thousand's cost a block.
Run: python bench/evm_catch_up.py
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from eth_abi.abi import encode

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa.chains import envelope
from kassa.chains.base import ChainSource, Connection, Keys
from kassa.chains.evm.addresses import address_key
from kassa.chains.evm.ahead import REQUESTS_AHEAD
from kassa.chains.evm.demotoken import mint
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.http import Http
from kassa.chains.registry import FAMILIES
from kassa.core.facts import Opened
from kassa.core.money import Token
from kassa.sandbox.nodes import find_or_install, nodes_dir
from tests.contracts.deploy import artifact

BLOCKS, TRANSACTIONS, TRANSFERS = 2_000, 5, 10  # transactions in each block, token transfers in each transaction
# Blocks at the end in each of which one transfer is ours: anvil takes seconds to find a balance in older ones.
OURS = 100
STRANGERS = 2_000  # who get the other transfers in turn: with more, anvil takes longer to mine than to do all else
ROUNDS = 3
_GAS = hex(1_000_000)
_TYPES = ("address[]", "uint256[]", "address", "address[]", "uint256[]")
_PAY = "0x" + artifact("BatchPayer")["selectors"][f"pay({','.join(_TYPES)})"]


class Watched:
    """Keys that stand still: those of the paid addresses, and others up to `count`."""

    def __init__(self, paid: Sequence[bytes], count: int) -> None:
        others = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, count - len(paid))
        ours = np.array([address_key(address) for address in paid], np.int64)
        self.destinations: Keys = np.unique(np.concatenate((others, ours)))
        self.outpoints: Keys = self.destinations[:: max(1, count // 1000)].copy()

    async def refresh(self) -> None:
        """Nothing is ever added."""

    async def open(self) -> Opened:
        """Nobody is being paid whose balance would have to be asked for."""
        return Opened()


Requests = dict[object, list[bytes]]
"""What each piece of reading asked, in order: pieces run beside each other, the requests of one follow each other."""


@asynccontextmanager
async def recording() -> AsyncIterator[Requests]:
    """Note every request that is sent over HTTP meanwhile."""
    asked: Requests = {}
    honest = Http.ask

    async def ask(
        self: Http, calls: Sequence[envelope.Call], result: Hashable = None
    ) -> list[envelope.Answer] | list[envelope.Read[Any]]:
        asked.setdefault(asyncio.current_task(), []).append(envelope.request(calls))
        return await honest(self, calls, result)

    Http.ask = ask  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        Http.ask = honest  # type: ignore[method-assign]


async def build(node: AnvilNode) -> list[bytes]:
    """Mine the blocks; return the addresses among the receivers that are to be ours."""
    started = time.perf_counter()
    await node.deploy("USDC", 6)
    minter, contract = (await node.accounts())[0], node.tokens["USDC"]
    payer = await _payer(node)
    await node.send({"from": minter, "to": contract, "data": mint(payer, 10**12)})
    await node.mine()
    strangers = cycle([await node.address() for _ in range(STRANGERS)])
    paid = list[bytes]()
    for block in range(BLOCKS):
        calls = list[tuple[dict[str, str]]]()
        for _ in range(TRANSACTIONS):
            to = list(islice(strangers, TRANSFERS))
            if not calls and block >= BLOCKS - OURS:
                to[0] = await node.address()
                paid.append(bytes.fromhex(to[0][2:]))
            values: tuple[object, ...] = ([], [], contract, to, list(range(1, TRANSFERS + 1)))
            calls.append(({"from": minter, "to": payer, "gas": _GAS, "data": _PAY + encode(_TYPES, values).hex()},))
        await node.rpc.each("eth_sendTransaction", calls)
        await node.rpc.call("anvil_mine", "0x1")
        if block % 500 == 499:
            print(f"  built {block + 1} of {BLOCKS} blocks, {time.perf_counter() - started:.0f} s", flush=True)
    return paid


async def _payer(node: AnvilNode) -> str:
    """Deploy the contract that pays many at once; return its address."""
    txid = await node.send({"data": artifact("BatchPayer")["bytecode"]})
    await node.mine()
    return str((await node.rpc.call("eth_getTransactionReceipt", txid))["contractAddress"])


async def download(url: str, asked: Requests) -> int:
    """Send the same requests, as many beside each other, and drop what is answered; return its bytes."""
    pieces = iter(asked.values())
    size = 0

    async def fetch(session: aiohttp.ClientSession) -> None:
        nonlocal size
        for piece in pieces:
            for request in piece:
                async with session.post(url, data=request, headers={"Content-Type": "application/json"}) as response:
                    size += len(await response.read())

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(REQUESTS_AHEAD):
            group.create_task(fetch(session))
    return size


async def measure(node: AnvilNode, paid: Sequence[bytes], internal: str) -> None:
    token = Token("USDC", node.tokens["USDC"], 6)
    chain = FAMILIES["evm"].chain("31337", "anvil", (token,))
    source = chain.connect(Connection(node.rpc_url, internal=internal))
    last = (await node.tip()).height
    first = last - BLOCKS + 1
    few, many = Watched(paid, 1_000), Watched(paid, 1_000_000)
    await source.check()
    async with recording() as asked:
        await read(source, first, last, many, len(paid))
    size = await download(node.rpc_url, asked)
    print(
        f"internal = {internal}: {sum(map(len, asked.values()))} requests, {size / 1e6:.0f} MB, best of {ROUNDS} rounds"
    )
    runs: dict[str, Callable[[], Awaitable[object]]] = {
        "download only": lambda: download(node.rpc_url, asked),
        "1,000 watched": lambda: read(source, first, last, few, len(paid)),
        "1,000,000 watched": lambda: read(source, first, last, many, len(paid)),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            await run()
            times[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
    await source.close()
    report({name: min(taken) for name, taken in times.items()}, {name: min(taken) for name, taken in cpu.items()})


async def read(source: ChainSource, first: int, last: int, watched: Watched, paid: int) -> None:
    """Read all blocks as a follower does, a hundred at a time, and find exactly what is ours."""
    found = 0
    for start in range(first, last + 1, 100):
        for block in await source.blocks(start, min(start + 99, last), watched):
            found += sum(len(transaction.transfers) for transaction in block.transactions)
            assert not block.doubts
    assert found == paid, (found, paid)


def report(times: dict[str, float], cpu: dict[str, float]) -> None:
    for name, seconds in times.items():
        print(
            f"  {name:20} {seconds:6.2f} s   {seconds / BLOCKS * 1000:6.2f} ms a block   {cpu[name]:6.2f} s of our CPU"
        )
    limit, few, many = times.values()
    print(f"1M watched / download  {many / limit:5.2f}   goal ≤ 1.50   {'met' if many / limit <= 1.5 else 'MISSED'}")
    print(f"1M watched / 1k        {many / few:5.2f}   goal ≤ 1.20   {'met' if many / few <= 1.2 else 'MISSED'}")


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kassa-bench-") as folder:
        program = find_or_install("anvil", nodes_dir(), print)
        node = await AnvilNode.start(program, Path(folder))
        try:
            print(f"{BLOCKS * TRANSACTIONS * TRANSFERS:,} token transfers in {BLOCKS:,} blocks, {OURS} of them ours")
            paid = await build(node)
            for internal in ("auto", "off"):
                await measure(node, paid, internal)
        finally:
            await node.kill()


if __name__ == "__main__":
    asyncio.run(main())
