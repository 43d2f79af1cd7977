"""A payer at the checkout, with the real program on real nodes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.browser.checkouts import BTC, option, running_kassa, shows
from tests.e2e.program import Program


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kassa(
    shared_bitcoind: DevNode,
    shared_anvil: AnvilNode,
    shared_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Program]:
    folder = tmp_path_factory.mktemp("checkout") / "kassa"
    async with running_kassa(folder, shared_bitcoind, shared_anvil, shared_database_url) as program:
        yield program


async def test_a_payment_in_bitcoin_is_watched_from_waiting_to_paid(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    invoice = await kassa.invoice(description="Two coffees", payment_options=[BTC])
    await page.goto(invoice["checkout_url"])

    await shows(page, "Waiting for your payment")
    address = option(invoice, BTC)["address"]
    await expect(page.locator(".address")).to_have_text(address)
    await page.screenshot(path="/tmp/shots/wait.png", full_page=True)
    txid = await shared_bitcoind.fund(address, 100_000)
    await shows(page, "Payment seen")
    await expect(page.locator(".tx")).to_contain_text(txid)
    await shared_bitcoind.mine()
    await shows(page, "1 of 2 confirmations")
    await shared_bitcoind.mine()
    await shows(page, "Paid", "Thank you")
    await expect(page.locator(".qr")).to_have_count(0)
