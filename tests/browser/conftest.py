"""A real browser for the tests of pages: one Chromium for the whole run, a profile of its own for each test.

Everything here runs in one event loop for the session, so that a file may share what it started: give a fixture of
yours `@pytest_asyncio.fixture(scope="module", loop_scope="session")`. Tests need no mark.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from kassa.chains.base import Program
from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.browser.chromium import FLAGS, find_or_install
from tests.conftest import _database, _execute
from tests.nodes import running

HERE = Path(__file__).parent
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
PATIENCE = 20_000
"""Milliseconds in which a page shows what is waited for: another process mostly has to do something first."""
expect.set_options(timeout=PATIENCE)

OpenPage = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test of this folder run in the session's loop, where the browser lives."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium of this machine, installed if it has none."""
    return find_or_install()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One running Chromium."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield launched
        await launched.close()


class Faults:
    """What went wrong in a page without anyone having asked for it: errors, refusals by the policy, foreign loads."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.dialogs: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        """Note every error that any page of a context shows."""
        context.on("weberror", lambda fault: self.seen.append(f"script: {fault.error}"))
        context.on("console", lambda said: self.seen.append(said.text) if said.type == "error" else None)
        context.on("dialog", self._on_dialog)

    async def _on_dialog(self, dialog) -> None:  # type: ignore[no-untyped-def]  # playwright's
        self.dialogs.append(dialog.message)
        await dialog.dismiss()


@pytest.fixture
def faults() -> Faults:
    """What the pages of this test complained about: `faults.seen` must be empty at the end unless a test clears it."""
    return Faults()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, faults: Faults) -> AsyncIterator[OpenPage]:
    """A function that opens an empty page in a fresh profile; its arguments are those of `browser.new_context`."""
    contexts: list[BrowserContext] = []

    async def open_one(**options: object) -> Page:
        wanted = {"viewport": PHONE, "locale": "en-GB", "timezone_id": "UTC"} | options
        context = await browser.new_context(**wanted)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        faults.watch(context)
        contexts.append(context)
        return await context.new_page()

    yield open_one
    for context in contexts:
        await context.close()
    assert faults.dialogs == []
    assert faults.seen == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: OpenPage) -> Page:
    """An empty page, as wide as a phone."""
    return await open_page()


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated database that the tests of one file share."""
    name = f"kassa_test_{uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_url, f"create database {name} template {template} strategy file_copy"))
    yield _database(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_bitcoind(
    bitcoind_program: Program, bitcoind_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DevNode]:
    """A Bitcoin regtest node that the tests of one file share."""
    datadir = tmp_path_factory.mktemp("shared") / "bitcoind"
    async with running(bitcoind_program, bitcoind_data, datadir, "bitcoin-regtest") as node:
        yield node


@asynccontextmanager
async def anvil_in(program: Program, folder: Path) -> AsyncIterator[AnvilNode]:
    """Run an anvil with a token USDC of 6 decimals."""
    node = await AnvilNode.start(program, folder)
    try:
        await node.deploy("USDC", 6)
        yield node
    finally:
        await node.kill()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_anvil(anvil_program: Program, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AnvilNode]:
    """An anvil that the tests of one file share."""
    async with anvil_in(anvil_program, tmp_path_factory.mktemp("shared") / "anvil") as node:
        yield node


@asynccontextmanager
async def site(page: str) -> AsyncIterator[int]:
    """Serve a page of somebody else's on a port of its own.

    Really: what a test answers in the network's place, a browser takes for another network, and shows no frame in it.
    """

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{place:.*}", show)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
