"""A TCP proxy that breaks connections: before PostgreSQL, a node or a webhook's receiver.

    async with Tcp("127.0.0.1", 8332) as tcp:      # or Tcp("/run/postgresql/.s.PGSQL.5432")
        connect(f"http://127.0.0.1:{tcp.port}")
        tcp.latency_seconds = 0.2                   # every piece of data arrives later
        tcp.reset_after = 1_000                     # a reset after so many bytes of each answer
        tcp.blackhole = True                        # data vanishes, connections stay open
        tcp.refuse = True                           # new connections are reset at once
        tcp.answer = BAD_GATEWAY                    # new connections are answered so, whatever they ask
        tcp.piece = 1                               # answers arrive byte by byte
        tcp.reset()                                 # what is open is reset now
    tcp.forget()                                # what is open stays so, and carries nothing any more

Each switch works from the next piece of data on; `heal()` takes them all back.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
"""What a proxy answers while the server behind it starts."""


class Tcp:
    """A proxy on a loopback port of its own."""

    def __init__(self, host: str, port: int | None = None) -> None:
        self._target = (host, port)
        self.port = 0
        self.connections = 0  # accepted since the beginning
        self._writers: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.heal()

    def heal(self) -> None:
        """Be an honest wire again (what has been broken stays so)."""
        self.latency_seconds = 0.0
        self.reset_after: int | None = None
        self.close_after: int | None = None
        self.blackhole = False
        self.refuse = False
        self.answer: bytes | None = None
        self.piece: int | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        """Reset every open connection on both sides (RST, not FIN)."""
        for writer in list(self._writers):
            _reset(writer)

    def forget(self) -> None:
        """Carry nothing any more on every open connection, in silence: as where a router forgot it."""
        self._forgotten |= self._writers

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        # A drain then waits for the last byte, so that a reset does not overtake what stands before it.
        writer.transport.set_write_buffer_limits(0)
        # The connection's end is the test's business, not the log's.
        with suppress(OSError, asyncio.CancelledError):
            if self.answer is None:
                await self._join(reader, writer)
            else:
                await reader.read(65_536)
                writer.write(self.answer)
        self._writers.discard(writer)
        writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target
        there = await (asyncio.open_unix_connection(host) if port is None else asyncio.open_connection(host, port))
        self._writers.add(there[1])
        asking = asyncio.create_task(self._ask(reader, there[1]))
        try:
            await self._answer(there[0], writer)
        finally:
            asking.cancel()
            self._writers.discard(there[1])
            there[1].close()

    async def _ask(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(self.latency_seconds)
                if not self.blackhole and there not in self._forgotten:
                    there.write(data)
                    await there.drain()
            there.write_eof()
        except OSError:
            there.transport.abort()  # a killed client is gone for the server too

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while data := await there.read(self.piece or 65_536):
            await asyncio.sleep(self.latency_seconds)
            if self.blackhole or writer in self._forgotten:
                continue
            limit = self.reset_after if self.reset_after is not None else self.close_after
            kept = data if limit is None else data[: max(0, limit - sent)]
            writer.write(kept)
            await writer.drain()
            sent += len(kept)
            if limit is not None and sent >= limit:
                if self.reset_after is not None:
                    _reset(writer)
                return


def _reset(writer: asyncio.StreamWriter) -> None:
    wire: socket.socket | None = writer.get_extra_info("socket")
    if wire is not None and wire.family != socket.AF_UNIX:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
