"""The API over real HTTP: uvicorn on a port of its own, real PostgreSQL behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from kassa import flow
from kassa.api.app import Unknown, create_app
from kassa.api.server import make_server
from kassa.audit.model import Actor
from kassa.house import House
from kassa.stores import store as stores
from kassa.stores.model import SCOPES, Store

OPERATOR = Actor("operator test")
ORDER = {"amount": "49.90", "currency": "EUR", "reference": "order-1001"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: "aiohttp.typedefs.LooseHeaders" = field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"  # type: ignore[index,call-overload]
        return str(self.json["code"])

    @property
    def fields(self) -> list[str]:
        return [fault["field"] for fault in self.json["errors"]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone with a key (or without)."""

    session: aiohttp.ClientSession
    base: str
    key: str | None

    async def send(
        self, method: str, path: str, json: Any = None, *, data: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        if json is not None:
            data, sent["content-type"] = msgspec.json.encode(json), "application/json"
        async with self.session.request(
            method, self.base + path, data=data, headers=sent | (headers or {}), allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.send("GET", path, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> Answer:
        return await self.send("POST", path, json, **more)

    async def invoice(self, **more: Any) -> Any:
        answer = await self.post("/v1/invoices", ORDER | more)
        assert answer.status == 201, answer.body
        return answer.json


@dataclass(frozen=True, slots=True)
class Served:
    """A served house and the ways to call it."""

    house: House
    store: Store
    session: aiohttp.ClientSession
    port: int
    all: Caller

    def caller(self, key: str | None) -> Caller:
        return Caller(self.session, f"http://127.0.0.1:{self.port}", key)

    async def key(self, *scopes: str, store: Store | None = None) -> Caller:
        async with self.house.database.transaction() as tx:
            _, text = await stores.create_key(tx, store or self.store, self.house.clock.now(), scopes=scopes or SCOPES)
        return self.caller(text)

    async def recorded_key(self, *scopes: str) -> Caller:
        """Return a caller with a key that the operator made through Kassa: sealed, and told of in the audit log."""
        async with self.house.database.transaction() as tx:
            now = self.house.clock.now()
            _, text = await flow.create_key(tx, self.house, OPERATOR, self.store, now, scopes=scopes or SCOPES)
        return self.caller(text)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    """Return when a condition holds; fail when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        # Nobody tells us when it holds: it is another process's, or a library's.
        while not (await held if isinstance(held := condition(), Awaitable) else held):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(app: Any, *, connections: int = 2_000) -> AsyncIterator[int]:
    """Serve an ASGI application on a free port while the block runs."""
    server = make_server(app, "127.0.0.1", 0, connections=connections)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait([serving], timeout=10)
        server.force_exit = True  # a browser closes the streams of a page that is gone when it pleases
        await serving


@asynccontextmanager
async def serve(house: House, store: Store, pages: Any = (), unknown: Unknown | None = None) -> AsyncIterator[Served]:
    """Serve a house with a key for everything in one of its stores."""
    async with listening(create_app(house, pages, unknown)) as port, aiohttp.ClientSession() as session:
        half = Served(house, store, session, port, Caller(session, "", None))
        yield Served(house, store, session, port, await half.key())


@dataclass(slots=True)
class Slow:
    """A request that was let in, and whose body is still to come."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes

    @classmethod
    async def begin(cls, port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> "Slow":
        """Send a head, and wait until the body is being read: "100 Continue" says so (RFC 9110, 10.1.1)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        given = {"host": f"127.0.0.1:{port}", "content-length": str(len(body)), "expect": "100-continue"} | headers
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        writer.write("\r\n".join(head).encode())
        begun = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert begun.startswith(b"HTTP/1.1 100 "), begun
        return cls(reader, writer, body)

    async def end(self, *, pieces: int = 1) -> tuple[int, bytes]:
        """Send the body, in so many pieces; return the status and the head of the answer."""
        size = len(self.body) // pieces + 1
        for at in range(0, len(self.body), size):
            self.writer.write(self.body[at : at + size])
            await self.writer.drain()
            await asyncio.sleep(0.01)  # so that each is a packet of its own
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        self.writer.close()
        return int(head.split()[1]), head
