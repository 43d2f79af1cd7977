"""What leaves the server: whole answers by one call, and the same ones on the short way and on the framework's."""

import asyncio
import json
from contextlib import suppress

import pytest

from kassa.api.server import MAX_JOINED, Joined
from tests.api.served import ORDER, Served
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


async def test_e44_a_head_that_never_ends_holds_no_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.server.HEAD_SECONDS", 0.5)
    whole = f"GET /v1/assets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    # A second request that begins in the packet of a whole one has its own time.
    writer.write(whole + whole[:40])
    answer = await reader.readuntil(b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    with suppress(ConnectionResetError):  # over as well
        await asyncio.wait_for(reader.read(), 5)
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
