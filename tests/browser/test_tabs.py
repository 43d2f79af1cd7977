"""Many checkouts in one browser: it has six connections to a server of HTTP/1.1, for all its tabs together."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.browser.checkouts import BTC, option, running_kassa
from tests.browser.tabs import Window
from tests.e2e.program import Program

TITLE = "document.querySelector('h1')?.textContent"
WAITING, SEEN = "Waiting for your payment", "Payment seen"
# Of a page: what it would do by itself after a while, on a slow machine before it is asked what it shows.
WITHOUT_TIMERS = "for (let id = setTimeout(() => {}); id > 0; id--) clearTimeout(id)"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kassa(
    shared_bitcoind: DevNode,
    shared_anvil: AnvilNode,
    shared_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Program]:
    """The program, shared by these tests."""
    folder = tmp_path_factory.mktemp("tabs") / "kassa"
    async with running_kassa(folder, shared_bitcoind, shared_anvil, shared_database_url) as program:
        yield program


@pytest_asyncio.fixture(loop_scope="session")
async def window(chromium: str) -> AsyncIterator[Window]:
    """A window of a browser whose tabs hide each other."""
    async with Window.running(chromium) as running:
        yield running


async def test_of_eight_checkouts_in_one_browser_each_shows_its_payment_as_soon_as_it_is_looked_at(
    kassa: Program, shared_bitcoind: DevNode, window: Window
) -> None:
    invoices = [await kassa.invoice(payment_options=[BTC]) for _ in range(8)]
    tabs = []
    for invoice in invoices:
        tabs.append(await window.open(invoice["checkout_url"]))
        await tabs[-1].until(TITLE, WAITING)
        await tabs[-1].until("document.readyState", "complete")
    for tab in tabs:  # a tab hears that another one is before it when it comes to that
        await tab.until("document.visibilityState", "visible" if tab is tabs[7] else "hidden")
    for tab in tabs:
        await tab.value(WITHOUT_TIMERS)

    await shared_bitcoind.fund(option(invoices[7], BTC)["address"], 100_000)
    await kassa.until_invoice(invoices[7], status="processing")
    await tabs[7].until(TITLE, SEEN)  # by its stream

    await shared_bitcoind.fund(option(invoices[6], BTC)["address"], 100_000)
    await kassa.until_invoice(invoices[6], status="processing")
    assert await tabs[6].value(TITLE) == WAITING
    await tabs[6].show()
    await tabs[6].until(TITLE, SEEN)

    # It follows again: what comes while it is looked at is shown at once.
    await tabs[1].show()
    await tabs[1].until("document.visibilityState", "visible")
    await tabs[1].value(WITHOUT_TIMERS)
    await shared_bitcoind.fund(option(invoices[1], BTC)["address"], 100_000)
    await kassa.until_invoice(invoices[1], status="processing")
    await tabs[1].until(TITLE, SEEN)


async def test_a_page_that_a_browser_kept_and_shows_again_looks_at_once_and_follows_again(
    kassa: Program, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    stream = f"**/i/{invoice['id']}/stream"
    async with page.expect_response(stream):
        await page.goto(invoice["checkout_url"])
    # Chromium keeps no page that may not be stored, as ours; others do (Safari), and say so by these events.
    async with page.expect_event("requestfailed", lambda request: request.url.endswith("/stream")):
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    async with page.expect_response(stream), page.expect_response(invoice["checkout_url"]):
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
