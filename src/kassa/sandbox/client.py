"""A merchant's client of the public HTTP API, and of nothing else."""

import asyncio
import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from kassa.core.errors import SandboxError

Json = dict[str, Any]
"""A resource as the API shows it."""

LOOK_SECONDS = 0.03
"""The pause between two looks at what nobody announces."""


class Client:
    """Calls one Kassa with one key; an answer that is no success is a `SandboxError` with the server's words."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {key}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """Read a resource or a list."""
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Json:
        """Make something; `key` is an idempotency key."""
        return await self._ask("POST", path, body, headers={} if key is None else {"Idempotency-Key": key})

    async def patch(self, path: str, body: Mapping[str, Any]) -> Json:
        """Change something."""
        return await self._ask("PATCH", path, body)

    async def invoice(self, wanted: str) -> Json:
        """Read an invoice by its id; "last" is the newest one of the store."""
        if wanted != "last":
            return await self.get(f"/v1/invoices/{wanted}")
        found = (await self.get("/v1/invoices", limit="1"))["data"]
        if not found:
            raise SandboxError("the store has no invoice yet: make one with `kassa sandbox invoice`")
        return dict(found[0])

    async def until(
        self, path: str, holds: Callable[[Json], bool], seconds: float, wanted: str, *, patient: bool = False
    ) -> Json:
        """Read a resource until `holds`; raises `SandboxError` with what was seen last when it never does.

        `patient` takes a server that does not answer for one that does not answer yet.
        """
        seen: Json = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        seen = await self.get(path)
                    except SandboxError:
                        if not patient:
                            raise
                    else:
                        if holds(seen):
                            return seen
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            said = json.dumps(seen)[:600]
            raise SandboxError(f"expected {wanted} within {seconds:g} seconds; {path} says {said}") from None

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        url = self.url + path
        try:
            async with self._session.request(method, url, json=body, params=query, headers=headers) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise SandboxError(f"{method} {url} got no answer ({fault or type(fault).__name__})") from fault
        if response.status >= 400:
            detail = answer.get("detail", "") if isinstance(answer, dict) else answer
            raise SandboxError(f"{method} {url} was answered {response.status}: {detail}")
        return dict(answer)
