"""Checkouts of the real program on real nodes, and what a payer does with them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.e2e.program import Json, Program, installed
from tests.house import BITCOIN, XPUB

BTC, USDC, ETH = f"BTC@{BITCOIN}", "USDC@anvil", "ETH@anvil"
TIERS = "[{ blocks = 2 }]"


@asynccontextmanager
async def running_kassa(folder: Path, bitcoind: DevNode, anvil: AnvilNode, database_url: str) -> AsyncIterator[Program]:
    """Run the program on both nodes, with a store that accepts BTC, ETH and USDC; two confirmations suffice."""
    async with installed(folder, bitcoind, database_url, confirmations=TIERS) as program:
        token = f'{{ symbol = "USDC", contract = "{anvil.tokens["USDC"]}", decimals = 6 }}'
        program.add(
            f'[networks.anvil]\nfamily = "evm"\nchain_id = 31337\nrpc_url = "{anvil.websocket_url}"',
            f"tokens = [{token}]\npoll_seconds = 1\ndrop_after_seconds = 2\nconfirmations = {TIERS}",
        )
        await program.start("up")
        await program.ready()
        await program.open_store(anvil=XPUB)
        yield program


def option(invoice: Json, asset: str) -> Json:
    """Return one of an invoice's options."""
    return next(one for one in invoice["payment_options"] if one["asset"] == asset)


def title(page: Page) -> Locator:
    """Return the words that say where the invoice stands."""
    return page.locator("[data-part=state] h1")


async def shows(page: Page, *texts: str) -> None:
    """Wait until a page's state says all of this."""
    for text in texts:
        await expect(page.locator("[data-part=state]")).to_contain_text(text, timeout=20_000)


async def patched(kassa: Program, **change: Any) -> Json:
    """Change the store."""
    _, store = await kassa.call("GET", "/v1/store")
    status, changed = await kassa.call("PATCH", "/v1/store", {"version": store["version"], **change})
    assert status == 200, json.dumps(changed)
    return changed
