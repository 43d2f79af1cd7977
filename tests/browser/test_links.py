"""Payment links in a browser: a payer at the link's page, and the merchant's pages about all that comes of it."""

import asyncio
import re
from collections.abc import AsyncIterator

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.links.rules import UNPAID_PER_HOUR
from tests.api.served import until
from tests.browser.checkouts import ends_soon, sound
from tests.browser.conftest import DESKTOP, Faults, OpenPage
from tests.e2e.program import Json, Program, installed
from tests.house import TPUB

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"
PASSWORD = "correct horse battery staple"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kassa(
    shared_bitcoind: DevNode, shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Program]:
    folder = tmp_path_factory.mktemp("links") / "kassa"
    async with installed(folder, shared_bitcoind, shared_database_url) as program:
        program.add("[limits]", "proof_bits = 14")
        await program.start("up")
        await program.ready()
        await program.open_store()
        yield program


async def make(kassa: Program, **more: object) -> Json:
    status, made = await kassa.call("POST", "/v1/payment-links", {"title": "Two coffees", "amount": "50.00"} | more)
    assert status == 201, made
    return made


async def owner_of(kassa: Program, page: Page) -> str:
    """Let the first owner in through the invitation; return where the store's pages are."""
    _, told = await kassa.run(
        "user", "invite", "--store", kassa.store, "--email", "owner@shop.example", "--role", "owner"
    )
    link = re.search(r"/dashboard/invitation/\S+", told)
    assert link is not None, told
    await page.goto(kassa.url + link[0])
    await page.get_by_label("Name").fill("The owner")
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.locator("form:has(input[name=password]) button").click()
    secret = await page.locator("input[name=secret]").first.get_attribute("value")
    await page.locator("input[name=code]").fill(pyotp.TOTP(secret or "").now())
    await page.locator("form:has(input[name=code]) button").click()
    await expect(page.get_by_text("Recovery codes")).to_be_visible()
    return f"{kassa.url}/dashboard/stores/{kassa.store}"


async def test_a_payer_pays_a_link_in_parts_and_sees_what_came(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    link = await make(kassa)
    await page.goto(link["url"])
    await expect(page.get_by_role("heading", level=1)).to_have_text("Two coffees")
    await sound(page)
    invoice = await _begun(kassa, page, link)
    await page.go_back()
    await page.evaluate("window.here = 1")
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 40_000)
    await kassa.until_invoice(invoice, payments=["detected"])
    # The page asks again by itself.
    await expect(page.get_by_text("Part of it has been paid")).to_be_visible()
    assert await page.evaluate("window.here") == 1
    await expect(page.get_by_role("link", name="Look again for the payment")).to_have_count(0)
    await page.goto(f"{link['url']}?lang=ar")
    await expect(page.get_by_role("link", name="متابعة هذه الدفعة")).to_be_visible()
    await sound(page)
    await page.goto(link["url"])
    await expect(page.get_by_text("Part of it has been paid")).to_be_visible()
    await expect(page.get_by_role("button")).to_have_count(0)
    await sound(page)
    await page.get_by_role("link", name="Go on with this payment").click()
    await page.wait_for_url(f"**/i/{invoice['id']}")
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 60_000)
    await kassa.until_invoice(invoice, payments=["detected"] * 2)
    await page.goto(link["url"])
    await expect(page.get_by_role("heading", name="Payment received")).to_be_visible()
    await sound(page)
    await shared_bitcoind.mine()
    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible(timeout=30_000)
    await sound(page)


async def test_without_a_script_the_page_of_a_link_looks_again_when_asked(
    kassa: Program, shared_bitcoind: DevNode, open_page: OpenPage
) -> None:
    page, link = await open_page(java_script_enabled=False), await make(kassa)
    again = page.get_by_role("link", name="Look again for the payment")
    await page.goto(link["url"])
    invoice = await _begun(kassa, page, link)
    await page.goto(link["url"])
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 40_000)
    await kassa.until_invoice(invoice, payments=["detected"])
    # Nothing is loaded again under the eyes of who reads.
    await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    await again.click()
    await expect(page.get_by_text("Part of it has been paid")).to_be_visible()
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 60_000)
    await shared_bitcoind.mine()
    await kassa.until_invoice(invoice, status="settled")
    await again.click()
    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)


async def _half_used_up(kassa: Program) -> Json:
    """Make a link of which payers have begun half of what it allows in an hour, so that one more proves work."""
    link = await make(kassa, amount=None, min_amount="1")
    for amount in range(1, UNPAID_PER_HOUR[False] // 2 + 1):
        async with kassa.browser() as browser:
            async with browser.get(f"/l/{link['id']}") as page:
                token = re.search(r'name="token" value="([^"]+)"', await page.text())
            assert token is not None
            form = {"token": token[1], "amount": str(amount)}
            async with browser.post(f"/l/{link['id']}", data=form, allow_redirects=False) as begun:
                assert begun.status == 303
    return link


async def test_e43_a_payer_proves_work_that_can_be_cancelled_and_loses_nothing(
    kassa: Program, page: Page, faults: Faults
) -> None:
    link = await _half_used_up(kassa)

    async def endless(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace('data-bits="14"', 'data-bits="32"'))

    await page.goto(link["url"])
    await page.route("**/l/*", endless, times=1)
    await page.locator("#amount").fill("42")
    await page.get_by_role("button", name="Pay").click()
    works = page.get_by_text("Your browser calculates for a moment")
    await expect(works).to_be_visible()
    await expect(page.get_by_role("button", name="Pay")).to_have_count(0)
    await sound(page)
    await page.get_by_role("button", name="Cancel").click()
    await expect(works).to_have_count(0)
    await expect(page.get_by_role("button", name="Pay")).to_be_focused()
    await expect(page.locator("#amount")).to_have_value("42")
    await sound(page)
    await page.get_by_role("button", name="Pay").click()
    await expect(works).to_be_visible()
    await page.locator("form").evaluate("form => { form.dataset.bits = 14 }")
    await page.wait_for_url("**/i/inv_*")
    invoice = (await kassa.call("GET", f"/v1/invoices/{page.url.rpartition('/')[2]}"))[1]
    assert invoice["amount"] == "42.00"
    _expected(faults, "422")


async def test_e43_without_a_script_the_page_says_what_to_do(
    kassa: Program, open_page: OpenPage, faults: Faults
) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto((await _half_used_up(kassa))["url"])
    await page.locator("#amount").fill("42")
    await page.get_by_role("button", name="Pay").click()
    said = page.locator("form .only")
    await expect(said).to_be_visible()
    await expect(said).to_contain_text("allow it for this page, try again in an hour, or ask the shop")
    await expect(page.locator("#amount")).to_have_value("42")
    await expect(page.get_by_role("button")).to_have_count(1)
    _expected(faults, "422")


async def test_e16_e19_e20_hostile_words_stay_words_and_no_other_site_begins_a_payment(
    kassa: Program, page: Page, faults: Faults
) -> None:
    link = await make(kassa, amount=None, min_amount="1", title=HOSTILE, description=HOSTILE)
    await page.goto(link["url"])
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await page.locator("#amount").fill('"><script>alert(3)</script>')
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_role("alert")).to_contain_text("Please enter an amount: at least €1.00")
    await sound(page)
    await page.emulate_media(color_scheme="dark")
    await sound(page)

    # The same browser, with its cookie, on a page of somebody else's that sends the form or frames the page.
    strange = await page.context.new_page()
    await strange.set_content(f'<form method="post" action="{link["url"]}"><input name="token" value="x"></form>')
    await strange.evaluate("document.forms[0].submit()")
    await expect(strange.get_by_text("Please load the page again")).to_be_visible()
    await strange.goto("about:blank")
    await strange.set_content(f'<iframe src="{link["url"]}"></iframe>')
    await until(lambda: strange.frames[-1].url.startswith("chrome-error:"))  # refused, not only on its way
    await expect(strange.frame_locator("iframe").locator("#amount")).to_have_count(0)
    assert (await kassa.call("GET", f"/v1/invoices?payment_link_id={link['id']}"))[1]["data"] == []
    _expected(faults, "422", "403", "frame-ancestors", "X-Frame-Options")


async def test_every_page_of_the_merchant_about_it_is_sound(
    kassa: Program, shared_bitcoind: DevNode, open_page: OpenPage
) -> None:
    invoice = await kassa.invoice()
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
    await shared_bitcoind.mine()
    await kassa.until_invoice(invoice, status="settled")  # so that the books hold something to take home
    page = await open_page(viewport=DESKTOP)
    home = await owner_of(kassa, page)
    await _make_by_hand(page, home)
    await kassa.call("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["*"]})
    _, customer = await kassa.call("POST", "/v1/customers", {"reference": "user-17", "name": HOSTILE})
    webhook = (await kassa.call("GET", "/v1/webhooks"))[1]["data"][0]
    await kassa.call("POST", f"/v1/webhooks/{webhook['id']}/test")
    wallet = (await kassa.call("GET", "/v1/wallets"))[1]["data"][0]
    await kassa.call("POST", f"/v1/wallets/{wallet['id']}/change", {"descriptor": f"wpkh({TPUB}/7/*)"})
    for path in (
        "links", "links/new", "customers", f"customers/{customer['id']}", "books", "reports?report=sales", "wallets",
        f"wallets/{wallet['id']}", "wallets/new", "webhooks", f"webhooks/{webhook['id']}", "events", "networks",
        "alerts", "audit", "wallet-changes",
    ):  # fmt: skip
        await page.goto(f"{home}/{path}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await sound(page)
    await _take_home(page, home)


async def _make_by_hand(page: Page, home: str) -> None:
    await page.goto(f"{home}/links/new")
    await page.get_by_label("Title").fill(HOSTILE)
    await page.get_by_label("Amount").fill("12.00")
    await page.get_by_role("button", name="Make the link").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    await sound(page)


async def _take_home(page: Page, home: str) -> None:
    await page.goto(f"{home}/books")
    for form, begins in (("csv", "entry_id,"), ("jsonl", '{"object"'), ("beancount", "option ")):
        await page.get_by_label("As", exact=True).select_option(form)
        async with page.expect_download() as coming:
            await page.get_by_role("button", name="Download every entry").click()
        file = await (await coming.value).path()
        assert (await asyncio.to_thread(file.read_text)).startswith(begins), form


def _expected(faults: Faults, *words: str) -> None:
    """Take what a browser says of answers that were meant to refuse."""
    faults.seen[:] = [fault for fault in faults.seen if not any(word in fault for word in words)]


async def test_a_link_says_truthfully_what_came_too_late(
    kassa: Program, shared_bitcoind: DevNode, shared_database_url: str, page: Page
) -> None:
    link = await make(kassa)
    invoice = await _begun(kassa, page, link)
    await ends_soon(kassa, shared_database_url, invoice, 1)
    await kassa.until_invoice(invoice, status="expired")
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
    await kassa.until_invoice(invoice, flags=["late"])
    await page.goto(link["url"])
    await expect(page.get_by_role("heading", name="Not fully paid in time")).to_be_visible()
    await expect(page.get_by_text("Please do not pay again: the shop decides about it.")).to_be_visible()
    await expect(page.get_by_role("button")).to_have_count(0)
    await sound(page)


async def test_a_look_that_is_asked_for_during_another_follows_it(kassa: Program, page: Page) -> None:
    link = await make(kassa, reusable=True)  # whose page takes its turn once a minute
    await page.goto(link["url"])
    answered, asked = asyncio.Event(), 0

    async def held(route: Route) -> None:
        nonlocal asked
        asked += 1
        await answered.wait()
        await route.continue_()

    await page.route("**/l/*", held)
    looked = "document.dispatchEvent(new Event('visibilitychange'))"
    await page.evaluate(looked)
    await until(lambda: asked == 1)
    await page.evaluate(looked)
    answered.set()
    await until(lambda: asked == 2, seconds=20)


# Last in this file: what is undone here raises an alert, by which later payments need more confirmations.
async def test_a_link_says_that_the_network_took_a_payment_back(
    kassa: Program, shared_bitcoind: DevNode, page: Page
) -> None:
    link = await make(kassa)
    invoice = await _begun(kassa, page, link)
    txid = await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
    other = await shared_bitcoind.conflict(txid)
    await shared_bitcoind.mine()
    await kassa.until_invoice(invoice, status="settled")
    await page.goto(link["url"])
    await expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()

    await shared_bitcoind.fork(1, drop={txid}, transactions=[other])
    await kassa.until_invoice(invoice, flags=["reversed"])
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # looked at again, not loaded again
    await expect(page.get_by_text("A payment was undone")).to_be_visible()
    await expect(page.get_by_text("The network took a payment back. Please pay what is still due.")).to_be_visible()
    shown = (await kassa.call("GET", f"/v1/payment-links/{link['id']}"))[1]
    assert (shown["amount_paid"], shown["amount_due"], shown["flags"]) == ("0.00", "50.00", ["reversed"])
    await sound(page)


async def _begun(kassa: Program, page: Page, link: Json) -> Json:
    """Begin to pay a link as its payer would; return the invoice."""
    await page.goto(link["url"])
    await page.get_by_role("button", name="Pay €50.00").click()
    await page.wait_for_url("**/i/inv_*")
    return (await kassa.call("GET", f"/v1/invoices/{page.url.rpartition('/')[2]}"))[1]
