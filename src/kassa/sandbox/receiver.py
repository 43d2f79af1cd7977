"""The shop's end of the webhooks: a small server that believes nothing whose signature it has not checked.

It is written from the Standard Webhooks specification, without Kassa's own code: if both agree, a merchant's will too.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from aiohttp import web

from kassa.core.clock import SystemClock
from kassa.core.errors import SandboxError

PATH = "/webhooks"
TOLERANCE_SECONDS = 300
"""A message whose time lies further off is a replay, or somebody's clock is wrong."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event whose signature was right. `at` is of the clock that `perf_counter` reads."""

    event: dict[str, Any]  # JSON
    at: float

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def object(self) -> dict[str, Any]:  # JSON
        return dict(self.event["data"]["object"])

    @property
    def invoice(self) -> str | None:
        """The id of the invoice that this is about."""
        return self.object["id"] if self.object["object"] == "invoice" else self.object.get("invoice_id")


Hear = Callable[[Received], None]


class Receiver:
    """Takes webhooks on a loopback port. The same event may come twice: the second is answered and not kept."""

    def __init__(self, hear: Hear) -> None:
        self.secret = ""
        self.received: list[Received] = []
        self.refused: list[str] = []
        self._hear = hear
        self._known: set[str] = set()
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int) -> None:
        """Listen; raises `SandboxError` when the port is taken."""
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as fault:
            raise SandboxError(f"the webhook receiver cannot listen on port {port}: {fault.strerror}") from None
        self.url = f"http://127.0.0.1:{port}{PATH}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def about(self, invoice: str) -> list[Received]:
        """Return what was received about an invoice and its payments, in order of arrival."""
        return [each for each in self.received if each.invoice == invoice]

    async def nth(self, invoice: str, number: int, seconds: float) -> Received:
        """Wait for event `number` (from 0) about an invoice; raises `SandboxError` when it does not come in time."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: len(self.about(invoice)) > number)
        except TimeoutError:
            came = ", ".join(each.type for each in self.about(invoice)) or "nothing"
            refused = f"; refused: {'; '.join(self.refused)}" if self.refused else ""
            raise SandboxError(f"no further webhook within {seconds:g} seconds; so far came {came}{refused}") from None
        return self.about(invoice)[number]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        fault = fault_of(request.headers, body, self.secret, int(SystemClock().now().timestamp()))
        if fault is not None:
            self.refused.append(fault)
            return web.Response(status=400, text=fault)
        event = json.loads(body)
        if event["id"] not in self._known:
            self._known.add(event["id"])
            received = Received(event, perf_counter())
            async with self._news:
                self.received.append(received)
                self._news.notify_all()
            self._hear(received)
        return web.Response(status=204)


def fault_of(headers: Mapping[str, str], body: bytes, secret: str, now: int) -> str | None:
    """Say why a message is not to be believed, or return None if it is; `now` is in UNIX seconds.

    See https://github.com/standard-webhooks/standard-webhooks, "Verifying webhook authenticity".
    """
    message, sent, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not message or not sent.isascii() or not sent.isdecimal() or not signatures:
        return "a header of the signature is missing or malformed"
    if abs(now - int(sent)) > TOLERANCE_SECONDS:
        return "the time of the message is too far from ours"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = hmac.new(key, f"{message}.{sent}.".encode() + body, hashlib.sha256).digest()
    for each in signatures.split(" "):
        version, _, text = each.partition(",")
        if version == "v1" and hmac.compare_digest(text.encode(), base64.b64encode(right)):
            return None
    return "no signature is right"
