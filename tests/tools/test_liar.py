"""The lying proxy is honest until told, and then lies exactly as told. Against a real node."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.tools.liar import Liar
from tests.tools.lies import Json


class Client:
    """A plain caller of whatever stands at a URL: status and decoded body."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self._session = url, session

    async def call(self, method: str, *params: object, version: str = "1.0") -> tuple[int, Json]:
        body = {"jsonrpc": version, "method": method, "params": params, "id": "x"}
        async with self._session.post(self.url, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def result(self, method: str, *params: object) -> Json:
        return (await self.call(method, *params))[1]["result"]

    async def batch(self, *calls: tuple[str, list[object]]) -> list[Json]:
        body = [{"method": method, "params": params, "id": number} for number, (method, params) in enumerate(calls)]
        async with self._session.post(self.url, json=body) as response:
            assert response.status == 200
            return await response.json(content_type=None)

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(self.url + path) as response:
            return response.status, await response.read()


@pytest.fixture
async def liar(bitcoind: DevNode) -> AsyncIterator[Liar]:
    async with Liar(bitcoind.rpc_url) as proxy:
        yield proxy


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def client(liar: Liar, session: aiohttp.ClientSession) -> Client:
    return Client(liar.url, session)


@pytest.fixture
def honest(bitcoind: DevNode, session: aiohttp.ClientSession) -> Client:
    return Client(bitcoind.rpc_url, session)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_without_rules_every_answer_is_the_node_s_own(client: Client, honest: Client, version: str) -> None:
    tip = await honest.result("getbestblockhash")
    for method, params in (
        ("getblock", [tip, 2]),
        ("getblock", ["00" * 32]),
        ("nosuchmethod", []),
        ("getblockhash", [-1]),
    ):
        assert await client.call(method, *params, version=version) == await honest.call(
            method, *params, version=version
        )


async def test_litecoin_s_older_answers_pass_unchanged(litecoind: DevNode, session: aiohttp.ClientSession) -> None:
    honest = Client(litecoind.rpc_url, session)
    async with Liar(litecoind.rpc_url) as liar:
        client = Client(liar.url, session)
        for method in ("getbestblockhash", "nosuchmethod", "getbestblockhash"):
            assert await client.call(method, version="2.0") == await honest.call(method, version="2.0")


async def test_a_batch_is_answered_as_the_node_answers_it(client: Client, honest: Client, liar: Liar) -> None:
    calls: list[tuple[str, list[object]]] = [
        ("getblockcount", []),
        ("getblockhash", [-1]),
        ("getblockhash", [1]),
    ]
    assert await client.batch(*calls) == await honest.batch(*calls)
    assert liar.methods() == ["getblockcount", "getblockhash", "getblockhash"]
    assert liar.calls[2].params == [1]


async def test_binary_bodies_pass_unchanged(client: Client, honest: Client, liar: Liar) -> None:
    path = f"/rest/block/{await honest.result('getbestblockhash')}.bin"
    assert await client.get(path) == await honest.get(path)
    assert await client.get("/rest/block/00.bin") == await honest.get("/rest/block/00.bin")
    assert liar.methods() == [path, "/rest/block/00.bin"]


async def test_wrong_credentials_are_refused_as_by_the_node(liar: Liar, session: aiohttp.ClientSession) -> None:
    async with session.post(liar.url.replace("kassa:", "other:"), json={"method": "getblockcount"}) as response:
        assert response.status == 401


async def test_a_rule_lies_from_the_fourth_call_on(client: Client, liar: Liar) -> None:
    rule = liar.on("getblockcount").after(3).answer(None)
    assert [await client.result("getblockcount") for _ in range(5)] == [111, 111, 111, None, None]
    assert await client.result("getblockhash", 0) is not None
    rule.off()
    assert await client.result("getblockcount") == 111


async def test_a_rule_lies_at_every_third_call_twice(client: Client, liar: Liar) -> None:
    liar.on("getblockcount").every(3).times(2).answer("no")
    answers = [await client.result("getblockcount") for _ in range(10)]
    assert [number for number, answer in enumerate(answers, 1) if answer == "no"] == [3, 6]


async def test_a_rule_lies_about_some_parameters_only(client: Client, liar: Liar) -> None:
    liar.on("getblockhash").where(lambda call: call.params == [7]).answer("no")
    assert await client.result("getblockhash", 6) != "no"
    assert await client.result("getblockhash", 7) == "no"


async def test_the_youngest_rule_speaks_first(client: Client, liar: Liar) -> None:
    liar.on("*").answer("older")
    liar.on("getblockcount").times(1).answer("younger")
    assert await client.result("getblockcount") == "younger"
    assert await client.result("getblockcount") == "older"


async def test_a_dropped_call_never_reaches_the_node(client: Client, honest: Client, liar: Liar) -> None:
    liar.on("generatetoaddress").drop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.call("generatetoaddress", 1, await honest.result("getnewaddress"))
    assert await client.result("getblockcount") == 111


async def test_a_dropped_answer_leaves_the_deed_done(client: Client, honest: Client, liar: Liar) -> None:
    liar.on("generatetoaddress").drop_answer()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.call("generatetoaddress", 1, await honest.result("getnewaddress"))
    assert await client.result("getblockcount") == 112


async def test_a_node_that_is_gone_looks_gone(client: Client, bitcoind: DevNode) -> None:
    await bitcoind.kill()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.call("getblockcount")


async def test_errors_have_the_status_of_a_node(client: Client, honest: Client, liar: Liar) -> None:
    for version in ("1.0", "2.0"):
        liar.on("getblockcount").times(1).error(-8, "out of range")
        status, answer = await client.call("getblockcount", version=version)
        expected, _ = await honest.call("getblockhash", -1, version=version)
        assert (status, answer["error"]) == (expected, {"code": -8, "message": "out of range"})
    liar.on("getblockcount").warming_up()
    assert (await client.call("getblockcount"))[1]["error"]["code"] == -28


async def test_a_gateway_s_answer_takes_the_place_of_a_whole_batch(liar: Liar, session: aiohttp.ClientSession) -> None:
    liar.on("getblockcount").overloaded()
    async with session.post(
        liar.url, json=[{"method": "getblockhash", "params": [0]}, {"method": "getblockcount"}]
    ) as r:
        assert (r.status, await r.text()) == (503, "Work queue depth exceeded")


async def test_an_empty_answer_is_empty(liar: Liar, session: aiohttp.ClientSession) -> None:
    liar.on("*").empty()
    async with session.post(liar.url, json={"method": "getblockcount"}) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_a_stale_answer_is_the_one_given_before(client: Client, bitcoind: DevNode, liar: Liar) -> None:
    old = await client.result("getbestblockhash")
    liar.on("*").stale()
    await bitcoind.mine()
    assert await client.result("getbestblockhash") == old
    assert await client.result("getblockcount") == 112  # never asked before
    liar.honest()
    assert await client.result("getbestblockhash") != old


async def test_a_truncated_answer_ends_too_early(client: Client, honest: Client, liar: Liar) -> None:
    path = f"/rest/block/{await honest.result('getblockhash', 111)}.bin"
    _, whole = await honest.get(path)
    liar.on("/rest/block/*").times(1).truncate(100)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get(path)
    liar.on("/rest/block/*").times(1).truncate(100, honest_length=True)
    assert await client.get(path) == (200, whole[:100])
    liar.on("getblockcount").times(1).truncate(5)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.call("getblockcount")
    assert await client.result("getblockcount") == 111


async def test_a_mutation_changes_one_thing_and_no_amount(
    client: Client, honest: Client, liar: Liar, session: aiohttp.ClientSession
) -> None:
    liar.on("getbalances").mutate(lambda result: result | {"added": Decimal("0.10000000")})
    body = {"method": "getbalances", "params": []}
    async with session.post(liar.url, json=body) as lied, session.post(honest.url, json=body) as true:
        text, expected = await lied.text(), await true.text()
    assert '"added":0.10000000' in text
    trusted = expected.split('"trusted":')[1].split(",")[0]
    assert f'"trusted":{trusted}' in text


async def test_a_mutation_changes_a_binary_body(client: Client, honest: Client, liar: Liar) -> None:
    path = f"/rest/block/{await honest.result('getblockhash', 1)}.bin"
    liar.on("/rest/*").mutate(lambda body: body[::-1])
    assert await client.get(path) == (200, (await honest.get(path))[1][::-1])


async def test_json_that_is_none_passes_as_it_is(liar: Liar, session: aiohttp.ClientSession) -> None:
    liar.on("getblockcount").answer_raw("NaN")
    async with session.post(liar.url, json={"method": "getblockcount"}) as response:
        assert '"result":NaN' in await response.text()


async def test_another_node_answers_after_so_many_calls(
    client: Client, liar: Liar, bitcoind: DevNode, litecoind: DevNode
) -> None:
    ours, theirs = await bitcoind.tip(), await litecoind.tip()
    liar.swap_after(2, litecoind.rpc_url)
    answers = [await client.result("getbestblockhash") for _ in range(4)]
    assert answers == [ours.hash, ours.hash, theirs.hash, theirs.hash]
    status, _ = await client.get(f"/rest/block/{theirs.hash}.bin")
    assert status == 200


async def test_the_branch_changes_between_two_calls(client: Client, liar: Liar, bitcoind: DevNode) -> None:
    before = await bitcoind.tip()
    liar.between(2, lambda: bitcoind.fork(1))
    answers = [await client.result("getbestblockhash") for _ in range(4)]
    assert answers[:2] == [before.hash] * 2
    assert answers[2:] == [(await bitcoind.tip()).hash] * 2
    assert (await bitcoind.tip()).height == before.height + 1


async def test_the_branch_changes_between_two_calls_of_a_batch(client: Client, liar: Liar, bitcoind: DevNode) -> None:
    liar.between(1, lambda: bitcoind.mine(5))
    answers = await client.batch(*[("getblockcount", [])] * 3)
    assert [answer["result"] for answer in answers] == [111, 116, 116]
    assert [answer["id"] for answer in answers] == [0, 1, 2]


async def test_what_happens_between_two_calls_waits_for_the_earlier_and_holds_the_later(
    client: Client, honest: Client, liar: Liar
) -> None:
    release, order = asyncio.Event(), []
    liar.on("getblockhash").hold(release)

    async def note() -> None:
        order.append("between")

    async def ask(name: str, method: str, *params: object) -> None:
        await client.call(method, *params)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask("earlier", "getblockhash", 0))
        await liar.seen("getblockhash")
        liar.between(0, note)
        group.create_task(ask("later", "getblockcount"))
        group.create_task(ask("later", "getblockcount"))
        for _ in range(5):  # time enough for what must not happen
            await honest.result("getblockcount")
        assert order == []
        release.set()
    assert order[:2] in (["earlier", "between"], ["between", "earlier"])
    assert order[2:] == ["later", "later"]


async def test_a_hanging_call_hangs_until_its_caller_gives_up(client: Client, liar: Liar) -> None:
    liar.on("getblockcount").times(1).hang()
    asked = asyncio.create_task(client.call("getblockcount"))
    await liar.seen("getblockcount")
    assert not (await asyncio.wait([asked], timeout=0.1))[0]
    asked.cancel()
    await asyncio.wait([asked])
    assert await client.result("getblockcount") == 111


async def test_a_delay_delays(client: Client, liar: Liar) -> None:
    liar.on("getblockcount").delay(0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await client.result("getblockcount") == 111
    assert loop.time() - began >= 0.2
