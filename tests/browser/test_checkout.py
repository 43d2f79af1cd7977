"""A payer at the checkout: the real program on real nodes, watched through a real browser."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from kassa.chains.evm.keccak import checksummed
from kassa.core.money import parse_amount
from tests.browser.checkouts import (
    BTC,
    ETH,
    TITLES,
    USDC,
    StubWallet,
    ends_soon,
    one_of_each,
    option,
    patched,
    running_kassa,
    shows,
    sound,
    title,
)
from tests.browser.conftest import Faults, OpenPage
from tests.browser.usable import usable
from tests.e2e.program import Json, Program
from tests.tools.tcp import Tcp

TWO_WALLETS = """
for (const name of ["One wallet", "Another wallet with a long name"]) {
  const detail = { info: { uuid: name, name, icon: "", rdns: "x.y" }, provider: { request: async () => null } };
  addEventListener("eip6963:requestProvider",
    () => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze(detail) })));
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kassa(
    shared_bitcoind: DevNode,
    shared_anvil: AnvilNode,
    shared_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Program]:
    """The program, shared by these tests."""
    folder = tmp_path_factory.mktemp("checkout") / "kassa"
    async with running_kassa(folder, shared_bitcoind, shared_anvil, shared_database_url) as program:
        yield program


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def invoices(kassa: Program, shared_bitcoind: DevNode, shared_database_url: str) -> dict[str, Json]:
    """An invoice in each state, by name."""
    return await one_of_each(kassa, shared_bitcoind, shared_database_url)


@pytest.mark.parametrize(
    ("state", "lang"),
    [*((state, "en") for state in TITLES), *((state, "ar") for state in ("choice", "wallets", "part", "confirming"))],
)
async def test_everybody_can_use_the_page(invoices: dict[str, Json], page: Page, state: str, lang: str) -> None:
    await page.add_init_script(TWO_WALLETS)
    await page.goto(f"{invoices[state]['checkout_url']}?lang={lang}")
    if lang == "en":
        await shows(page, TITLES[state])
    if state == "wallets":
        await expect(page.locator("[data-wallets] button")).to_have_count(2)
    await usable(page)


@pytest.mark.parametrize("lang", ["en", "ar"])
async def test_everybody_can_use_the_page_of_a_link(kassa: Program, page: Page, faults: Faults, lang: str) -> None:
    status, link = await kassa.call(
        "POST", "/v1/payment-links", {"title": "Two coffees", "min_amount": "1", "max_amount": "500", "reusable": True}
    )
    assert status == 201, link
    await page.goto(f"{link['url']}?lang={lang}")
    await usable(page)
    await page.locator("#amount").fill("0")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    faults.seen.clear()  # the refusal itself
    await usable(page)
    await page.locator("#amount").fill("50")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/i/inv_*")
    await page.goto(f"{link['url']}?lang={lang}")
    await expect(page.locator("a.go")).to_be_visible()
    await usable(page)


async def test_a_payment_in_a_token_is_watched_to_paid(kassa: Program, shared_anvil: AnvilNode, page: Page) -> None:
    invoice = await kassa.invoice()
    await page.goto(invoice["checkout_url"])
    contract = checksummed(bytes.fromhex(shared_anvil.tokens["USDC"][2:]))
    short = f"{contract[:6]}…{contract[-4:]}"
    await page.get_by_role("link", name=f"USDC on anvil {short}").click()
    await expect(page.locator("#way")).to_have_text("USDC on anvil")
    await page.get_by_text(f"Contract of the token {short}").click()
    await expect(page.get_by_text(contract, exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Copy Contract of the token")).to_be_visible()
    await expect(page.locator(".only")).to_contain_text("Send only USDC, and only on the network anvil")
    await expect(page.locator(".copy").first).to_have_text("50")

    await shared_anvil.fund(option(invoice, USDC)["address"], 50 * 10**6, "USDC")
    await shared_anvil.mine()
    await shows(page, "1 of 2 confirmations")
    await shared_anvil.mine()
    await shows(page, "Paid")


SELECT_ADDRESS = "getSelection().selectAllChildren(document.querySelector('.address'))"


async def test_a_part_asks_for_the_rest_and_too_much_says_what_becomes_of_it(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    address = option(invoice, BTC)["address"]
    await page.goto(invoice["checkout_url"])
    await expect(page.locator(".copy").first).to_have_text("0.001")
    code = await page.locator(".qr").first.inner_html()
    await page.locator("#bare").click()
    await page.locator("#copy-address").focus()
    await page.evaluate(SELECT_ADDRESS)

    await shared_bitcoind.fund(address, 40_000)
    await shows(page, "Part of it has arrived", "€30.00 of €50.00 is still missing")
    await expect(page.locator(".copy").first).to_have_text("0.0006")
    assert "amount=0.0006" in str(await page.get_by_role("link", name="Open in a wallet").get_attribute("href"))
    assert await page.locator(".qr").first.inner_html() != code
    # What the payer was doing goes on.
    await expect(page.locator("#copy-address")).to_be_focused()
    await expect(page.locator("details .qr")).to_be_visible()
    assert await page.evaluate("getSelection().toString().replace(/\\s/g, '')") == address
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await sound(page)

    await shared_bitcoind.fund(address, 70_000)
    await shows(page, "Payment seen", "You sent €5.00 too much", "ask it to send the rest back")
    await expect(page.locator("[data-part=state]")).to_be_focused()  # for the button is gone
    await expect(page.locator(".payments li")).to_have_count(2)
    await sound(page)
    await shared_bitcoind.mine(2)
    await shows(page, "Paid", "You sent €5.00 too much")


async def test_a_replaced_payment_is_said_to_be_and_asked_for_again(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    await page.goto(invoice["checkout_url"])
    txid = await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
    await shows(page, "Payment seen")
    await shared_bitcoind.replace(txid)
    await shows(page, "Your payment was replaced", "pay again")
    await expect(page.locator(".payments .dead")).to_contain_text("replaced by another transaction")
    await expect(page.locator(".address")).to_be_visible()
    await sound(page)


async def test_the_end_closes_the_page_by_itself_and_a_late_payment_is_not_passed_over(
    kassa: Program, shared_bitcoind: DevNode, shared_database_url: str, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    await page.goto(invoice["checkout_url"])
    await shows(page, "Waiting for your payment")
    await ends_soon(kassa, shared_database_url, invoice, 1)
    await shows(page, "The time is over", "not lost")
    await expect(page.locator(".qr, .address")).to_have_count(0)

    await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
    await kassa.until_invoice(invoice, payments=["detected"])
    await shows(page, "Your payment came too late", "decides")


async def test_what_comes_within_the_grace_time_is_watched_from_the_end_to_paid(
    kassa: Program, shared_bitcoind: DevNode, shared_database_url: str, page: Page
) -> None:
    await patched(kassa, policy={"late_grace_seconds": 3_600})
    invoice = await kassa.invoice(payment_options=[BTC])
    await patched(kassa, policy={"late_grace_seconds": 0})  # of invoices to come
    await page.goto(invoice["checkout_url"])
    await shows(page, "Waiting for your payment")
    await ends_soon(kassa, shared_database_url, invoice, 1)
    await shows(page, "The time is over", "may still be accepted", "Please do not pay any more")
    await expect(page.locator(".qr, .address")).to_have_count(0)

    await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
    await shows(page, "Payment seen")
    await shared_bitcoind.mine()
    await shows(page, "1 of 2 confirmations")
    await shared_bitcoind.mine()
    await shows(page, "Paid", "The payment is complete")
    shown = await kassa.until_invoice(invoice, status="settled")
    assert (shown["rules"], shown["payments"][0]["first_seen_at"] > shown["expires_at"]) == (["late.grace"], True)


async def test_a_lost_connection_is_said_and_nothing_is_missed(
    kassa: Program, shared_bitcoind: DevNode, page: Page, faults: Faults
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    async with Tcp("127.0.0.1", kassa.port) as wire:
        await page.goto(f"http://127.0.0.1:{wire.port}/i/{invoice['id']}")
        await shows(page, "Waiting for your payment")
        await page.evaluate("window.here = 1")
        wire.refuse = True
        wire.reset()
        await expect(page.locator("[data-trouble]")).to_be_visible()
        await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
        await shared_bitcoind.mine()
        seen = await kassa.until_invoice(invoice, payments=["confirming"])
        needed = seen["payments"][0]["confirmations_required"]  # more than two, once an alert asks for more
        await expect(title(page)).to_have_text("Waiting for your payment")
        wire.heal()
        await shows(page, f"1 of {needed} confirmations")
        await expect(page.locator("[data-trouble]")).to_be_hidden()
        assert await page.evaluate("window.here") == 1  # the same page, never loaded again
        await page.goto("about:blank")
    faults.seen.clear()


@pytest.mark.parametrize("asset", [USDC, ETH])
async def test_a_wallet_in_the_browser_is_asked_for_the_right_chain_and_the_exact_amount(
    kassa: Program, shared_anvil: AnvilNode, page: Page, asset: str
) -> None:
    invoice = await kassa.invoice(payment_options=[asset])
    address = option(invoice, asset)["address"]
    wallet = StubWallet(shared_anvil)
    await shared_anvil.fund(await wallet.account(), 60 * 10**6, "USDC")
    await wallet.enter(page)
    await page.goto(invoice["checkout_url"])
    button = page.get_by_role("button", name="Pay with Stub <b>wallet</b>")

    wallet.declines = True
    await button.click()
    await expect(page.locator("[data-said]")).to_contain_text("You declined it")
    await expect(button).to_be_focused()
    wallet.declines = False
    await button.click()
    # The network may tell of the payment before the wallet's answer is shown.
    await expect(page.get_by_text("Sent.").or_(page.get_by_text("Payment seen")).first).to_be_visible()
    # Shown or, once the network told of the payment, no longer: no second payment is offered.
    await expect(page.locator("[data-wallets] button[aria-disabled=false]")).to_have_count(0)
    async with page.expect_response(invoice["checkout_url"]):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.wait_for_timeout(300)
    # Drawn again, or loaded again, it offers no second payment, whether or not the network has shown the first by now.
    assert await page.locator("[data-wallets] button[aria-disabled=false]").count() == 0
    await page.reload()
    await page.wait_for_timeout(300)
    assert await page.locator("[data-wallets] button[aria-disabled=false]").count() == 0
    await shared_anvil.mine(2)
    await shows(page, "Paid")

    asked = dict(wallet.asked)
    (added,) = asked["wallet_addEthereumChain"]
    assert (added["chainId"], added["nativeCurrency"]["symbol"]) == ("0x7a69", "ETH")
    assert "blockExplorerUrls" not in added
    (sent,) = asked["eth_sendTransaction"]
    if asset == ETH:
        assert (sent["to"], int(sent["value"], 16), sent.get("data")) == (address, 2 * 10**16, None)
    else:
        assert (sent["to"].lower(), int(sent["value"], 16)) == (shared_anvil.tokens["USDC"], 0)
        assert sent["data"] == f"0xa9059cbb{address[2:].lower():0>64}{50 * 10**6:064x}"
    paid = await kassa.until_invoice(invoice, status="settled", flags=[])
    assert paid["amount_over"] == "0.00"


async def test_what_is_shown_has_eight_decimals_and_whoever_sends_it_has_paid(
    kassa: Program, shared_anvil: AnvilNode, page: Page
) -> None:
    before = (await kassa.call("GET", "/v1/store"))[1]["spread_percent"]
    await patched(kassa, spread_percent="3")
    invoice = await kassa.invoice(payment_options=[ETH])
    await patched(kassa, spread_percent=before)
    await page.goto(invoice["checkout_url"])
    shown = await page.locator(".due .copy").inner_text()
    due = parse_amount(option(invoice, ETH)["amount_due"], 18)
    sent = parse_amount(shown, 8) * 10**10
    assert 0 < sent - due < 10**10
    assert f"value={sent}" in str(await page.get_by_role("link", name="Open in a wallet").get_attribute("href"))
    await expect(page.locator(".send .hint")).to_have_count(0)
    await shared_anvil.fund(option(invoice, ETH)["address"], sent)
    await shared_anvil.mine(2)
    await shows(page, "Paid")
    paid = await kassa.until_invoice(invoice, status="settled", flags=[], amount_over="0.00")
    assert paid["amount_paid"] == paid["amount"]
    _, entries = await kassa.call("GET", f"/v1/ledger/entries?invoice_id={invoice['id']}")
    booked = [line for entry in entries["data"] for line in entry["postings"]]
    assert {line["account"] for line in booked if "over" in line["account"]} == set()


async def test_a_transfer_that_fails_in_its_block_is_said_to_have_and_can_be_sent_again(
    kassa: Program, shared_anvil: AnvilNode, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[USDC])
    wallet = StubWallet(shared_anvil, 3)  # which has none of the token
    await wallet.enter(page)
    await page.goto(invoice["checkout_url"])
    button = page.locator("[data-wallets] button")
    await button.click()
    await expect(page.get_by_text("Sent.").or_(page.get_by_text("Payment seen")).first).to_be_visible()
    await shared_anvil.mine()
    await expect(page.locator("[data-said]")).to_contain_text("The transaction failed, and nothing was paid.")
    await expect(button).to_be_enabled()
    await kassa.until_invoice(invoice, status="new", amount_paid="0.00")


async def test_without_a_script_the_page_is_whole_and_looks_again_when_asked(
    kassa: Program, shared_bitcoind: DevNode, open_page: OpenPage
) -> None:
    page = await open_page(java_script_enabled=False)
    invoice = await kassa.invoice()
    await page.goto(invoice["checkout_url"])
    await page.get_by_role("link", name="ETH on anvil").click()
    await expect(page.locator(".address")).to_have_text(option(invoice, ETH)["address"])
    await page.get_by_role("link", name="BTC on Bitcoin regtest").click()
    await expect(page.locator(".address")).to_have_text(option(invoice, BTC)["address"])
    await expect(page.get_by_role("button")).to_have_count(0)
    await page.locator(".languages summary").click()
    await page.get_by_role("link", name="Deutsch").click()
    await shows(page, "Warten auf deine Zahlung")
    await expect(page.locator("#way")).to_have_text("BTC auf Bitcoin regtest")
    # Nothing is loaded again under the eyes of who copies an address.
    await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    await page.locator("#bare").click()
    await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
    await kassa.until_invoice(invoice, status="processing")
    await expect(page.locator("details .qr")).to_be_visible()
    await page.get_by_role("link", name="Noch einmal nach der Zahlung sehen").click()
    await shows(page, "Zahlung gesehen")
    await shared_bitcoind.mine(2)
    await kassa.until_invoice(invoice, status="settled")
    await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    await page.get_by_role("link", name="Noch einmal nach der Zahlung sehen").click()
    await shows(page, "Bezahlt")


# From here on: what is undone raises alerts, by which later payments need more confirmations.
async def test_a_payment_in_bitcoin_is_watched_from_waiting_through_a_reorganisation_to_paid(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    invoice = await kassa.invoice(description="Two coffees", redirect_url="https://shop.example/done")
    address = option(invoice, BTC)["address"]
    await page.goto(invoice["checkout_url"])
    await shows(page, "Waiting for your payment", "exact amount")
    await expect(page.locator(".address")).to_have_text(address)
    await expect(page.locator("[data-until]")).to_contain_text("14:")

    txid = await shared_bitcoind.fund(address, 100_000)
    await shows(page, "Payment seen", "first confirmation")
    await expect(page.locator(".tx")).to_contain_text(txid)
    await expect(page.locator(".qr, .address")).to_have_count(0)
    await shared_bitcoind.mine()
    await shows(page, "1 of 2 confirmations")
    await shared_bitcoind.fork(1, drop={txid})
    await shows(page, "Payment seen")
    await shared_bitcoind.mine(2)
    await shows(page, "Paid", "Thank you")
    await expect(page.get_by_role("link", name="Back to shop.example")).to_be_visible()
    await expect(page.get_by_role("button", name="Print a receipt")).to_be_visible()
    await _prints_a_receipt(page, txid, address)

    # A page that was left open says so, too, when even that was taken back.
    await page.evaluate("window.here = 1")
    await shared_bitcoind.fork(3, drop={txid})
    await kassa.until_invoice(invoice, status="processing", flags=["reversed"])
    await shows(page, "Payment is confirmed again", "undid a confirmation")
    assert await page.evaluate("window.here") == 1  # the same page, never loaded again
    await shared_bitcoind.mine(2 * 3)  # at least two, and twice as many as were undone once an alert asks for them
    await shows(page, "Paid")


async def test_an_open_page_says_that_a_paid_invoice_was_undone_by_a_double_spend(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[BTC])
    await page.goto(invoice["checkout_url"])
    txid = await shared_bitcoind.fund(option(invoice, BTC)["address"], 100_000)
    rival, deep = await shared_bitcoind.conflict(txid), 2 * 3  # as many as suffice once an alert asks for more
    await shared_bitcoind.mine(deep)
    await shows(page, "Paid")
    await kassa.until_invoice(invoice, status="settled")
    await page.evaluate("window.here = 1")
    await shared_bitcoind.fork(deep, drop={txid}, transactions=[rival])
    await shows(page, "Your payment was undone", "took a confirmed payment back", "please pay again")
    replacing = (await shared_bitcoind.rpc.call("decoderawtransaction", rival))["txid"]
    dead = page.locator(".payments .dead .tx")
    await expect(dead).to_have_text([f"Transaction{txid}", f"Replaced by{replacing}"])  # no site shows this network's
    await expect(page.locator(".address")).to_have_text(option(invoice, BTC)["address"])
    await usable(page)
    assert await page.evaluate("window.here") == 1  # the same page, never loaded again


async def test_an_open_page_says_that_a_token_was_taken_back_after_the_end(
    kassa: Program, shared_anvil: AnvilNode, shared_database_url: str, page: Page
) -> None:
    invoice = await kassa.invoice(payment_options=[USDC])
    await page.goto(invoice["checkout_url"])
    txid = await shared_anvil.fund(option(invoice, USDC)["address"], 50 * 10**6, "USDC")
    await shared_anvil.mine(2)
    await shows(page, "Paid")
    await ends_soon(kassa, shared_database_url, invoice, 1)
    await page.evaluate("window.here = 1")
    await shared_anvil.fork(2, drop={txid})
    await shows(page, "Your payment was undone", "ask the shop for a new invoice")
    await expect(page.locator(".payments .dead")).to_contain_text(txid)
    await expect(page.locator(".qr, .address")).to_have_count(0)
    await usable(page)
    assert await page.evaluate("window.here") == 1


async def _prints_a_receipt(page: Page, txid: str, address: str) -> None:
    """Print the page, in a dark browser: one sheet of A4, with all that a bookkeeper asks for, black on white."""
    await page.emulate_media(media="print", color_scheme="dark")
    sheet = page.locator(".sheet")
    for text in (
        "Receipt", "Two coffees", "€50.00", "Paid on", "0.001 BTC", "Bitcoin regtest", txid, address,
        "1 BTC = €50,000.00", "fixed", page.url,
    ):  # fmt: skip
        await expect(sheet.get_by_text(text).first).to_be_visible()
    printed = await page.pdf(prefer_css_page_size=True)
    assert (len(re.findall(rb"/Type /Page\b", printed)), b"/MediaBox [0 0 594" in printed) == (1, True)
    if folder := os.environ.get("SCREENS"):
        await asyncio.to_thread((Path(folder) / "receipt.pdf").write_bytes, printed)
    colours = "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])"
    assert await page.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    await page.emulate_media(media="screen", color_scheme="light")
