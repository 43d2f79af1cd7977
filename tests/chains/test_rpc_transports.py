"""The same calls over HTTP and over WebSocket: requests that are too large, connections that end, notices."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from kassa.chains.envelope import Fault
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.http import encoding
from kassa.chains.rpc import JsonRpc
from kassa.core.errors import ChainInvalid, ChainUnavailable
from tests.tools.tcp import Tcp

Json = Any
CALLS = [("eth_getBlockByNumber", (number,)) for number in range(23)]


def items(asked: Json) -> list[Json]:
    return asked if isinstance(asked, list) else [asked]


def truth(asked: Json) -> Json:
    answers = [{"jsonrpc": "2.0", "id": call["id"], "result": call["params"][0]} for call in items(asked)]
    return answers if isinstance(asked, list) else answers[0]


@dataclass
class Node:
    """A node that answers as told; `sizes` are the numbers of calls that each request had."""

    url: str = ""
    answer: Callable[[Json], Json] = truth
    status: Callable[[Json], int] = lambda _: 200
    sizes: list[int] = field(default_factory=list)
    headers: list[str | None] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    connections: int = 0
    before: Callable[[Json], Awaitable[None]] | None = None
    reply_headers: dict[str, str] = field(default_factory=dict)
    packed: bool = False
    requests: list[web.Request] = field(default_factory=list)

    async def end(self) -> None:
        """Break off the newest connection."""
        if self.sockets:
            await self.sockets[-1].close()
        elif (transport := self.requests[-1].transport) is not None:
            transport.abort()


@asynccontextmanager
async def serving(scheme: str, **options: Any) -> AsyncIterator[tuple[Node, JsonRpc]]:
    node = Node()

    async def post(request: web.Request) -> web.Response:
        asked = await request.json()
        node.requests.append(request)
        node.sizes.append(len(items(asked)))
        node.headers.append(request.headers.get("Authorization"))
        if node.before is not None:
            await node.before(asked)
        response = web.Response(
            status=node.status(asked), text=json.dumps(node.answer(asked)), headers=node.reply_headers
        )
        if node.packed:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def converse(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=2**20)
        await socket.prepare(request)
        node.connections += 1
        node.sockets.append(socket)
        node.headers.append(request.headers.get("Authorization"))
        async with asyncio.TaskGroup() as group:
            async for message in socket:
                group.create_task(reply(socket, json.loads(message.data)))
        return socket

    async def reply(socket: web.WebSocketResponse, asked: Json) -> None:
        node.sizes.append(len(items(asked)))
        if node.before is not None:
            await node.before(asked)
        if not socket.closed:
            await socket.send_str(json.dumps(node.answer(asked)))

    app = web.Application()
    app.router.add_post("/{path:.*}", post)
    app.router.add_get("/{path:.*}", converse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"{scheme}://robert:s3cr%40t@127.0.0.1:{runner.addresses[0][1]}/key-in-path"
    try:
        async with JsonRpc(node.url, **options) as rpc:
            yield node, rpc
    finally:
        await runner.cleanup()


@pytest.fixture(params=["http", "ws"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---------------------------------------------------------------- too much at once


def error(code: int, message: str) -> Callable[[Json], Json]:
    def answer(asked: Json) -> Json:
        return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}

    return answer


def first_only(asked: Json) -> Json:  # as Geth does
    return [{"jsonrpc": "2.0", "id": asked[0]["id"], "error": {"code": -32600, "message": "batch too large"}}]


def some(code: int, message: str) -> Callable[[Json], Json]:
    def answer(asked: Json) -> Json:
        said: list[Json] = truth(asked)
        for one in said[3:]:
            del one["result"]
            one["error"] = {"code": code, "message": message}
        return said

    return answer


@pytest.mark.parametrize(
    "refuse",
    [
        first_only,
        error(-32600, "batch too large"),
        error(-32600, "Batch size is too large"),
        error(-32000, "batch requests are not allowed"),
        error(-32005, "too many"),
        some(-32003, "response too large"),
        some(-32008, "Response size exceeded"),
        some(429, "compute units per second capacity exceeded"),
        some(-32005, "limit exceeded"),
        some(-32090, "Too many requests, retry in 10s"),
        some(-32097, "request limit reached"),
    ],
)
async def test_a_batch_that_is_refused_for_its_size_is_asked_in_parts(
    scheme: str, refuse: Callable[[Json], Json]
) -> None:  # B18
    async with serving(scheme) as (node, rpc):
        node.answer = lambda asked: refuse(asked) if len(items(asked)) > 4 else truth(asked)
        assert await rpc.batch(int, CALLS) == list(range(23))
        assert max(node.sizes) == 23
        node.sizes.clear()
        await rpc.batch(int, CALLS)
        assert max(node.sizes) < 12  # what was learnt is kept


@pytest.mark.parametrize("status", [413, 429])
async def test_a_gateway_that_refuses_a_batch_for_its_size_gets_parts(status: int) -> None:  # B18
    async with serving("http") as (node, rpc):
        node.status = lambda asked: status if len(items(asked)) > 1 else 200
        assert await rpc.batch(int, CALLS) == list(range(23))
        node.status = lambda _: status
        with pytest.raises(ChainUnavailable, match=str(status)):
            await rpc.call(int, *("eth_getBlockByNumber", 1))


async def test_who_asks_too_often_comes_back_when_told_with_the_same_question() -> None:  # B18
    async with serving("http") as (node, rpc):
        answers = iter([429, 200])
        node.status = lambda _: next(answers)
        node.reply_headers["Retry-After"] = "1"
        started = asyncio.get_running_loop().time()
        assert await rpc.batch(int, CALLS) == list(range(23))
        assert asyncio.get_running_loop().time() - started >= 1
        assert node.sizes == [23, 23]


@pytest.mark.parametrize("size", [4, 9])
async def test_a_connection_that_breaks_off_over_large_requests_gets_small_ones(scheme: str, size: int) -> None:  # A29
    async with serving(scheme) as (node, rpc):

        async def breaking(asked: Json) -> None:
            if len(items(asked)) > size:
                await node.end()

        node.before = breaking
        assert await rpc.batch(int, CALLS) == list(range(23))


async def test_a_packed_answer_is_unpacked_and_no_further_than_our_limit() -> None:
    async with serving("http", response_limit=100_000) as (node, rpc):
        node.packed = True
        assert await rpc.batch(int, CALLS) == list(range(23))
        node.answer = lambda asked: {**truth(asked), "result": " " * 10_000_000}
        with pytest.raises(ChainUnavailable, match="more than 100000 bytes"):
            await rpc.call(str, "m", 1)
    assert [encoding(url) for url in ("http://127.0.0.1:1/", "https://rpc.example/key")] == ["identity", "gzip"]


async def test_an_answer_over_our_limit_is_asked_for_in_parts(scheme: str) -> None:
    async with serving(scheme, response_limit=2_000) as (node, rpc):
        node.answer = lambda asked: (
            [{**one, "result": "x" * 300} for one in truth(asked)]
            if isinstance(asked, list)
            else {**truth(asked), "result": "x" * 300}
        )
        assert await rpc.batch(str, CALLS) == ["x" * 300] * 23
        node.answer = lambda asked: {**truth(asked), "result": "x" * 3_000}
        with pytest.raises(ChainUnavailable, match="more than 2000 bytes"):
            await rpc.call(str, *("eth_getBlockByNumber", 1))


async def test_a_single_call_that_is_refused_for_its_size_is_no_answer(scheme: str) -> None:
    async with serving(scheme) as (node, rpc):
        node.answer = lambda asked: {
            "jsonrpc": "2.0",
            "id": asked["id"],
            "error": {"code": -32005, "message": "daily request limit"},
        }
        with pytest.raises(ChainUnavailable, match="daily request limit"):
            await rpc.call(int, *("eth_getBlockByNumber", 1))
        assert node.sizes == [1]


async def test_other_refusals_stay_with_their_call(scheme: str) -> None:
    async with serving(scheme) as (node, rpc):
        node.answer = some(-32000, "header not found")
        answers = await rpc.batch(int, CALLS[:5])
        assert answers == [0, 1, 2, *[Fault(-32000, "header not found")] * 2]
        node.answer = some(-32601, "the method does not exist")
        with pytest.raises(ChainInvalid, match="does not know"):
            await rpc.batch(int, CALLS[:5])


# ---------------------------------------------------------------- what a node knows


@pytest.mark.parametrize(
    ("code", "message", "known"),
    [
        (-32601, "the method trace_block does not exist/is not available", False),
        (-32600, "Unsupported method: trace_block on ETH_MAINNET", False),
        (-32004, "method not supported", False),
        (-32602, "too many arguments, want at most 1", False),
        (-32000, "the method is not whitelisted", False),
        (-32000, "genesis is not traceable", True),
        (-32000, "header not found", True),
    ],
)
async def test_a_method_is_known_unless_the_node_says_otherwise(
    scheme: str, code: int, message: str, known: bool
) -> None:
    async with serving(scheme) as (node, rpc):
        assert await rpc.knows("trace_block", "0x1")
        node.answer = lambda asked: {"id": asked["id"], "error": {"code": code, "message": message}}
        assert await rpc.knows("trace_block", "0x1") is known
        node.answer = lambda asked: {"id": asked["id"], "error": {"code": 429, "message": "slow down"}}
        with pytest.raises(ChainUnavailable):
            await rpc.knows("trace_block", "0x1")


# ---------------------------------------------------------------- one WebSocket


async def test_credentials_are_sent_decoded_and_never_shown(scheme: str) -> None:
    async with serving(scheme) as (node, rpc):
        assert await rpc.call(int, "eth_getBlockByNumber", 7) == 7
        assert node.headers == ["Basic cm9iZXJ0OnMzY3JAdA=="]  # robert:s3cr@t
        node.answer = lambda _: "nonsense"
        with pytest.raises(ChainUnavailable) as fault:
            async with JsonRpc(node.url, timeout_seconds=0.3) as hurried:
                await hurried.call(int, "eth_getBlockByNumber", 7)
        shown = f"{fault.value!r} {fault.value} {rpc!r} {fault.value.__cause__!r}"
        assert not any(secret in shown for secret in ("s3cr", "robert", "key-in-path", "cm9i"))


async def test_answers_that_come_in_another_order_find_their_callers() -> None:
    async with serving("ws") as (node, rpc):
        first = asyncio.Event()

        async def hold_the_first(asked: Json) -> None:
            if items(asked)[0]["params"][0] == 1:
                await first.wait()
            else:
                first.set()

        node.before = hold_the_first
        slow = asyncio.ensure_future(rpc.batch(int, [("m", (number,)) for number in (1, 2, 3)]))
        await asyncio.sleep(0)
        quick = await rpc.batch(int, [("m", (number,)) for number in (4, 5)])
        assert (quick, await slow) == ([4, 5], [1, 2, 3])
        assert node.connections == 1


async def test_a_connection_that_ended_is_opened_anew() -> None:
    async with serving("ws") as (node, rpc):
        assert await rpc.call(int, "m", 1) == 1
        await node.sockets[0].close()
        assert await rpc.call(int, "m", 2) == 2
        assert node.connections == 2


async def test_a_call_whose_connection_ends_is_repeated_and_then_given_up() -> None:
    async with serving("ws") as (node, rpc):
        closings = iter([True, False])

        async def close(_: Json) -> None:
            if next(closings, False):
                await node.sockets[-1].close()

        node.before = close
        assert await rpc.call(int, "m", 1) == 1
        closings = iter([True] * 99)
        with pytest.raises(ChainUnavailable, match="closed the connection"):
            await rpc.call(int, "m", 1)


@pytest.mark.parametrize("said", ["nonsense", [], {"id": 99, "result": 1}, [{"id": "x", "result": 1}], None])
async def test_what_answers_nobody_is_waited_past(said: Json) -> None:
    async with serving("ws", timeout_seconds=0.3) as (node, rpc):
        node.answer = lambda _: said
        with pytest.raises(ChainUnavailable):
            await rpc.call(int, "m", 1)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ws://u:p@", "wss://127.0.0.1:1"])
async def test_an_address_where_nobody_answers_is_no_answer(url: str) -> None:
    with pytest.raises(ChainUnavailable):
        async with JsonRpc(url, timeout_seconds=2) as rpc:
            await rpc.call(int, "m")


async def test_notices_reach_who_listens_until_the_connection_ends() -> None:
    async with serving("ws") as (node, rpc), rpc.listening() as listener:
        assert listener is not None
        await rpc.call(int, "m", 1)
        assert await listener.hear(0.01) is None
        await node.sockets[0].send_str('{"jsonrpc":"2.0","method":"eth_subscription","params":{"a":1}}')
        notice = await listener.hear(20)
        assert notice is not None
        assert (notice.method, bytes(notice.params)) == ("eth_subscription", b'{"a":1}')
        await node.sockets[0].close()
        with pytest.raises(ChainUnavailable):
            await listener.hear(20)


async def test_over_http_there_is_nothing_to_hear(anvil: AnvilNode) -> None:
    async with JsonRpc(anvil.rpc_url) as rpc, rpc.listening() as listener:
        assert listener is None


async def test_a_wire_that_is_cut_or_dead_is_no_answer(anvil: AnvilNode) -> None:  # A29
    port = int(anvil.rpc_url.rpartition(":")[2])
    async with Tcp("127.0.0.1", port) as tcp, JsonRpc(f"ws://127.0.0.1:{tcp.port}", timeout_seconds=5) as rpc:
        assert await rpc.call(str, "eth_chainId") == "0x7a69"
        tcp.blackhole = True
        with pytest.raises(ChainUnavailable, match="did not answer"):
            await rpc.call(str, "eth_chainId")
        tcp.heal()
        tcp.reset()
        assert await rpc.call(str, "eth_chainId") == "0x7a69"
        tcp.piece = 1
        assert await rpc.call(str, "eth_chainId") == "0x7a69"
        tcp.refuse = True
        tcp.reset()
        with pytest.raises(ChainUnavailable):
            await rpc.call(str, "eth_chainId")
