"""Calls to a node that is slow, wrong, hostile or gone: two kinds of fault, and no secret in either."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kassa.chains.base import Connection
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.registry import FAMILIES
from kassa.chains.rpc import Fault, JsonRpc
from kassa.core.errors import ChainError, ChainInvalid, ChainMoved, ChainUnavailable, SettingsError
from tests.chains.bench import BITCOIN, Watched, watching
from tests.chains.liar import Json, lying

Handler = Callable[[web.Request, Any], "web.StreamResponse | Json"]


@asynccontextmanager
async def answering(handler: Handler, **options: Any) -> AsyncIterator[JsonRpc]:
    """A node that answers as told; `handler` gets the request and its JSON."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = handler(request, json.loads(await request.read() or b"null"))
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.Response(text=json.dumps(answer))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://robert:s3cr%40t@127.0.0.1:{runner.addresses[0][1]}/key-in-path"
    try:
        async with JsonRpc(url, **options) as rpc:
            yield rpc
    finally:
        await runner.cleanup()


def echo(result: Json) -> Handler:
    return lambda _, call: {"id": call["id"], "result": result, "error": None}


async def test_credentials_are_sent_decoded_and_never_shown() -> None:
    seen = []

    def handler(request: web.Request, call: Any) -> web.Response:
        seen.append((request.path, request.headers["Authorization"]))
        return web.Response(status=500, text="no")

    async with answering(handler) as rpc:
        with pytest.raises(ChainUnavailable) as error:
            await rpc.call(int, "getblockcount")
        assert seen == [("/key-in-path", "Basic cm9iZXJ0OnMzY3JAdA==")]  # robert:s3cr@t
        shown = f"{error.value!r} {error.value} {rpc!r} {error.value.__cause__!r}"
        assert not any(secret in shown for secret in ("s3cr", "robert", "key-in-path", "cm9i"))
        assert rpc.node in shown


async def test_answers_of_a_batch_are_matched_by_id() -> None:
    def handler(_: web.Request, calls: Any) -> Json:
        answers = [{"id": call["id"], "result": call["params"][0], "error": None} for call in calls]
        answers[1] = {"id": 1, "result": None, "error": {"code": -8, "message": "out of range"}}
        return answers[::-1]

    async with answering(handler) as rpc:
        answers = await rpc.batch(int, [("getblockhash", (number,)) for number in range(4)])
        assert answers == [0, Fault(-8, "out of range"), 2, 3]
        assert await rpc.batch(int, []) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answers: answers[:-1],
        lambda answers: [*answers[:-1], answers[0]],
        lambda answers: [{**answer, "id": answer["id"] + 1} for answer in answers],
        lambda answers: [{**answer, "id": str(answer["id"])} for answer in answers],
        lambda answers: answers[0],
        lambda answers: [],
        lambda answers: None,
        lambda answers: {"result": []},
        lambda answers: "text",
    ],
)
async def test_a_batch_answered_in_part_or_askew_is_no_answer(spoil: Callable[[Any], Json]) -> None:
    def handler(_: web.Request, calls: Any) -> Json:
        return spoil([{"id": call["id"], "result": 1, "error": None} for call in calls])

    async with answering(handler) as rpc:
        with pytest.raises(ChainUnavailable):
            await rpc.batch(int, [("a", ()), ("b", ()), ("c", ())])


@pytest.mark.parametrize("result", [None, "5", -1.5, True, [], {}])
async def test_a_result_of_another_type_is_no_answer(result: Json) -> None:  # A37
    async with answering(echo(result)) as rpc:
        with pytest.raises(ChainUnavailable, match="shape"):
            await rpc.call(int, "getblockcount")


async def test_a_number_with_decimals_is_read_exactly() -> None:
    def handler(_: web.Request, call: Any) -> web.Response:
        return web.Response(text='{"id": 0, "result": {"value": 20999999.97690001}, "error": null}')

    class Output(msgspec.Struct):
        value: Decimal

    async with answering(handler) as rpc:
        assert (await rpc.call(Output, "gettxout")).value == Decimal("20999999.97690001")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, '{"id":0,"result":null,"error":{"code":-28,"message":"Loading block index…"}}'),
        (503, "Work queue depth exceeded"),
        (401, ""),
        (403, ""),
        (200, ""),
        (200, "<html>captive portal</html>"),
        (200, '{"id":0,"result":'),
        (200, '{"id":0,"result":1,"error":"odd"}'),
        (200, "[" * 100_000),
        (200, "\xff\xfe"),
        (302, ""),
    ],
)
async def test_a_node_that_gives_no_answer_may_be_asked_again(status: int, text: str) -> None:  # A29
    def handler(request: web.Request, call: Any) -> web.Response:
        headers = {"Location": "http://203.0.113.9/"} if status == 302 else {}
        return web.Response(status=status, body=text.encode("latin-1", "replace"), headers=headers)

    async with answering(handler) as rpc:
        with pytest.raises(ChainUnavailable) as error:
            await rpc.call(int, "getblockcount")
        assert not isinstance(error.value, ChainMoved)


async def test_a_method_that_the_node_does_not_know_stops_the_network() -> None:
    def handler(_: web.Request, call: Any) -> Json:
        return {"id": 0, "result": None, "error": {"code": -32601, "message": "Method not found"}}

    async with answering(handler) as rpc:
        with pytest.raises(ChainInvalid, match="does not know getblockchaininfo"):
            await rpc.call(int, "getblockchaininfo")


async def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65536)
        except ConnectionError:
            return response

    async with answering(lambda request, _: endless(request), response_limit=2**20, timeout_seconds=20) as rpc:
        with pytest.raises(ChainUnavailable, match="more than"):
            await rpc.call(int, "getblockcount")
        with pytest.raises(ChainUnavailable, match="more than"):
            await rpc.get("/rest/block/00.bin")


async def test_an_answer_that_announces_too_much_is_not_read() -> None:
    async with answering(lambda *_: web.Response(body=b" " * 5000), response_limit=4096) as rpc:
        with pytest.raises(ChainUnavailable, match="more than"):
            await rpc.call(int, "getblockcount")


async def test_a_node_that_is_silent_is_given_up_after_the_time_limit() -> None:
    async def silent() -> Json:
        await asyncio.Event().wait()

    async with answering(lambda *_: silent(), timeout_seconds=0.2) as rpc:
        with pytest.raises(ChainUnavailable, match="did not answer within"):
            await rpc.call(int, "getblockcount")


async def test_a_connection_that_breaks_is_no_answer() -> None:
    async def reset(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(lambda request, _: reset(request)) as rpc:
        with pytest.raises(ChainUnavailable, match="cannot be reached"):
            await rpc.call(int, "getblockcount")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://u:p@", "nonsense", "ftp://127.0.0.1:1"])
async def test_an_address_where_nobody_answers_is_no_answer(url: str) -> None:
    with pytest.raises(ChainUnavailable):
        async with JsonRpc(url) as rpc:
            await rpc.call(int, "getblockcount")


def test_a_url_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError) as error:
        JsonRpc("http://robert:s3cret@[::1")
    assert "s3cret" not in str(error.value)


# ---------------------------------------------------------------- a node that tells other things than its own


ODD: tuple[Json, ...] = (None, -2, -1, 1.5, "7", "x" * 64, True, {}, {"loaded": "yes"}, [[]], ["7"], 2**70)
METHODS = (
    "getblockchaininfo getblockhash getrawmempool getmempoolinfo getbestblockhash getrawtransaction getmempoolentry"
)


@pytest.mark.parametrize("method", METHODS.split())
async def test_odd_answers_are_faults_of_the_chain_and_never_crashes(bitcoind: DevNode, method: str) -> None:  # A37
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        watched, address = Watched(), bench.address()
        watched.pay(address)
        await bitcoind.fund(address.text, 50_000)
        for odd in ODD:
            liar.results[method] = lambda _, odd=odd: odd
            with pytest.raises(ChainUnavailable if method != "getblockhash" else ChainError):
                await bench.source.pending(watched, ())
        liar.results.clear()
        assert len((await bench.source.pending(watched, ())).transactions) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("blocks", odd) for odd in (-1, "7", 1.5, None, 2**70)],
        *[("time", odd) for odd in (-5, "now", 1.5)],
        ("bestblockhash", "zz"),
        ("initialblockdownload", 0),
        ("headers", None),
        ("chain", 7),
    ],
)
async def test_an_odd_field_of_the_tip_is_no_answer(bitcoind: DevNode, key: str, value: Json) -> None:  # A37
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        liar.results["getblockchaininfo"] = lambda info: {**info, key: value}
        with pytest.raises(ChainUnavailable):
            await bench.source.tip()


async def test_a_node_that_is_behind_says_so(bitcoind: DevNode) -> None:  # A31
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        liar.results["getblockchaininfo"] = lambda info: {**info, "headers": 9_999, "initialblockdownload": True}
        tip = await bench.source.tip()
        assert (tip.best_header, tip.syncing) == (9_999, True)


async def test_a_mempool_that_is_still_loading_proves_no_absence(bitcoind: DevNode) -> None:  # A29
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        liar.results["getmempoolinfo"] = lambda info: {**info, "loaded": False}
        assert not (await bench.source.pending(Watched(), ())).complete
        liar.results.clear()
        assert (await bench.source.pending(Watched(), ())).complete


async def test_another_transaction_than_the_one_asked_for_is_refused(bitcoind: DevNode) -> None:
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        watched, address = Watched(), bench.address()
        watched.pay(address)
        other = await bitcoind.draft([(address.text, 5_000_000)])
        await bitcoind.fund(address.text, 50_000)
        liar.results["getrawtransaction"] = lambda _: other
        with pytest.raises(ChainUnavailable, match="another transaction"):
            await bench.source.pending(watched, ())


async def test_a_truncated_or_exchanged_block_is_refused(bitcoind: DevNode) -> None:
    async with (
        lying(bitcoind.rpc_url) as liar,
        watching(BITCOIN, bitcoind, Connection(liar.url)) as bench,
    ):
        for body in (b"", b"\0" * 80, b"\0" * 300, b"<html>"):
            liar.reply = lambda path, body=body: (200, body) if path.startswith("/rest/") else None
            with pytest.raises(ChainUnavailable):
                await bench.source.blocks(1, 1, Watched())


async def test_a_pruned_block_stops_the_network_with_a_remedy(bitcoind: DevNode) -> None:
    async with lying(bitcoind.rpc_url) as liar:
        names = FAMILIES["bitcoin"].chain("bitcoin-regtest", "bitcoin-regtest", ())
        source = names.connect(Connection(liar.url))
        pruned = b'{"id":0,"result":null,"error":{"code":-1,"message":"Block not available (pruned data)"}}'
        first = await bitcoind.block_hash(1)
        answered = json.dumps({"id": 0, "result": first, "error": None}).encode()
        answers = iter([(200, answered), (404, b""), (200, pruned)])
        liar.reply = lambda _: next(answers)
        with pytest.raises(ChainInvalid, match="pruned block"):
            await source.blocks(1, 1, Watched())
        await source.close()


async def test_a_node_that_restarts_is_followed_again(bitcoind: DevNode) -> None:  # A29
    async with watching(BITCOIN, bitcoind) as bench:
        before = await bench.source.tip()
        await bitcoind.restart()
        for _ in range(2):
            try:
                assert (await bench.source.tip()).ref == before.ref
                break
            except ChainUnavailable:
                continue
        else:
            pytest.fail("the node was not found again")


@pytest.mark.parametrize(
    "date", ["Fri, 27 Nov 2026 05:00:00 +99999999999999", "Fri, 27 Nov 99999999999999999999 05:00:00 GMT", "soon", ""]
)
async def test_a_date_that_is_none_tells_no_time(date: str) -> None:
    def handler(_: web.Request, call: Any) -> web.Response:
        body = json.dumps({"id": call["id"], "result": 1, "error": None})
        return web.Response(text=body, headers={"Date": date})

    async with answering(handler) as rpc:
        assert await rpc.call(int, "get") == 1
        assert rpc.date is None
