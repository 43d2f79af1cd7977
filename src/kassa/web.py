"""The role `api` as a server: endpoints, checkout and dashboard on one port.

Imported by whoever serves it alone: half of what a process loads, and no other role needs any of it.
"""

import asyncio
import gc
import os
import socket
from contextlib import nullcontext

import structlog
from uvicorn import Server

from kassa.api.app import create_app
from kassa.api.server import make_server
from kassa.checkout import assets
from kassa.checkout import pages as checkout
from kassa.core.errors import KassaError, SettingsError
from kassa.dashboard import app as dashboard
from kassa.dashboard.render import FILES
from kassa.files.shelf import share
from kassa.house import House
from kassa.settings import Listen
from kassa.stores.store import colours

log = structlog.get_logger()

DRAIN_SECONDS = 5
"""After a signal, for answers that are being written."""


async def serve_http(house: House, stop: asyncio.Event) -> None:
    """Serve until `stop` is set and the answers in hand are written, for some seconds; raises `KassaError`."""
    listen = house.settings.http.listen
    # Before any page that asks for them: the process that is asked may be of another version.
    files = [*assets.all_files(await colours(house.database.pool)), *FILES.values()]
    await share(house.database, house.seal, files, house.clock.now())
    with _bound(listen, "http.listen") as bound:
        server = make_server(
            create_app(house, [*checkout.handlers(house), *dashboard.handlers(house)], dashboard.unknown),
            listen.host,
            listen.port,
        )
        server.config.timeout_graceful_shutdown = DRAIN_SECONDS
        # Signals are handled once, above.
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        host, port = bound.getsockname()[:2]
        log.info("listening", at=str(Listen(host, port)), public_url=house.settings.http.public_url)
        # What was built until now stays for ever; the collector need not look through it again and again.
        gc.freeze()
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(_end(server, stop))
            await server.serve([bound])
            ending.cancel()
    if not stop.is_set():
        raise KassaError("the HTTP server ended by itself; see the log above")


async def _end(server: Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _bound(listen: Listen, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family, backlog=2048)
    except OSError as fault:
        reason = os.strerror(fault.errno or 0)
        raise SettingsError(f"cannot listen on {listen} ({reason}): change {key} or end who uses it") from None
