"""A proxy in front of a real node that can lie: change, delay or withhold any answer, or act between two calls."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp import web

Json = Any  # whatever a node answers
_PASSED_ON = ("Authorization", "Content-Type")
_JSON = {"Content-Type": "application/json"}


@dataclass
class Liar:
    """`url` stands for the node. `calls` counts the requests; `before` runs ahead of each with its number.

    `results` replaces results by method: it gets the true one and returns what is told instead; `errors` puts an error
    in their place, where `concerned` says so of the call's parameters; `methods` are those called so far. `reply`
    replaces whole HTTP answers: it gets the request's path and returns (status, body) or None. A WebSocket's messages
    count as requests.
    """

    url: str = ""
    calls: int = 0
    before: Callable[[int], Awaitable[None]] | None = None
    results: dict[str, Callable[[Json], Json]] = field(default_factory=dict)
    errors: dict[str, Json] = field(default_factory=dict)
    concerned: Callable[[Json], bool] = lambda _: True
    methods: list[str] = field(default_factory=list)
    reply: Callable[[str], tuple[int, bytes] | None] | None = None
    paths: list[str] = field(default_factory=list)

    def lies(self, asked: Json) -> bool:
        """Note which methods were called; tell whether any answer is to be changed."""
        self.methods += [call["method"] for call in (asked if isinstance(asked, list) else [asked])]
        return bool(self.results or self.errors)


@asynccontextmanager
async def lying(node_url: str) -> AsyncIterator[Liar]:
    """Run a proxy in front of a node; it tells the truth until told otherwise."""
    liar = Liar()
    parts = urlsplit(node_url)
    upstream = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def converse(request: web.Request) -> web.WebSocketResponse:
            """Take each message as a request of its own, and ask the node over HTTP."""
            socket = web.WebSocketResponse(max_msg_size=2**26)
            await socket.prepare(request)
            async for message in socket:
                liar.calls += 1
                if liar.before is not None:
                    await liar.before(liar.calls)
                async with session.post(upstream, data=message.data, headers=_JSON) as answer:
                    body = await answer.read()
                if liar.lies(json.loads(message.data)):
                    body = _changed(liar, json.loads(message.data), json.loads(body))
                await socket.send_str(body.decode())
            return socket

        async def handle(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await converse(request)
            liar.calls += 1
            liar.paths.append(request.path)
            if liar.before is not None:
                await liar.before(liar.calls)
            if liar.reply is not None and (told := liar.reply(request.path)) is not None:
                return web.Response(status=told[0], body=told[1])
            asked = await request.read()
            headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
            async with session.request(request.method, upstream + request.path, data=asked, headers=headers) as answer:
                body = await answer.read()
                if request.method == "POST" and liar.lies(json.loads(asked)):
                    body = _changed(liar, json.loads(asked), json.loads(body))
                return web.Response(status=answer.status, body=body)

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        credentials = "" if parts.username is None else f"{parts.username}:{parts.password}@"
        liar.url = urlunsplit((parts.scheme, f"{credentials}127.0.0.1:{port}", "", "", ""))
        try:
            yield liar
        finally:
            await runner.cleanup()


def _changed(liar: Liar, asked: Json, answered: Json) -> bytes:
    calls = asked if isinstance(asked, list) else [asked]
    answers = {answer["id"]: answer for answer in (answered if isinstance(answered, list) else [answered])}
    for call in calls:
        if call["method"] in liar.results:
            answer = answers[call["id"]]
            answer.pop("error", None)
            answer["result"] = liar.results[call["method"]](answer.get("result"))
        if call["method"] in liar.errors and liar.concerned(call["params"]):
            answers[call["id"]].pop("result", None)
            answers[call["id"]]["error"] = liar.errors[call["method"]]
    return json.dumps(answered).encode()
