"""Serves the operations port: /metrics for Prometheus and /health/live. Whoever reaches it may read it."""

import asyncio
import socket
from contextlib import nullcontext, suppress
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest

from kassa.api.reply import Reply, json_reply
from kassa.api.server import make_server
from kassa.core.errors import SettingsError
from kassa.house import House
from kassa.metrics.stand import Stand
from kassa.settings import Listen

log = structlog.get_logger()

CONNECTIONS = 20
BEAT_SECONDS = 0.5
AGAIN_SECONDS = 5
_LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

LOOP_LAG = Histogram("kassa_event_loop_lag_seconds", "How late this process's event loop wakes up.", buckets=_LAGS)


async def serve_metrics(house: House, roles: tuple[str, ...]) -> None:
    """Serve until cancelled; wait while another process has the port, for payments do not depend on being watched."""
    listen = house.settings.http.ops_listen
    if listen is None:
        await asyncio.Event().wait()
        return
    async with asyncio.TaskGroup() as group:
        group.create_task(_beat())
        await _serve(Stand(house, roles), listen, await _bound(listen))


async def _bound(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    told = False
    while True:
        try:
            return socket.create_server((listen.host, listen.port), family=family)
        except OSError as fault:
            if not told:
                remedy = 'give each process an http.ops_listen of its own, or "off"'
                log.warning("metrics are not served yet", at=str(listen), fault=fault.strerror, remedy=remedy)
            told = True
            await asyncio.sleep(AGAIN_SECONDS)


async def _serve(stand: Stand, listen: Listen, bound: socket.socket) -> None:
    with bound:
        server = make_server(_Operations(stand), listen.host, listen.port, connections=CONNECTIONS)
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]  # handled in main.py
        server.config.timeout_graceful_shutdown = 1
        host, port = bound.getsockname()[:2]
        log.info("serving metrics", at=str(Listen(host, port)))
        serving = asyncio.create_task(server.serve([bound]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await serving
    raise SettingsError("the operations port ended by itself")


class _Operations:
    """The ASGI application of the port."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        # Of its own: the other one is the process's, and would refuse a second house.
        self._registry = CollectorRegistry()
        self._registry.register(stand)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # as ASGI has it
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        reply = await self._reply(scope["method"], scope["path"])
        await reply(scope, receive, send)

    async def _reply(self, method: str, path: str) -> Reply:
        match (method, path):
            case ("GET", "/metrics"):
                await self._stand.refresh()
                return Reply(
                    200, generate_latest(REGISTRY) + generate_latest(self._registry), CONTENT_TYPE_LATEST.encode()
                )
            case ("GET", "/health/live"):
                return json_reply(200, {"status": "ok"})
        return json_reply(404, {"status": "there are /metrics and /health/live"})


async def _beat() -> None:
    while True:
        asleep = perf_counter()
        await asyncio.sleep(BEAT_SECONDS)
        LOOP_LAG.observe(max(0, perf_counter() - asleep - BEAT_SECONDS))
