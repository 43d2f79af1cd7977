"""The breaking wire carries everything until told, and then breaks exactly as told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.tools.tcp import Tcp


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets; its port."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.wait([task for task in tasks if task], timeout=5) if tasks else None


@pytest.fixture
async def tcp(echo: int) -> AsyncIterator[Tcp]:
    async with Tcp("127.0.0.1", echo) as wire:
        yield wire


class Talk:
    """One connection through the wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def said(self, data: bytes) -> bytes:
        """Send, and return what comes back of the same length."""
        self.writer.write(data)
        return await self.reader.readexactly(len(data))


@pytest.fixture
async def talk(tcp: Tcp) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    yield Talk(reader, writer)
    writer.transport.abort()


async def test_an_honest_wire_carries_everything(talk: Talk) -> None:
    data = bytes(range(256)) * 4_000
    assert await talk.said(data) == data


async def test_an_end_is_passed_on(talk: Talk) -> None:
    await talk.said(b"x")
    talk.writer.write_eof()
    assert await talk.reader.read() == b""


async def test_a_reset_comes_after_so_many_bytes(tcp: Tcp, talk: Talk) -> None:
    tcp.reset_after = 10
    talk.writer.write(b"0123456789abcdef")
    assert await talk.reader.readexactly(10) == b"0123456789"
    with pytest.raises(ConnectionResetError):
        await talk.reader.read()


async def test_a_close_comes_after_so_many_bytes(tcp: Tcp, talk: Talk) -> None:
    tcp.close_after = 10
    talk.writer.write(b"0123456789abcdef")
    assert await talk.reader.read() == b"0123456789"


async def test_everything_open_is_reset(tcp: Tcp, talk: Talk) -> None:
    await talk.said(b"x")
    tcp.reset()
    with pytest.raises(ConnectionResetError):
        await talk.reader.read()


async def test_a_blackhole_swallows_and_stays_open(tcp: Tcp, talk: Talk) -> None:
    await talk.said(b"x")
    tcp.blackhole = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await talk.said(b"lost")
    tcp.heal()
    assert await talk.said(b"found") == b"found"


async def test_what_was_open_is_forgotten_and_what_comes_is_carried(tcp: Tcp, talk: Talk) -> None:
    await talk.said(b"x")
    tcp.forget()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await talk.said(b"lost")
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    assert await Talk(reader, writer).said(b"new") == b"new"
    writer.transport.abort()


async def test_a_refused_connection_is_reset(tcp: Tcp) -> None:
    tcp.refuse = True
    reader, _ = await asyncio.open_connection("127.0.0.1", tcp.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_latency_delays_both_ways(tcp: Tcp, talk: Talk) -> None:
    tcp.latency_seconds = 0.1
    loop = asyncio.get_running_loop()
    began = loop.time()
    await talk.said(b"x")
    assert loop.time() - began >= 0.2


async def test_answers_arrive_in_pieces(tcp: Tcp, talk: Talk) -> None:
    tcp.piece = 1
    assert await talk.said(b"x" * 500) == b"x" * 500


async def test_postgres_is_reached_through_the_wire_and_lost(postgres_url: str) -> None:
    # The embedded server listens on a UNIX socket, whose folder stands in its URL, beside its user.
    user = urlsplit(postgres_url).username
    folder = postgres_url.partition("host=")[2].replace("%2F", "/")
    if not folder:
        pytest.skip("this PostgreSQL listens on TCP")
    async with Tcp(str(Path(folder) / ".s.PGSQL.5432")) as tcp:
        connection = await asyncpg.connect(host="127.0.0.1", port=tcp.port, user=user, database="postgres", ssl=False)
        assert await connection.fetchval("select 1") == 1
        tcp.reset()
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError, asyncpg.InterfaceError)):
            await connection.fetchval("select 1")
        connection.terminate()
