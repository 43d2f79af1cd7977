"""A scripted receiver of webhooks with a thread and loop of its own: it records what comes, and answers as it is told.

It speaks HTTP by hand, since what it must say is mostly not HTTP.
"""

import asyncio
import gzip
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Got:
    """One request as it came. `at` is of the monotonic clock; names of headers are in lower case."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def status(code: int, *, headers: Sequence[str] = (), body: bytes = b"", delay: float = 0) -> Answering:
    """Answer with a status, after a while."""
    lines = [f"HTTP/1.1 {code} Said", f"content-length: {len(body)}", *headers, "", ""]
    answer = "\r\n".join(lines).encode() + body

    async def send(writer: asyncio.StreamWriter) -> None:
        if delay:
            await asyncio.sleep(delay)
        writer.write(answer)

    return send


def redirect(code: int, to: str) -> Answering:
    """Point somewhere else."""
    return status(code, headers=[f"location: {to}"])


def gzip_bomb(size: int = 100 * 2**20) -> Answering:
    """Answer with a body that is small, unless it is unpacked."""
    return status(200, headers=["content-encoding: gzip"], body=gzip.compress(bytes(size)))


async def hang(_: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    writer.transport.abort()


async def junk(writer: asyncio.StreamWriter) -> None:
    """Answer with bytes that are no answer."""
    writer.write(b"\x00\xff\x16\x03\x01 not http\r\n\r\n" * 100)
    writer.close()


async def endless_body(writer: asyncio.StreamWriter) -> None:
    """Answer, and never come to an end."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_chunks(writer: asyncio.StreamWriter) -> None:
    """Announce one chunk of nearly 2^63 bytes."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffffffffffff\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def slow_drip(writer: asyncio.StreamWriter) -> None:
    """Answer one byte of the status line at a time."""
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def slow_body(writer: asyncio.StreamWriter) -> None:
    """Accept at once, then say why one byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def header_flood(writer: asyncio.StreamWriter) -> None:
    """Answer with headers that never end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        writer.write(f"x-{number}: {'y' * 1000}\r\n".encode())
        await writer.drain()
        number += 1


async def long_header(writer: asyncio.StreamWriter) -> None:
    """Answer with one header that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        writer.write(b"y" * 65536)
        await writer.drain()


async def continue_flood(writer: asyncio.StreamWriter) -> None:
    """Ask to go on, for ever."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def interim_flood(writer: asyncio.StreamWriter) -> None:
    """Say that it is being worked on, for ever, and as fast as it can."""
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 4_000)
        await writer.drain()


class Sink:
    """`async with Sink() as sink:` receives at `sink.url`. `answers[path]` and `default` may change at any time."""

    def __init__(self, default: Answering | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.default: Answering = default or status(200)
        self.answers: dict[str, Answering] = {}
        self.got: list[Got] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._started = threading.Event()
        self._stopped: asyncio.Event

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def bodies(self, path: str | None = None) -> list[dict[str, Any]]:
        """Return the events received (at one path), in the order of their coming."""
        return [got.event for got in list(self.got) if path in (None, got.path)]

    async def until(self, fact: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until a fact holds; raises `TimeoutError` with what was received."""
        limit = time.monotonic() + seconds
        while not fact():
            if time.monotonic() > limit:
                raise TimeoutError(f"not so after {seconds} s; received {len(self.got)} requests")
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._started.wait)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        open_now: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._speak(reader, writer))
            open_now.add(task)
            task.add_done_callback(open_now.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self._tls, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while got := await _read(reader):
                # Whoever sees that it came may say at once what the next one is answered.
                answer = self.answers.get(got.path, self.default)
                self.got.append(got)
                await answer(writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Got | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(time.monotonic(), first.split(" ")[1], headers, body)
