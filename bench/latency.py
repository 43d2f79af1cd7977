"""From broadcast to signed webhook received, on the real program, beside the moment at which the node itself tells.

Goal: at most 100 ms (median) on regtest with ZMQ over loopback. The limit of the same run is the time until a bare ZMQ
subscriber hears of the same transaction: nobody can know of it earlier.
Run: python bench/latency.py
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import zmq
import zmq.asyncio
from standardwebhooks import Webhook

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa.chains.bitcoin.devnode import DevNode
from kassa.sandbox.nodes import find_or_install, nodes_dir
from tests.e2e.program import installed
from tests.tools.sink import Got, Sink

RUNS = 60
GOAL_SECONDS = 0.1


async def measure() -> None:
    program = await asyncio.to_thread(find_or_install, "bitcoind", nodes_dir(), print)
    with tempfile.TemporaryDirectory() as folder:
        node = await DevNode.start(program, Path(folder) / "node")
        try:
            async with Sink() as sink, installed(Path(folder) / "kassa", node, "embedded") as kassa:
                await kassa.start("up")
                await kassa.ready()
                await kassa.open_store()
                body = {"url": f"{sink.url}/hook", "events": ["payment.detected"]}
                _, endpoint = await kassa.call("POST", "/v1/webhooks", body)
                heard, received = [], []
                for run in range(RUNS):
                    invoice = await kassa.invoice()
                    raw = await node.draft([(invoice["payment_options"][0]["address"], 100_000)])
                    told, came = await one_run(node, sink, raw)
                    Webhook(endpoint["secret"]).verify(came[1].body, came[1].headers)
                    heard.append(told)
                    received.append(came[0])
                    print(f"\rrun {run + 1} of {RUNS}", end="", flush=True)
                    if run % 20 == 19:
                        await node.mine()
        finally:
            await node.stop()
    report(heard, received)


async def one_run(node: DevNode, sink: Sink, raw: str) -> tuple[float, tuple[float, Got]]:
    """Broadcast one transaction; return the seconds until ZMQ told of it, and until its webhook was received."""
    context = zmq.asyncio.Context()
    listener = context.socket(zmq.SUB)
    listener.connect(node.push[0])
    listener.subscribe(b"rawtx")
    already = len(sink.got)
    await asyncio.sleep(0.05)  # until the subscription stands, and everything else is at rest
    started = time.monotonic()
    broadcasting = asyncio.create_task(node.broadcast(raw))
    await listener.recv_multipart()
    told = time.monotonic() - started
    await broadcasting
    await sink.until(lambda: len(sink.got) > already)
    listener.close(0)
    context.term()
    came = sink.got[already]
    return told, (came.at - started, came)


def report(heard: list[float], received: list[float]) -> None:
    spread = quantiles(received, n=20)
    print(
        f"\rbroadcast -> signed webhook received, {len(received)} runs, ZMQ, loopback, embedded database with fsync on"
    )
    print(f"  median {1000 * median(received):.1f} ms (5 % {1000 * spread[0]:.1f}, 95 % {1000 * spread[-1]:.1f})")
    print(f"  limit: the node's own word by ZMQ, median {1000 * median(heard):.1f} ms")
    print(f"  ratio {median(received) / median(heard):.1f}; goal: at most {1000 * GOAL_SECONDS:.0f} ms")


if __name__ == "__main__":
    asyncio.run(measure())
