"""The relay of notifications passes them on until told, and then loses, repeats and forges exactly as told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import zmq
import zmq.asyncio

from kassa.chains.bitcoin.devnode import DevNode
from tests.tools.hints import Hints

Read = asyncio.Queue[tuple[str, bytes]]


@pytest.fixture
async def hints(bitcoind: DevNode) -> AsyncIterator[Hints]:
    async with Hints(bitcoind.push[0]) as relay:
        yield relay


@pytest.fixture
async def heard(hints: Hints, bitcoind: DevNode) -> AsyncIterator[Read]:
    """What a subscriber to `hashblock` hears through the relay."""
    context = zmq.asyncio.Context()
    context.linger = 0
    socket = context.socket(zmq.SUB)
    socket.subscribe(b"hashblock")
    socket.connect(hints.url)
    queue: Read = asyncio.Queue()

    async def listen() -> None:
        while True:
            topic, body, _ = await socket.recv_multipart()
            queue.put_nowait((topic.decode(), body))

    task = asyncio.create_task(listen())
    await hints.subscribed("hashblock")
    await _reaches_the_node(hints, bitcoind, queue)
    yield queue
    task.cancel()
    await asyncio.wait([task])
    socket.close()
    context.term()


async def _reaches_the_node(hints: Hints, node: DevNode, queue: Read) -> None:
    """Mine until the node has noticed the subscription, and forget what was heard."""
    async with asyncio.timeout(10):
        while not hints.relayed:
            await node.mine()
            await asyncio.sleep(0.02)
    (last,) = await node.mine()
    async with asyncio.timeout(10):
        while (await queue.get())[1].hex() != last:
            pass


async def hear(queue: Read) -> tuple[str, bytes]:
    async with asyncio.timeout(10):
        return await queue.get()


async def test_an_honest_relay_passes_on(heard: Read, bitcoind: DevNode) -> None:
    (block,) = await bitcoind.mine()
    assert await hear(heard) == ("hashblock", bytes.fromhex(block))


async def test_lost_hints_arrive_never(heard: Read, hints: Hints, bitcoind: DevNode) -> None:
    before = len(hints.relayed)
    hints.lose = True
    await bitcoind.mine()
    await hints.passed("hashblock", before + 1)
    hints.lose = False
    (block,) = await bitcoind.mine()
    assert await hear(heard) == ("hashblock", bytes.fromhex(block))


async def test_repeated_hints_arrive_ten_times(heard: Read, hints: Hints, bitcoind: DevNode) -> None:
    hints.repeat = 10
    (block,) = await bitcoind.mine()
    assert [await hear(heard) for _ in range(10)] == [("hashblock", bytes.fromhex(block))] * 10


async def test_a_forged_hint_arrives_like_a_true_one(heard: Read, hints: Hints) -> None:
    await hints.forge("hashblock", b"\x01" * 32)
    assert await hear(heard) == ("hashblock", b"\x01" * 32)
