"""Tabs of a Chromium that nobody drives: those behind another one are really hidden, which Playwright lets none be."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from tests.browser.chromium import FLAGS

SECONDS = 20.0
"""How long a tab may take for whatever it is told to do."""


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab, by the DevTools protocol."""

    session: aiohttp.ClientSession
    id: str
    socket: str

    async def show(self) -> None:
        """Bring this tab to the front, and so hide the others."""
        async with self.session.get(f"/json/activate/{self.id}") as answer:
            assert answer.status == 200

    async def tell(self, method: str, **params: Any) -> Any:  # JSON
        """Send one command, and return its result; None where the tab went to another page meanwhile."""
        async with asyncio.timeout(SECONDS), self.session.ws_connect(self.socket) as socket:
            await socket.send_json({"id": 1, "method": method, "params": params})
            while (said := await socket.receive_json()).get("id") != 1:
                pass
        return said.get("result")

    async def value(self, expression: str) -> Any:  # JSON
        """Return what an expression is in the tab's page."""
        said = await self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        return said and said["result"].get("value")

    async def until(self, expression: str, wanted: Any, seconds: float = SECONDS) -> None:  # JSON
        """Wait until an expression is what is wanted."""
        seen = None
        try:
            async with asyncio.timeout(seconds):
                # Whose page it is tells nobody of it.
                while (seen := await self.value(expression)) != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expression} is {seen!r} after {seconds} s, not {wanted!r}") from None


@dataclass(frozen=True, slots=True)
class Window:
    """A window of a Chromium of its own."""

    session: aiohttp.ClientSession

    async def open(self, url: str) -> Tab:
        """Open an address in a new tab before the others."""
        async with self.session.put(f"/json/new?{url}") as answer:
            made = await answer.json()
        return Tab(self.session, made["id"], made["webSocketDebuggerUrl"])

    @classmethod
    @asynccontextmanager
    async def running(cls, chromium: str) -> AsyncIterator[Self]:
        """Run a Chromium with a profile of its own while the block runs."""
        with tempfile.TemporaryDirectory(prefix="kassa-tabs-", ignore_cleanup_errors=True) as profile:
            process = await asyncio.create_subprocess_exec(
                chromium, "--headless", *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}",
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                async with aiohttp.ClientSession(f"http://127.0.0.1:{await _port(process)}") as session:
                    yield cls(session)
            finally:
                process.kill()
                await process.communicate()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS):
        async for line in process.stderr:
            if found := re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                return int(found[1])
    raise AssertionError("chromium ended before it listened")
