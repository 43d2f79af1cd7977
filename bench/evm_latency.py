"""From broadcast to signed webhook received on an EVM chain, on the real program, beside the node's word of the block.

Goal: at most 150 ms (median) on anvil over WebSocket, where each transaction is mined at once. The limit of the same
run is the time until a bare subscriber hears of the block (`newHeads`): nobody can know of it earlier.
Run: python bench/evm_latency.py
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import aiohttp
from standardwebhooks import Webhook

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode, AnvilOptions
from kassa.sandbox.nodes import find_or_install, nodes_dir
from tests.e2e.program import installed
from tests.house import XPUB
from tests.tools.sink import Got, Sink

RUNS = 60
GOAL_SECONDS = 0.15


async def measure() -> None:
    bitcoind = await asyncio.to_thread(find_or_install, "bitcoind", nodes_dir(), print)
    program = await asyncio.to_thread(find_or_install, "anvil", nodes_dir(), print)
    with tempfile.TemporaryDirectory() as folder:
        first = await DevNode.start(bitcoind, Path(folder) / "bitcoind")
        node = await AnvilNode.start(program, Path(folder) / "anvil", AnvilOptions(automine=True))
        try:
            await node.deploy("USDC", 6)
            heard, received = await runs(Path(folder) / "kassa", first, node)
        finally:
            await node.stop()
            await first.stop()
    report(heard, received)


async def runs(folder: Path, first: DevNode, node: AnvilNode) -> tuple[list[float], list[float]]:
    """Pay invoices in ether and in the token by turns; return what a subscriber and a receiver took."""
    heard, received = [], []
    async with Sink() as sink, installed(folder, first, "embedded") as kassa:
        token = f'{{ symbol = "USDC", contract = "{node.tokens["USDC"]}", decimals = 6 }}'
        kassa.add(
            f'[networks.anvil]\nfamily = "evm"\nchain_id = 31337\nrpc_url = "{node.websocket_url}"',
            f"tokens = [{token}]\nconfirmations = [{{ blocks = 1 }}]",
        )
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store(anvil=XPUB)
        body = {"url": f"{sink.url}/hook", "events": ["payment.settled"]}
        _, endpoint = await kassa.call("POST", "/v1/webhooks", body)
        for run in range(RUNS):
            symbol, units = ("ETH", 10**16) if run % 2 else ("USDC", 25 * 10**6)
            invoice = await kassa.invoice(payment_options=[f"{symbol}@anvil"])
            told, came = await one_run(node, sink, invoice["payment_options"][0]["address"], symbol, units)
            Webhook(endpoint["secret"]).verify(came[1].body, came[1].headers)
            heard.append(told)
            received.append(came[0])
            print(f"\rrun {run + 1} of {RUNS}", end="", flush=True)
    return heard, received


async def one_run(
    node: AnvilNode, sink: Sink, address: str, symbol: str, units: int
) -> tuple[float, tuple[float, Got]]:
    """Pay once; return the seconds until a bare subscriber heard of the block, and until the webhook was received."""
    already = len(sink.got)
    async with aiohttp.ClientSession() as session, session.ws_connect(node.websocket_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        await socket.receive()
        await asyncio.sleep(0.05)  # until everything else is at rest
        started = time.monotonic()
        paying = asyncio.create_task(node.fund(address, units, symbol))
        await socket.receive()
        told = time.monotonic() - started
        await paying
    await sink.until(lambda: len(sink.got) > already)
    came = sink.got[already]
    return told, (came.at - started, came)


def report(heard: list[float], received: list[float]) -> None:
    spread = quantiles(received, n=20)
    print(f"\rbroadcast -> signed webhook received, {len(received)} runs, anvil, WebSocket, mined at once")
    print(f"  median {1000 * median(received):.1f} ms (5 % {1000 * spread[0]:.1f}, 95 % {1000 * spread[-1]:.1f})")
    print(f"  limit: the node's own word of the block, median {1000 * median(heard):.1f} ms")
    print(f"  ratio {median(received) / median(heard):.1f}; goal: at most {1000 * GOAL_SECONDS:.0f} ms")


if __name__ == "__main__":
    asyncio.run(measure())
