"""A lying proxy in front of any node: JSON-RPC with batches, and REST with binary bodies.

    async with Liar(node.rpc_url) as liar:
        source = connect(liar.url)
        liar.on("getbestblockhash").after(3).answer(None)      # from the fourth call on
        liar.on("getblock*").every(5).drop()                   # every fifth connection dies
        liar.on("/rest/block/*").times(1).truncate(100)        # the next block ends in the middle
        liar.between(4, switch_branch)                         # the chain changes between two calls

Without rules it is honest. A rule counts the calls that match it from the moment it is made. Where several apply, the
youngest speaks first: it may answer itself, or ask on and change the answer. Rules can be made and ended (`rule.off()`,
`liar.honest()`) between any two calls. A batch is asked upstream call by call, in order, so that rules and branch
switches reach inside it.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp import web

from tests.tools.lies import Ask, Call, Dropped, Json, Reply, Rule, decode, encode, question

_TOO_LARGE = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}'


class Liar:
    """The proxy. `url` is what to give to whoever is to be lied to: the node's own URL with another port."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.calls: list[Call] = []
        self.rules: list[Rule] = []
        self.answered: dict[bytes, Reply] = {}
        self.ending = asyncio.Event()
        self._gate = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._open = 0
        self._old = False
        self.most_at_once: int | None = None
        """Calls in one batch beyond which the whole batch is refused, as providers do; `refused` counts those."""
        self.refused = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        parts = urlsplit(self.upstream)
        user = parts.netloc.rpartition("@")[0]
        address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        self.url = urlunsplit((parts.scheme, f"{user}@{address}" if user else address, parts.path, "", ""))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ending.set()
        await self._runner.cleanup()
        await self._session.close()

    # What a test says to it

    def on(self, pattern: str) -> Rule:
        """Begin a rule about a method, a REST path, or a pattern of either ("getblock*", "/rest/*", "*")."""
        return Rule(self, pattern)

    def honest(self) -> None:
        """End all rules."""
        self.rules.clear()

    def swap_after(self, calls: int, url: str) -> Rule:
        """Let another node answer once so many further calls were answered by this one."""
        return self.on("*").after(calls).swap(url)

    def between(self, calls: int, action: Callable[[], Awaitable[object]]) -> Rule:
        """Await an action once, after so many further calls and before the next one."""
        return self.on("*").after(calls).times(1).run(action)

    def forget(self) -> None:
        """Forget the calls made so far (rules keep their own counts, `stale` its memory)."""
        self.calls.clear()

    def methods(self) -> list[str]:
        """Return the methods and REST paths called, in order."""
        return [call.method for call in self.calls]

    def count(self, pattern: str) -> int:
        """Return how many calls matched a pattern."""
        return sum(fnmatchcase(call.method, pattern) for call in self.calls)

    async def seen(self, pattern: str, times: int = 1, seconds: float = 40) -> None:
        """Wait until a pattern was called so many times; raise `TimeoutError`."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self.count(pattern) >= times)

    # How it serves

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        try:
            if request.method == "POST":
                return await self._serve_rpc(request, body)
            reply = await self._one(request, Call(0, request.path_qs, (), request.path_qs), b"")
            return await _send(request, reply, reply.body or b"")
        except (Dropped, aiohttp.ClientError):  # the node itself is gone: so are we
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _serve_rpc(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        asked = decode(body)
        items = asked if isinstance(asked, list) else [asked]
        if self.most_at_once is not None and len(items) > self.most_at_once:
            self.refused += 1
            return await _send(request, Reply(), _TOO_LARGE)
        replies = [await self._one(request, self._call(request, item), encode(item)) for item in items]
        whole = next((reply for reply in replies if reply.body is not None), None)
        if whole is not None:  # a gateway's answer takes the place of all
            return await _send(request, whole, whole.body or b"")
        envelopes = [self._envelope(item, reply) for item, reply in zip(items, replies, strict=True)]
        if not isinstance(asked, list):
            return await _send(request, replies[0], envelopes[0])
        cut = next((reply for reply in replies if reply.kept is not None), Reply())
        return await _send(request, replace(cut, status=200), b"[" + b",".join(envelopes) + b"]")

    def _call(self, request: web.BaseRequest, item: Json) -> Call:
        modern = item.get("jsonrpc") == "2.0" and not self._old
        return Call(0, item["method"], item.get("params", []), request.path_qs, modern)

    def _envelope(self, item: Json, reply: Reply) -> bytes:
        """Wrap a reply as the node would for this call's JSON-RPC version."""
        number = encode(item.get("id"))
        if item.get("jsonrpc") == "2.0" and not self._old:
            said = b'"error":' + reply.error if reply.error else b'"result":' + (reply.result or b"null")
            return b'{"jsonrpc":"2.0",' + said + b',"id":' + number + b"}"
        result, error = reply.result or b"null", reply.error or b"null"
        return b'{"result":' + result + b',"error":' + error + b',"id":' + number + b"}"

    async def _one(self, request: web.BaseRequest, call: Call, body: bytes) -> Reply:
        call, rules = await self._admit(call)

        async def upstream(asked: Call) -> Reply:
            return await self._ask(request, asked, body)

        ask: Ask = upstream
        for rule in rules:
            ask = _bound(rule, ask)
        try:
            return await ask(call)
        finally:
            async with self._changed:
                self._open -= 1
                self._changed.notify_all()

    async def _admit(self, call: Call) -> tuple[Call, list[Rule]]:
        """Number and record a call, find its rules, and let their actions happen while nothing else is under way."""
        async with self._gate:
            call = replace(call, number=len(self.calls) + 1)
            rules = [rule for rule in list(self.rules) if rule.takes(call)]
            for rule in rules:
                if rule.before is not None:
                    async with self._changed:
                        await self._changed.wait_for(lambda: self._open == 0)
                    await rule.before()
            async with self._changed:
                self.calls.append(call)
                self._open += 1
                self._changed.notify_all()
            return call, rules

    async def _ask(self, request: web.BaseRequest, call: Call, body: bytes) -> Reply:
        base, authorization = _base(call.upstream or self.upstream)
        if call.upstream is None:
            authorization = request.headers.get("Authorization")
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")} if body else {}
        headers |= {"Authorization": authorization} if authorization else {}
        async with self._session.request(
            request.method, base + call.path, data=body or None, headers=headers
        ) as response:
            reply = self._read(call, response.status, await response.read())
        if call.upstream is None:
            self.answered[question(call)] = reply
        return reply

    def _read(self, call: Call, status: int, body: bytes) -> Reply:
        if call.rest:
            return Reply(status, body=body)
        try:
            answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:
            return Reply(status, body=body)
        self._old = "result" in answer and "error" in answer  # a node that speaks only the first version
        error = bytes(answer.get("error", b"null"))
        if error != b"null":
            return Reply(status, error=error)
        return Reply(status, result=bytes(answer.get("result", b"null")))


def _bound(rule: Rule, ask: Ask) -> Ask:
    async def asked(call: Call) -> Reply:
        assert rule.act is not None
        return await rule.act(call, ask)

    return asked


def _base(url: str) -> tuple[str, str | None]:
    """Split a node's URL into what stands before a path, and its credentials as a header."""
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    header = "Basic " + base64.b64encode(unquote(user).encode()).decode() if user else None
    return f"{parts.scheme}://{address}", header


async def _send(request: web.BaseRequest, reply: Reply, body: bytes) -> web.StreamResponse:
    kind = "application/octet-stream" if request.method == "GET" else "application/json"
    kept = body if reply.kept is None else body[: reply.kept]
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": kind})
    response.content_length = len(kept if reply.honest_length else body)
    await response.prepare(request)
    await response.write(kept)
    if len(kept) < len(body) and not reply.honest_length and request.transport is not None:
        request.transport.close()  # after what was written
        return response
    await response.write_eof()
    return response
