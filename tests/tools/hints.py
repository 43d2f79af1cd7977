"""A relay of a node's ZMQ notifications that can lose them, repeat them, or make some up.

async with Hints(node.push[0]) as hints:
    connect(Connection(node.rpc_url, (hints.url,)))
    await hints.subscribed("rawtx")          # someone listens; from here on nothing is missed
    hints.lose = True                         # nothing arrives
    hints.repeat = 10                         # everything arrives ten times
    await hints.forge("hashtx", b"\\x00" * 32) # what no node said
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import zmq
import zmq.asyncio


class Hints:
    """The relay. `url` is what to subscribe to instead of the node."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.url = ""
        self.lose = False
        self.repeat = 1
        self.relayed: list[tuple[str, bytes]] = []  # topic and body, as the node sent them
        self._topics: set[bytes] = set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._context = zmq.asyncio.Context()
        self._context.linger = 0
        self._node = self._context.socket(zmq.XSUB)
        self._node.connect(self._upstream)
        self._out = self._context.socket(zmq.XPUB)
        self.url = f"tcp://127.0.0.1:{self._out.bind_to_random_port('tcp://127.0.0.1')}"
        self._tasks = [asyncio.create_task(self._relay()), asyncio.create_task(self._subscribe())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._node.close()
        self._out.close()
        self._context.term()

    async def forge(self, topic: str, body: bytes, sequence: int = 0) -> None:
        """Send a notification that the node never made."""
        await self._out.send_multipart([topic.encode(), body, struct.pack("<I", sequence)])

    async def subscribed(self, topic: str, seconds: float = 10) -> None:
        """Wait until someone listens to a topic; raise `TimeoutError`."""
        await self._until(lambda: any(topic.encode().startswith(prefix) for prefix in self._topics), seconds)

    async def passed(self, topic: str, times: int = 1, seconds: float = 10) -> None:
        """Wait until the node has sent so many notifications of a topic, lost or not; raise `TimeoutError`."""
        await self._until(lambda: sum(name == topic for name, _ in self.relayed) >= times, seconds)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)

    async def _relay(self) -> None:
        while True:
            frames = await self._node.recv_multipart()
            for _ in range(0 if self.lose else self.repeat):
                await self._out.send_multipart(frames)
            async with self._changed:
                self.relayed.append((frames[0].decode(), frames[1]))
                self._changed.notify_all()

    async def _subscribe(self) -> None:
        while True:
            frame = await self._out.recv()
            await self._node.send(frame)
            async with self._changed:
                (self._topics.add if frame[:1] == b"\x01" else self._topics.discard)(frame[1:])
                self._changed.notify_all()
