"""Checkouts of the real program on real nodes, and what a payer does with them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.invoices.rules import sealed_text
from kassa.invoices.store import load
from kassa.wallets.seal import read_or_make
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
        await expect(page.locator("[data-part=state]")).to_contain_text(text)


async def sound(page: Page) -> None:
    """Check the page by the rules of WCAG that a machine can check."""
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


async def patched(kassa: Program, **change: Any) -> Json:
    """Change the store."""
    _, store = await kassa.call("GET", "/v1/store")
    status, changed = await kassa.call("PATCH", "/v1/store", {"version": store["version"], **change})
    assert status == 200, json.dumps(changed)
    return changed


async def ends_soon(kassa: Program, database_url: str, invoice: Json, seconds: float) -> None:
    """Let an invoice end in at most so many seconds: the API takes no time below a minute.

    Just before a whole second: the node dates what it sees in whole seconds, rounded down.
    """
    seal, _ = await read_or_make(kassa.folder / "data", None)
    connection = await asyncpg.connect(database_url)
    try:
        # A page that asked between the change and its seal would be told that the invoice cannot be shown.
        async with connection.transaction():
            await connection.execute(
                "update invoices set expires_at = ending.at, deadline = ending.at from (select date_trunc('second',"
                " now() + make_interval(secs => $2)) - interval '1 millisecond' as at) as ending where id = $1",
                invoice["id"],
                seconds,
            )
            ((terms, _),) = await load(connection, [invoice["id"]])
            made = seal.of_terms(sealed_text(terms))
            await connection.execute("update invoices set seal = $2 where id = $1", terms.id, made)
    finally:
        await connection.close()


TITLES = {
    "choice": "Waiting for your payment",
    "wallets": "Waiting for your payment",
    "part": "Part of it has arrived",
    "confirming": "Payment is being confirmed",
    "paid": "Paid",
    "over": "Paid",
    "expired": "The time is over",
    "late": "Your payment came too late",
}
"""What the pages of `one_of_each` say."""


async def one_of_each(kassa: Program, bitcoind: DevNode, database_url: str) -> dict[str, Json]:
    """Bring an invoice into each state, by real payments; return them by the name of the state."""
    more = {"description": "Two coffees", "redirect_url": "https://shop.example/done"}
    made = {name: await kassa.invoice(payment_options=[BTC], **more) for name in TITLES}
    made["choice"] = await kassa.invoice(**more)
    made["wallets"] = await kassa.invoice(payment_options=[USDC], **more)
    for name in ("expired", "late"):
        await ends_soon(kassa, database_url, made[name], 1)
    for name, units in (("part", 40_000), ("paid", 100_000), ("over", 150_000)):
        await bitcoind.fund(option(made[name], BTC)["address"], units)
    await kassa.until_invoice(made["late"], status="expired")
    await bitcoind.fund(option(made["late"], BTC)["address"], 100_000)
    await bitcoind.mine()
    await bitcoind.fund(option(made["confirming"], BTC)["address"], 100_000)
    await bitcoind.mine()
    await kassa.until_invoice(made["confirming"], status="processing", payments=["confirming"])
    await kassa.until_invoice(made["over"], status="settled", flags=["overpaid"])
    await kassa.until_invoice(made["late"], flags=["late"])
    return made


WALLET = """
(() => {
  const info = { uuid: "350670db-19fa-4704-a166-e52e178b59d2", name: "Stub <b>wallet</b>", icon: "", rdns: "x.y" };
  const provider = { request: async ({ method, params }) => {
    const { result, fault } = await window.askStub(method, params ?? []);
    if (fault) throw Object.assign(new Error(fault.message), { code: fault.code });
    return result;
  } };
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


class StubWallet:
    """A wallet in a page's browser that announces itself by EIP-6963 and signs with an account of an anvil.

    It begins on Ethereum and has never heard of the anvil's network.
    """

    def __init__(self, anvil: AnvilNode, number: int = 2) -> None:
        """`number`: of the node's account from which it pays."""
        self._anvil, self._number = anvil, number
        self.chain = "0x1"
        self._known = {"0x1"}
        self.asked: list[tuple[str, Any]] = []
        self.declines = False

    async def enter(self, page: Page) -> None:
        """Be there in every document that a page opens."""
        await page.expose_function("askStub", self._answer)
        await page.add_init_script(WALLET)

    @property
    def looks(self) -> int:
        """How often it was asked what became of a transaction."""
        return sum(method == "eth_getTransactionReceipt" for method, _ in self.asked)

    async def account(self) -> str:
        """Return the address from which this wallet pays."""
        return (await self._anvil.accounts())[self._number]

    async def _answer(self, method: str, params: list[Any]) -> Json:
        self.asked.append((method, params))
        match method:
            case "eth_chainId":
                return {"result": self.chain}
            case "eth_requestAccounts":
                return {"result": [await self.account()]}
            case "wallet_switchEthereumChain" if params[0]["chainId"] not in self._known:
                return {"fault": {"code": 4902, "message": "<img src=x onerror=alert(1)> unknown chain"}}
            case "wallet_switchEthereumChain":
                self.chain = params[0]["chainId"]
                return {"result": None}
            case "wallet_addEthereumChain":
                self._known.add(params[0]["chainId"])
                return {"result": None}
            case "eth_sendTransaction" if self.declines:
                return {"fault": {"code": 4001, "message": "no"}}
            case "eth_sendTransaction":
                return {"result": await self._anvil.send(params[0])}
            case "eth_getTransactionReceipt" | "eth_getTransactionByHash" | "eth_getTransactionCount":
                return {"result": await self._anvil.rpc.call(method, *params)}
        return {"fault": {"code": 4200, "message": f"what is {method}?"}}
