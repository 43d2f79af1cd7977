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


@dataclass
class Liar:
    """`url` stands for the node. `calls` counts the requests; `before` runs ahead of each with its number.

    `results` replaces results by method: it gets the true one and returns what is told instead. `reply` replaces whole
    HTTP answers: it gets the request's path and returns (status, body) or None.
    """

    url: str = ""
    calls: int = 0
    before: Callable[[int], Awaitable[None]] | None = None
    results: dict[str, Callable[[Json], Json]] = field(default_factory=dict)
    reply: Callable[[str], tuple[int, bytes] | None] | None = None
    paths: list[str] = field(default_factory=list)


@asynccontextmanager
async def lying(node_url: str) -> AsyncIterator[Liar]:
    """Run a proxy in front of a node; it tells the truth until told otherwise."""
    liar = Liar()
    parts = urlsplit(node_url)
    upstream = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def handle(request: web.Request) -> web.Response:
            liar.calls += 1
            liar.paths.append(request.path)
            if liar.before is not None:
                await liar.before(liar.calls)
            if liar.reply is not None and (told := liar.reply(request.path)) is not None:
                return web.Response(status=told[0], body=told[1])
            asked = await request.read()
            headers = {name: request.headers[name] for name in ("Authorization",) if name in request.headers}
            async with session.request(request.method, upstream + request.path, data=asked, headers=headers) as answer:
                body = await answer.read()
                if request.method == "POST" and liar.results:
                    body = _changed(liar, json.loads(asked), json.loads(body))
                return web.Response(status=answer.status, body=body)

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        liar.url = urlunsplit((parts.scheme, f"{parts.username}:{parts.password}@127.0.0.1:{port}", "", "", ""))
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
            answer["result"] = liar.results[call["method"]](answer.get("result"))
    return json.dumps(answered).encode()
