"""What leaves the server: whole answers by one call, and the same ones on the short way and on the framework's."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest

from kassa.api.server import MAX_JOINED, MAX_WAITING, Joined, Owing
from tests.api.served import ORDER, Served, listening
from tests.api.test_conventions import raw


class Wire(asyncio.Transport):
    """A transport that keeps each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert not self.closed
        self.calls.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def test_what_is_written_in_one_turn_leaves_by_one_call(wire: Wire) -> None:
    joined = Joined(wire, asyncio.get_running_loop())

    joined.write(b"head ")
    joined.write(b"body")
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)

    assert wire.calls == [b"head body", b"next"]


async def test_what_is_written_leaves_before_the_connection_closes(wire: Wire) -> None:
    joined = Joined(wire, asyncio.get_running_loop())

    joined.write(b"the last answer")
    joined.close()
    joined.write(b"too late")
    await asyncio.sleep(0)

    assert (wire.calls, wire.closed) == ([b"the last answer"], True)


async def test_much_is_not_held_back(wire: Wire) -> None:
    joined = Joined(wire, asyncio.get_running_loop())

    for _ in range(3):
        joined.write(b"x" * (MAX_JOINED // 2))

    assert wire.calls == [b"x" * (MAX_JOINED // 2 * 3)]


async def test_e44_a_caller_who_says_nothing_holds_no_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.api.server.HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    with suppress(ConnectionResetError):  # over as well
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_e44_a_head_that_never_ends_holds_no_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.server.HEAD_SECONDS", 0.5)
    whole = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"  # answered without the database, however slow that is
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    # A second request that begins in the packet of a whole one has its own time.
    writer.write(whole + whole[:20])
    answer = await reader.readuntil(b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    with suppress(ConnectionResetError):  # over as well
        await asyncio.wait_for(reader.read(), 20)
    writer.close()


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: +5",
        "content-length: 0x5",
        "content-length : 5",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding : chunked",
        "x: y\r\n transfer-encoding: chunked",
        "x: y\rcontent-length: 5",
    ],
)
async def test_e44_what_a_proxy_could_end_elsewhere_is_refused_whole(served: Served, framing: str) -> None:
    inner = f"GET /v1/assets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n\r\n"
    answer = await raw(
        served.port, f"POST /v1/invoices HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n0\r\n\r\n{inner}".encode()
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("framing", ["content-length: {}", "transfer-encoding: chunked"])
async def test_e44_whoever_wishes_for_another_protocol_is_answered_by_this_one(
    served: Served, protocol: str, framing: str
) -> None:
    body = json.dumps(ORDER)
    sent = body if "{}" in framing else f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    keyed = f"host: x\r\nauthorization: Bearer {served.all.key}\r\n"
    wish = f"connection: upgrade, keep-alive\r\nupgrade: {protocol}\r\n{framing.format(len(body))}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    # As clients in Java send it, and proxies that pass such wishes on: the body may come by itself.
    writer.write(f"POST /v1/invoices HTTP/1.1\r\n{keyed}{wish}".encode())
    await asyncio.sleep(0.1)
    writer.write(f"{sent}GET /v1/assets HTTP/1.1\r\n{keyed}connection: close\r\n\r\n".encode())
    answers = await asyncio.wait_for(reader.read(), 20)
    writer.close()

    assert [part[:4] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"201 ", b"200 "]


async def test_e44_a_body_of_who_wishes_for_another_protocol_is_no_request(served: Served) -> None:
    inner = f"GET /v1/assets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n\r\n".encode()
    wish = b"connection: upgrade\r\nupgrade: websocket\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n" + wish + b"content-length: %d\r\n\r\n" % len(inner))
    await asyncio.sleep(0.1)
    writer.write(inner + b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answers = await asyncio.wait_for(reader.read(), 20)
    writer.close()

    assert answers.count(b'{"status":"ok"}') == answers.count(b"HTTP/1.1 ") == 2


async def test_e44_few_requests_wait_for_the_answer_before_them(served: Served) -> None:
    one = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    answered = []

    for sent in (one * MAX_WAITING + last, one * 2_000 + last):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        answers = b""
        with suppress(ConnectionResetError):
            answers = await asyncio.wait_for(reader.read(), 20)
        answered.append(answers.count(b"HTTP/1.1 200 "))
        writer.close()

    assert answered == [MAX_WAITING + 1, 0]


async def test_e44_empty_lines_between_requests_hold_no_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.api.server.HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readuntil(b'{"status":"ok"}')).startswith(b"HTTP/1.1 200 ")

    with suppress(ConnectionResetError):  # over as well
        async with asyncio.timeout(20):
            while not reader.at_eof():
                writer.write(b"\r\n")
                await asyncio.sleep(0.1)
    writer.close()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/v1/invoices", "shop.example:8080", 201),
        ("/v1/invoices", "[::1]:8080", 201),
        ("/v1/invoices", "~shop", 201),  # the framework's word
        ("/v1/invoices/", "shop.example", 201),  # the same
        ("/v1/invoices", "a b", 400),
        ("/v1/invoices", "a\\b", 400),
    ],
)
async def test_the_short_way_admits_what_the_framework_admits(
    served: Served, path: str, host: str, status: int
) -> None:
    body = json.dumps(ORDER)
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {served.all.key}\r\nconnection: close\r\n"

    answer = await raw(served.port, f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_answers_that_last_leave_room_for_other_callers() -> None:
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if scope["path"] == "/stream":
            await over.wait()
        await send({"type": "http.response.body", "body": b"done"})

    async with listening(app, connections=16) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}"
        streams = [await session.get(f"{url}/stream") for _ in range(12)]
        for _ in range(3):
            # One who comes first, and sends nothing until the next has come too.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with aiohttp.ClientSession() as other, other.get(f"{url}/") as answer:
                assert await answer.text() == "begundone"
            writer.write(b"GET / HTTP/1.1\r\nhost: kassa\r\nconnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
        over.set()
        assert [await stream.text() for stream in streams] == ["begundone"] * 12


@dataclass(frozen=True)
class Caller:
    give_up: Callable[[], None]


async def test_callers_who_owe_a_request_give_way_where_answers_last() -> None:
    kept = Owing(connections=16)
    ended: list[int] = []
    for number in range(6):
        kept.begin(Caller(partial(ended.append, number)))  # type: ignore[arg-type]  # all that is asked of a connection
        kept.make_room(12 + number + 1)
    assert ended == [0, 1, 2, 3]
