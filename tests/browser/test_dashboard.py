"""The dashboard of the real program in a real browser: sign-in, passkeys, every page, what hostile texts can do."""

import asyncio
import json
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pyotp
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, CDPSession, Error, Page, Route, expect

from kassa.alerts import store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.clock import SystemClock
from kassa.core.ids import StoreId, is_id
from kassa.dashboard.pages import PAGES
from kassa.db.pool import Database
from tests.api.served import until
from tests.browser.conftest import DESKTOP, PHONE, Faults, OpenPage, site
from tests.e2e.program import Json, Program, installed
from tests.house import BITCOIN
from tests.images import png

PASSWORD = "correct horse battery staple"
HOSTILE = (
    "\"'><img src=x onerror=alert(1)><script>alert(2)</script><svg/onload=alert(3)>{{7*7}}${7*7}=cmd|' /C calc'!A0"
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
DOWNLOADS = ("books/export", "reports/file")
_SMALL = """[...document.querySelectorAll("main button, main .button, main select, main label.check, summary")]
    .filter((one) => one.offsetHeight && one.offsetHeight < 44).map((one) => one.textContent.trim().slice(0, 40))"""
"""What one presses in a page and is lower than 44 px, by its words."""
_FLAT = """[...document.querySelectorAll("a[href]")]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".skip, .hint, main p"))
    .filter((one) => one.getBoundingClientRect().height < 24).map((one) => one.textContent.trim().slice(0, 40))"""
"""The links that stand alone in a page and are lower than 24 px, by their words."""
SCREENS = os.environ.get("SCREENS")
"""A folder to write pictures of the main pages to, to be looked at."""


class Office:
    """The program with a store in which things happened, and its owner's browser."""

    def __init__(self, program: Program, url: str) -> None:
        self.program, self.url = program, url
        self.secret = ""
        self.ids: dict[str, str] = {}
        self.state: object = None

    def at(self, path: str) -> str:
        return f"{self.url}/dashboard/stores/{self.program.store}/{path}"

    def path(self, pattern: str, id_of: str | None) -> str:
        return self.at(pattern.replace("{id}", self.ids.get(id_of or "", "")))

    def code(self) -> str:
        return pyotp.TOTP(self.secret).now()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(
    shared_bitcoind: DevNode, shared_database_url: str, tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> AsyncIterator[Office]:
    """The program, with an owner who accepted the invitation that the command line printed."""
    folder = tmp_path_factory.mktemp("dashboard") / "kassa"
    async with installed(folder, shared_bitcoind, shared_database_url) as program:
        url = f"http://localhost:{program.port}"
        # Passkeys need a name: browsers make none for a bare address.
        environment = {"KASSA_HTTP__PUBLIC_URL": url}
        await program.start("up", environment=environment)
        await program.ready()
        await program.open_store()
        office = Office(program, url)
        await furnish(office, shared_bitcoind)
        invite = ("user", "invite", "--store", program.store, "--email", "owner@shop.example", "--json")
        code, told = await program.run(*invite, environment=environment)
        assert code == 0, told
        context = await browser.new_context(viewport=DESKTOP)
        await enter(office, await context.new_page(), json.loads(told.splitlines()[-1])["link"])
        office.state = await context.storage_state()
        make = ("key", "create", "--store", program.store, "--from", "203.0.113.7", "--from", "2001:db8::/32", "--json")
        code, told = await program.run(*make, environment=environment)
        assert code == 0, told
        office.ids["key"] = json.loads(told.splitlines()[-1])["key_id"]
        connection = await asyncpg.connect(office_database(office))
        office.ids["per"] = await connection.fetchval("select id from people")
        await connection.close()
        await context.close()
        yield office


async def furnish(office: Office, node: DevNode) -> None:
    """Let something happen in the store: payments in full, in part and too much, hostile texts in every field."""
    program = office.program
    paid = await program.invoice(reference="order-1001", description="2 x coffee")
    short = await program.invoice(reference="order-1002", description="A grinder")
    over = await program.invoice(reference="order-1003")
    await program.invoice(reference=HOSTILE[:200], description=HOSTILE, metadata={HOSTILE: HOSTILE})
    for invoice, units in ((paid, 100_000), (short, 40_000), (over, 150_000)):
        await node.fund(invoice["payment_options"][0]["address"], units)
    await node.mine()
    shown = await program.until_invoice(paid, status="settled")
    await program.until_invoice(over, flags=["overpaid"])
    _, hook = await program.call("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/'\"><img>", "events": ["*"]})
    if "id" not in hook:
        _, hook = await program.call("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["*"]})
    _, customer = await program.call("POST", "/v1/customers", {"reference": HOSTILE[:200], "name": HOSTILE[:200]})
    await deposit(program, node, customer)
    _, link = await program.call(
        "POST", "/v1/payment-links", {"title": HOSTILE[:100], "amount": "5", "currency": "EUR"}
    )
    _, wallets = await program.call("GET", "/v1/wallets")
    _, events = await program.call("GET", "/v1/events")
    found = [shown, shown["payments"][0], hook, customer, link, wallets["data"][0], events["data"][0]]
    await raise_alert(office)
    office.ids |= {one["id"].partition("_")[0]: one["id"] for one in found if "id" in one}


async def deposit(program: Program, node: DevNode, customer: Json) -> None:
    """Let money come for a customer: their page shows a balance, and what moved."""
    _, address = await program.call("POST", f"/v1/customers/{customer['id']}/addresses", {"asset": f"BTC@{BITCOIN}"})
    await node.fund(address["address"], 30_000)
    await node.mine()

    async def has_come() -> bool:
        _, balances = await program.call("GET", f"/v1/customers/{customer['id']}/balances")
        return [one["available"] for one in balances["data"]] == ["0.00030000"]

    await program.until(has_come)


async def raise_alert(office: Office, reason: str = HOSTILE) -> None:
    """Let something need a person, with hostile texts."""
    database = await Database.open(office_database(office))
    finding = Finding(Kind.CREDIT_LOST, reason[:100], Severity.WARNING, reason, StoreId(office.program.store))
    async with database.transaction() as tx:
        alert = await alerts.open_alert(tx, finding, SystemClock().now())
    await database.close()
    assert alert is not None
    office.ids["alt"] = alert.id


async def enter(office: Office, page: Page, link: str) -> None:
    """Accept an invitation and set up the second step, as its reader would."""
    await page.goto(link)
    await page.get_by_label("Your name").fill("The owner")
    await page.get_by_label("A new password").fill(PASSWORD)
    await page.get_by_role("button", name="Join").click()
    office.secret = await page.locator("code").inner_text()
    await page.get_by_role("textbox", name="Code").fill(office.code())
    await page.get_by_role("button", name="Turn on").click()
    await expect(page.locator(".codes li")).to_have_count(10)
    await page.get_by_role("link", name="I have kept them").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


@pytest_asyncio.fixture(loop_scope="session")
async def mine(office: Office, open_page: OpenPage) -> Page:
    """The owner's page, signed in, on a desktop."""
    return await open_page(viewport=DESKTOP, storage_state=office.state)


async def prove(office: Office) -> None:
    """Let the owner have proved just now who they are."""
    connection = await asyncpg.connect(office_database(office))
    try:
        await connection.execute("update sessions set proven_at = now() where stage = 'open'")
    finally:
        await connection.close()


async def age(office: Office) -> None:
    """Let the proof of who one is be older than what sensitive changes take."""
    connection = await asyncpg.connect(office_database(office))
    try:
        await connection.execute("update sessions set proven_at = now() - interval '11 minutes'")
        await connection.execute("update people set totp_step = 0")  # instead of waiting for the next code
    finally:
        await connection.close()


def office_database(office: Office) -> str:
    match = re.search(r'database_url = "(.*)"', office.program.config.read_text())
    assert match is not None
    return match[1]


async def accessible(page: Page) -> None:
    found = await Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert found.response["violations"] == []


@pytest.mark.parametrize("look", [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"])
async def test_every_page_is_accessible_fits_and_runs_nothing_of_anyones(
    office: Office, open_page: OpenPage, look: tuple[dict[str, int], str]
) -> None:
    viewport, scheme = look
    page = await open_page(viewport=viewport, color_scheme=scheme, storage_state=office.state)
    await prove(office)
    foreign: list[str] = []
    page.on("request", lambda asked: foreign.append(asked.url) if not asked.url.startswith(office.url) else None)
    wrong: list[str] = []
    for one in PAGES:
        if one.path in DOWNLOADS:
            continue
        assert one.id_of is None or one.id_of in office.ids, one.path
        answer = await page.goto(office.path(one.path, one.id_of))
        assert answer is not None
        if answer.status != 200:
            wrong.append(f"{one.path}: {answer.status}")
            continue
        found = await Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        wrong += [f"{one.path}: {each['id']} {each['nodes'][0]['html'][:160]}" for each in found.response["violations"]]
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong += [f"{one.path}: {wide} px too wide"] if wide > 0 else []
        if viewport == PHONE:
            wrong += [f"{one.path}: {each} is too small for a finger" for each in await page.evaluate(_SMALL)]
            wrong += [f"{one.path}: the link {each} is too flat" for each in await page.evaluate(_FLAT)]
        if SCREENS:
            name = one.path.replace("/", "-").replace("{id}", "one")
            await page.screenshot(path=Path(SCREENS) / f"{name}-{scheme}.png")
    assert wrong == []
    assert foreign == []


_STRAIN = """() => {
    const fill = (what, text) => { for (const one of document.querySelectorAll(what)) one.textContent = text; };
    fill("td.number", "123,456,789,012,345.123456789012345678 LONGTOKEN");
    fill("td.lead > a", "R".repeat(200));
    fill("tbody tr:last-child td.lead > a", "\u05de\u05e1\u05e2\u05d3\u05ea ".repeat(30));
}"""
_SQUEEZED = """() => [...document.querySelectorAll(".scroll")].map((one) => one.scrollWidth - one.clientWidth)
    .concat(document.documentElement.scrollWidth - document.documentElement.clientWidth)
    .concat([...document.querySelectorAll("td.lead")].map((one) => Math.max(0, 100 - one.clientWidth)))
    .filter((pixels) => pixels > 0)"""


@pytest.mark.parametrize("path", ["invoices", "payments"])
async def test_long_values_in_a_list_fit_a_phone_and_squeeze_nothing(
    office: Office, open_page: OpenPage, path: str
) -> None:
    page = await open_page(viewport=PHONE, storage_state=office.state)
    await page.goto(office.at(path))
    await page.evaluate(_STRAIN)
    assert await page.evaluate(_SQUEEZED) == []


async def test_all_that_a_customer_has_and_owes_is_seen_on_a_phone(office: Office, open_page: OpenPage) -> None:
    page = await open_page(viewport=PHONE, storage_state=office.state)
    await page.goto(office.path("customers/{id}", "cus"))
    balances = page.get_by_role("region", name="Balances")
    await expect(balances).to_contain_text("BTC@")
    assert await balances.evaluate("(one) => one.scrollWidth - one.clientWidth") == 0


_PAPER = {"width": 702, "height": 1000}  # A4 within its margins, at 96 points an inch
_PRINTED = """() => {
    const wrong = [], shown = (what) => [...document.querySelectorAll(what)].filter((one) => one.checkVisibility());
    for (const one of shown("button, .button, nav, .menu, .field:has(input[value=''])"))
        wrong.push(`of no use: ${one.className}`);
    for (const one of [document.documentElement, ...shown("main *:not(.hidden)")])
        if (one.clientWidth && one.scrollWidth > one.clientWidth + 1) wrong.push(`cut off: ${one.className}`);
    for (const one of shown("td").filter((cell) => cell.innerText.trim())) {
        const { display, color } = getComputedStyle(one);
        if (display !== "table-cell" || one.clientWidth < 40) wrong.push(`squeezed: ${one.innerText}`);
        if (color !== "rgb(0, 0, 0)") wrong.push(`${color} on paper`);
    }
    return wrong;
}"""


@pytest.mark.parametrize("path", ["books", "reports", "invoices", "payments", "members"])
async def test_what_is_printed_is_black_and_whole_and_has_nothing_to_press(
    office: Office, open_page: OpenPage, path: str
) -> None:
    page = await open_page(viewport=_PAPER, color_scheme="dark", storage_state=office.state)
    await page.emulate_media(media="print")
    await page.goto(office.at(path))
    await expect(page.locator("td").first).to_be_visible()
    assert await page.evaluate(_PRINTED) == []


async def test_in_forced_colours_the_chosen_days_are_told_apart(office: Office, open_page: OpenPage) -> None:
    page = await open_page(viewport=DESKTOP, storage_state=office.state, forced_colors="active")
    await page.goto(office.at("overview"))
    wide = "(all) => all.map((one) => parseFloat(getComputedStyle(one).borderTopWidth))"
    assert await page.locator(".joined [aria-current]").evaluate_all(wide) == [3]
    assert await page.locator(".joined a:not([aria-current])").evaluate_all(wide) == [1, 1]


async def test_times_are_the_readers(office: Office, open_page: OpenPage) -> None:
    page = await open_page(timezone_id="Asia/Tokyo", storage_state=office.state)
    await page.goto(office.at("invoices"))
    time = page.locator("td.when time").first
    at = datetime.fromisoformat(await time.get_attribute("datetime") or "")
    await expect(time).to_have_text(f"{at + timedelta(hours=9):%Y-%m-%d %H:%M}")
    await expect(page.locator(".foot")).to_have_text("Times are Asia/Tokyo.")


async def test_a_passkey_signs_in_and_confirms(office: Office, mine: Page) -> None:
    await authenticator(mine.context, mine)
    await prove(office)
    await mine.goto(office.at("account/passkey"))
    await mine.get_by_label("What you call it").fill("My phone")
    await mine.get_by_role("button", name="Make the passkey").click()
    await expect(mine.get_by_role("status")).to_have_text("The passkey was added.")
    await expect(mine.get_by_text("My phone")).to_be_visible()

    await mine.goto(office.at("account/passkey"))
    await mine.get_by_label("What you call it").fill("My phone once more")
    await mine.get_by_role("button", name="Make the passkey").click()
    await expect(mine.get_by_role("alert")).to_have_text("This device has a passkey of yours already.")

    await mine.context.clear_cookies()
    await mine.goto(office.at("payments"))
    await mine.get_by_role("button", name="Use a passkey").click()
    await expect(mine.get_by_role("heading", level=1)).to_have_text("Payments")

    await age(office)
    await mine.goto(office.at("keys/new"))
    await expect(mine.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    await mine.get_by_role("button", name="Use a passkey").click()
    await expect(mine.get_by_role("heading", level=1)).to_have_text("New API key")
    await mine.get_by_label("invoices:read").check()
    await mine.get_by_role("button", name="Make the key").click()
    key = await mine.locator(".once").inner_text()
    office.program.key, kept = key, office.program.key
    status, _ = await office.program.call("GET", "/v1/invoices")
    refused, _ = await office.program.call("GET", "/v1/wallets")
    office.program.key = kept
    assert (status, refused) == (200, 403)

    await remove_passkey(office, mine)


async def remove_passkey(office: Office, page: Page) -> None:
    """Remove the only passkey, and keep the only session that is left then."""
    await page.goto(office.at("account"))
    await page.get_by_role("button", name="Remove the passkey").click()
    await expect(page.get_by_role("status")).to_have_text("The passkey was removed. Other sessions were ended.")
    office.state = await page.context.storage_state()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
async def test_what_was_typed_is_there_after_a_proof_by_keyboard_alone(
    office: Office, open_page: OpenPage, faults: Faults, script: bool
) -> None:
    page = await open_page(storage_state=office.state, java_script_enabled=script)
    await prove(office)
    await page.goto(office.at("keys/new"))
    await age(office)
    await page.get_by_label("What it is for").focus()
    await page.keyboard.type("the <shop>")
    await page.get_by_label("Valid").select_option("30 days")
    await page.get_by_label("invoices:read").focus()
    await page.keyboard.press("Space")
    await page.get_by_role("button", name="Make the key").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    if script:
        await accessible(page)
    await page.get_by_label("Password").focus()
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Tab")
    await page.keyboard.type(office.code())
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("Nothing was done yet")
    if script:
        await accessible(page)
    await expect(page.get_by_label("What it is for")).to_have_value("the <shop>")
    await expect(page.get_by_label("Valid")).to_have_value("30")
    await expect(page.get_by_label("invoices:read")).to_be_checked()
    await page.get_by_role("button", name="Make the key").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".once")).to_contain_text("kassa_test_")
    faults.seen.clear()  # that a proof was asked for


async def test_what_is_pressed_twice_shows_the_key(office: Office, mine: Page) -> None:
    made = asyncio.Event()

    async def slowly(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        answer = await route.fetch()
        made.set()
        await asyncio.sleep(0.5)  # of a slow line, on which the browser may still throw the answer away
        with suppress(Error):
            await route.fulfill(response=answer)

    await mine.route("**/keys/new", slowly)
    await prove(office)
    await mine.goto(office.at("keys/new"))
    await mine.get_by_label("What it is for").fill("double click")
    await mine.get_by_label("invoices:read").check()

    await mine.get_by_role("button", name="Make the key").focus()
    await mine.keyboard.press("Enter")
    await made.wait()
    await mine.keyboard.press("Enter")

    await expect(mine.locator("code.once")).to_contain_text("kassa_test_")


async def test_what_is_pressed_again_is_sent_when_no_answer_came(office: Office, mine: Page) -> None:
    sent: list[str] = []

    async def never(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        sent.append(route.request.post_data or "")
        await route.fulfill(status=204)  # the page stays

    await mine.clock.install()
    await mine.route("**/keys/new", never)
    await prove(office)
    await mine.goto(office.at("keys/new"))
    button = mine.get_by_role("button", name="Make the key")
    for count in (1, 2, 3):
        await button.dblclick()
        await button.press("Enter")
        await expect(button).to_have_attribute("aria-disabled", "true")
        await until(lambda count=count: len(sent) >= count)  # type: ignore[misc]  # the button is held before it is sent
        assert len(sent) == count
        if count == 1:
            await mine.clock.run_for(16_000)
        else:
            await mine.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        await expect(button).not_to_have_attribute("aria-disabled", "true")


async def test_a_passkey_proves_who_sends_a_form(office: Office, mine: Page, faults: Faults) -> None:
    await authenticator(mine.context, mine)
    await prove(office)
    await mine.goto(office.at("account/passkey"))
    await mine.get_by_label("What you call it").fill("My tablet")
    await mine.get_by_role("button", name="Make the passkey").click()
    await expect(mine.get_by_role("status")).to_have_text("The passkey was added.")
    await mine.goto(office.at("members/new"))
    await age(office)
    await mine.get_by_label("E-mail").fill("guest@shop.example")
    await mine.get_by_label("Role").select_option("support")
    await mine.get_by_role("button", name="Make the link").click()
    await mine.get_by_role("button", name="Use a passkey").click()
    await expect(mine.get_by_role("status")).to_contain_text("Nothing was done yet")
    await expect(mine.get_by_label("E-mail")).to_have_value("guest@shop.example")
    await expect(mine.get_by_label("Role")).to_have_value("support")
    await remove_passkey(office, mine)
    faults.seen.clear()  # that a proof was asked for


async def test_a_passkey_is_asked_for_once_however_often_it_is_pressed_and_again_after_it_was_cancelled(
    office: Office, mine: Page
) -> None:
    key, asked = await authenticator(mine.context, mine), list[str]()

    async def slowly(route: Route) -> None:
        asked.append(route.request.url)
        await asyncio.sleep(0.3)
        await route.continue_()

    await mine.route("**/passkey/ask", slowly)
    await prove(office)
    await mine.goto(office.at("account/passkey"))
    await press_often(key, mine, "Make the passkey", asked)
    await expect(mine.get_by_role("status")).to_have_text("The passkey was added.")

    await mine.context.clear_cookies()
    await mine.goto(office.at("payments"))
    await press_often(key, mine, "Use a passkey", asked)
    await expect(mine.get_by_role("heading", level=1)).to_have_text("Payments")

    await age(office)
    await mine.goto(office.at("keys/new"))
    await press_often(key, mine, "Use a passkey", asked)
    await expect(mine.get_by_role("heading", level=1)).to_have_text("New API key")
    assert len(asked) == 9

    await remove_passkey(office, mine)


async def press_often(key: "Key", page: Page, name: str, asked: list[str]) -> None:
    """Press twice and again: while the browser waits for its user, after they cancelled, while no question came yet."""
    button, fault, before = page.get_by_role("button", name=name), page.locator("form.passkey [role=alert]"), len(asked)
    await key.touches(False)
    async with page.expect_response("**/passkey/ask"):
        await button.dblclick()
    await expect(button).to_have_attribute("aria-disabled", "true")
    await button.press("Enter")
    with pytest.raises(AssertionError):  # nothing is said, for as long as it takes to ask once more
        await expect(fault).to_be_visible(timeout=1_000)
    assert len(asked) - before == 1

    await page.reload()
    await key.touches(True)
    await key.knows(False)
    await button.click()
    await expect(fault).to_have_text("No passkey was used.")
    await expect(button).not_to_have_attribute("aria-disabled", "true")

    await key.knows(True)
    await button.dblclick()


async def test_a_passkey_of_nobody_here_opens_nothing(office: Office, open_page: OpenPage, faults: Faults) -> None:
    page = await open_page()
    await authenticator(page.context, page)
    await page.goto(f"{office.url}/dashboard/sign-in")
    await page.evaluate("document.querySelector('form.passkey').elements.credential.value = '{}'")
    await page.evaluate("document.querySelector('form.passkey').submit()")
    await expect(page.get_by_role("heading", level=1)).to_have_text("You may not do this")
    faults.seen.clear()  # the refusal itself


async def test_the_root_leads_to_the_dashboard_and_a_mistyped_path_to_a_page(
    office: Office, page: Page, faults: Faults
) -> None:
    await page.goto(f"{office.url}/")
    await expect(page).to_have_url(re.compile("/dashboard/sign-in$"))

    answer = await page.goto(f"{office.url}/dashbord")

    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_role("heading")).to_have_text("There is no such page")
    assert await page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
    assert [said for said in faults.seen if "404" not in said] == []
    faults.seen.clear()


async def test_one_signs_in_with_password_and_code_and_is_led_to_what_was_asked(
    office: Office, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.goto(office.at("invoices?flag=overpaid"))
    await page.get_by_label("E-mail").fill("owner@shop.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    await age(office)
    await page.get_by_role("textbox", name="Code").fill(office.code())
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="order-1003")).to_be_visible()
    await expect(page.get_by_role("link", name="order-1001")).to_have_count(0)


async def test_a_payment_is_found_by_its_transaction_and_a_short_one_decided_on(
    office: Office, mine: Page, shared_bitcoind: DevNode
) -> None:
    invoice = await office.program.invoice(reference="order-2001")
    address = invoice["payment_options"][0]["address"]
    txid = await shared_bitcoind.fund(address, 30_000)
    await shared_bitcoind.mine()
    await office.program.until_invoice(invoice, payments=["settled"])
    for text in (txid, address, "order-2001", invoice["id"]):
        await mine.goto(office.at("invoices"))
        await mine.get_by_label("Id, reference, address or transaction").fill(text)
        await mine.get_by_role("button", name="Find").click()
        await expect(mine.locator("tbody tr")).to_have_count(1)
    await mine.get_by_role("link", name="order-2001").click()
    await expect(mine.get_by_text("confirmed: needs 1, has 1").first).to_be_visible()
    await prove(office)
    await mine.get_by_role("button", name="Mark as settled").click()
    await expect(mine.get_by_role("status")).to_have_text("Your decision was written down.")
    await expect(mine.get_by_text("by The owner")).to_be_visible()
    shown = await office.program.until_invoice(invoice, status="settled", flags=["underpaid", "marked"])
    assert is_id("inv", shown["id"])
    await mine.goto(office.at(f"payments/{shown['payments'][0]['id']}"))
    await expect(mine.get_by_text(shown["payments"][0]["rate_source"])).to_be_visible()


async def test_an_invoice_is_made_by_hand(office: Office, mine: Page, faults: Faults) -> None:
    await mine.goto(office.at("overview"))
    await mine.get_by_role("link", name="New invoice").click()
    await mine.get_by_label("Amount").fill("12 or so")
    await mine.get_by_role("button", name="Create").click()
    await expect(mine.get_by_role("alert")).to_contain_text("is no number")
    faults.seen.clear()  # the refusal itself
    await mine.get_by_label("Amount").fill("12,50")
    await mine.get_by_label("Reference").fill("by hand")
    await mine.get_by_role("button", name="Create").click()
    await expect(mine.get_by_role("status")).to_have_text("The invoice was created.")
    await expect(mine.get_by_text(f"BTC {BITCOIN}").first).to_be_visible()


async def test_a_page_stays_true_and_keeps_focus_scroll_and_what_was_typed(
    office: Office, open_page: OpenPage, shared_bitcoind: DevNode
) -> None:
    page = await open_page(viewport={"width": 1280, "height": 420}, storage_state=office.state)
    invoice = await office.program.invoice(reference="order-3001")
    await page.goto(office.at("invoices"))
    await page.get_by_label("Id, reference, address or transaction").fill("half a wo")
    await page.get_by_role("link", name="order-1001").focus()
    await page.evaluate("window.scrollTo(0, 200); window.unloaded = false")
    await shared_bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
    await office.program.invoice(reference="order-3002")
    await expect(page.get_by_role("link", name="order-3002")).to_be_attached()
    await expect(page.locator("tr", has_text="order-3001").get_by_text("processing")).to_be_attached()
    kept = await page.evaluate("[document.activeElement.textContent, window.scrollY, window.unloaded]")
    assert kept == ["order-1001", 200, False]
    await expect(page.get_by_label("Id, reference, address or transaction")).to_have_value("half a wo")

    await page.goto(office.at(f"invoices/{invoice['id']}"))
    await page.locator("summary").filter(visible=True).first.click()
    await expect(page.locator(".head [aria-live]")).to_have_text("processing")
    await shared_bitcoind.mine()
    await expect(page.locator(".head [aria-live]")).to_have_text("settled")
    await expect(page.locator("#c-url")).to_be_visible()


async def test_alerts_events_and_links_come_by_themselves_to_who_looks_at_their_lists(
    office: Office, open_page: OpenPage
) -> None:
    page = await open_page(viewport=DESKTOP, storage_state=office.state)
    await page.goto(office.at("links"))
    await page.get_by_label("Reference").fill("half a wo")
    await page.evaluate("window.unloaded = false")
    await office.program.call("POST", "/v1/payment-links", {"title": "Tea for two", "amount": "5"})
    await expect(page.get_by_role("link", name="Tea for two")).to_be_attached()
    await expect(page.get_by_label("Reference")).to_have_value("half a wo")
    assert await page.evaluate("window.unloaded") is False

    await page.goto(office.at("events"))
    newest = await page.locator("tbody tr").first.get_attribute("data-key") or ""
    await page.locator(f'tbody tr[data-key="{newest}"]').get_by_role("link").first.focus()
    await office.program.invoice(reference="order-5001")
    await expect(page.locator("tbody tr").first).not_to_have_attribute("data-key", newest)
    assert newest in await page.evaluate("document.activeElement.href")  # the focus moved with its row

    await page.goto(office.at("alerts"))
    known, reason = office.ids["alt"], "a second thing that needs a person"
    await expect(page.get_by_text(reason)).to_have_count(0)
    await raise_alert(office, reason)
    office.ids["alt"] = known
    await expect(page.get_by_text(reason)).to_be_visible()


async def test_who_is_signed_out_is_told_that_a_page_stands_still(office: Office, open_page: OpenPage) -> None:
    page = await open_page(viewport=DESKTOP, storage_state=office.state)
    await page.goto(office.at("overview"))
    await expect(page.locator("#stale")).to_be_hidden()
    await page.context.clear_cookies()
    await expect(page.locator("#stale")).to_be_visible()
    assert page.url == office.at("overview")


_COVERED = """() => {
    if (document.activeElement === document.body) return [];  // past the last, the browser has the focus
    const box = document.activeElement.getBoundingClientRect();
    const seen = [0.1, 0.5, 0.9].flatMap((x) => [0.1, 0.5, 0.9].map((y) => [x, y])).some(([x, y]) => {
      const top = document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
      return top !== null && top.closest("#stale") === null;
    });
    return seen || document.activeElement.closest("#stale") ? [] : [document.activeElement.textContent];
}"""


@pytest.mark.parametrize("letters", ["100%", "200%"])
async def test_what_has_the_focus_is_not_beneath_what_says_that_a_page_stands_still(
    office: Office, open_page: OpenPage, letters: str
) -> None:
    page = await open_page(viewport=PHONE, storage_state=office.state)
    await page.goto(office.at("overview"))
    await page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", letters)
    await page.context.clear_cookies()
    stale = page.get_by_role("status").filter(has_text="This page keeps itself up to date no more")
    await expect(stale).to_be_in_viewport()
    covered: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        covered += await page.evaluate(_COVERED)
    assert covered == []


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_page_that_nobody_answers_says_since_when_it_is_not_up_to_date(
    office: Office, open_page: OpenPage, faults: Faults, is_silent: bool
) -> None:
    page = await open_page(viewport=DESKTOP, storage_state=office.state)
    await page.clock.install()
    await page.goto(office.at("overview"))
    away, shown = page.locator("#away"), await page.evaluate("document.querySelector('main').innerText")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    if is_silent:
        await page.route("**/overview", hold)
        await page.clock.fast_forward(6_000)
    else:
        await page.context.set_offline(True)
        async with page.expect_event("requestfailed"):
            await page.clock.fast_forward(6_000)
    await expect(away).to_be_hidden()  # one that was missed is no outage
    await page.clock.fast_forward(16_000)
    await expect(away).to_have_text(
        re.compile(r"Not up to date since \d{4}-\d\d-\d\d \d\d:\d\d: Kassa does not answer as it should\.")
    )
    await expect(away).to_be_in_viewport()
    assert await page.evaluate("document.querySelector('main').innerText") == shown
    await page.context.set_offline(False)
    for route in held:
        await route.abort()
    await page.unroute("**/overview")
    await page.clock.fast_forward(70_000)
    await expect(away).to_be_hidden(timeout=40_000)
    faults.seen.clear()  # the requests that failed


async def test_a_page_that_keeps_itself_true_says_no_more_of_what_was_done_than_it_did_at_first(
    office: Office, open_page: OpenPage
) -> None:
    page = await open_page(viewport=DESKTOP, storage_state=office.state)
    await page.goto(f"{office.at('overview')}?done=revoked")
    await expect(page.locator("#done")).to_have_count(0)
    async with page.expect_response("**/overview*") as answered:
        pass
    assert (await answered.value).url == office.at("overview")
    await expect(page.locator("#done")).to_have_count(0)


async def test_the_payers_page_is_copied_by_a_button_and_there_without_a_script(
    office: Office, open_page: OpenPage
) -> None:
    invoice = await office.program.invoice(reference="order-4001")
    for script in (True, False):
        page = await open_page(
            viewport=DESKTOP, storage_state=office.state, java_script_enabled=script,
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        await page.clock.install()
        await page.goto(office.at(f"invoices/{invoice['id']}"))
        await expect(page.locator("#c-url")).to_have_text(invoice["checkout_url"])
        await expect(page.locator(".qr svg").first).to_be_visible()
        button = page.get_by_role("button", name="Copy the address of the payer's page")
        if script:
            await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # else it says so for two seconds
            await button.click()
            await expect(page.locator("#said")).to_have_text("Copied")
            assert await page.evaluate("navigator.clipboard.readText()") == invoice["checkout_url"]
        else:
            await expect(button).to_have_count(0)


async def test_a_logo_is_chosen_and_what_is_none_is_refused(office: Office, mine: Page, faults: Faults) -> None:
    await prove(office)
    await mine.goto(office.at("settings"))
    chooser, save = mine.get_by_label("Logo"), mine.get_by_role("button", name="Save")

    async def choose(name: str, kind: str, body: bytes) -> None:
        await chooser.set_input_files({"name": name, "mimeType": kind, "buffer": body})

    async def filled() -> str:
        return await mine.locator("[name=logo]").input_value()

    await choose("huge.png", "image/png", png(4, 3) + bytes(3_000_000))
    assert await chooser.evaluate("(one) => [one.validationMessage, one.checkValidity()]") == [
        "This file is too large.",
        False,
    ]
    assert await filled() == ""
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    for name, kind, body in (
        ("a.svg", "image/svg+xml", svg), ("a.png", "image/png", svg), ("a.txt", "text/plain", b"GIF89a"),
    ):  # fmt: skip
        await choose(name, kind, body)
        await expect(mine.locator("[name=logo]")).to_have_value(b64encode(body).decode())
        async with mine.expect_navigation():  # what was said of the file before stands there until then
            await save.click()
        await expect(mine.locator("#e-logo")).to_contain_text("PNG or JPEG")
        await expect(mine.locator("img.logo")).to_have_count(0)
    faults.seen.clear()  # the refusals themselves
    await choose("good.png", "image/png", png(60, 40))
    await expect(mine.locator("[name=logo]")).not_to_have_value("")
    await save.click()
    await expect(mine.get_by_role("status")).to_have_text("The changes were saved.")
    assert await mine.locator("img.logo").evaluate("async (one) => (await one.decode(), one.naturalWidth)") == 60
    invoice = await office.program.invoice()
    await mine.goto(f"{office.url}/i/{invoice['id']}")
    assert await mine.locator(".store img").evaluate("async (one) => (await one.decode(), one.naturalWidth)") == 60
    await mine.goto(office.at("settings"))
    await mine.get_by_label("show no logo").check()
    await save.click()
    await expect(mine.locator("img.logo")).to_have_count(0)


async def test_e19_nobody_frames_the_dashboard(office: Office, mine: Page, faults: Faults) -> None:
    framed = [office.path(one.path, one.id_of) for one in PAGES if one.path not in DOWNLOADS]
    door = ("sign-in", "code", "confirm", "enrol", "invitation/" + "A" * 43)
    framed += [f"{office.url}/dashboard/{one}" for one in door]
    # Of the same site but for the port: the browser sends the session along.
    async with site("".join(f"<iframe src='{one}'></iframe>" for one in framed)) as port:
        await mine.goto(f"http://localhost:{port}/")
        await mine.wait_for_load_state("networkidle")
        assert len(mine.frames) == len(framed) + 1
        for frame in mine.frames[1:]:
            shown = await frame.content()
            assert not any(word in shown for word in ("Overview", "Sign in", "Kassa")), frame.url
        # The browser says so of each frame, and may do so later than it leaves it empty.
        await until(lambda: sum("frame-ancestors" in fault for fault in faults.seen) >= len(framed))
    faults.seen.clear()


class Key:
    """An authenticator that is always willing, unless it is told otherwise (CDP's WebAuthn domain)."""

    def __init__(self, session: CDPSession, name: str) -> None:
        self._session, self._name = session, name

    async def touches(self, value: bool) -> None:
        """Let its user touch it when they are asked to, or keep the browser waiting."""
        await self._set("setAutomaticPresenceSimulation", enabled=value)

    async def knows(self, value: bool) -> None:
        """Let it know its user, or not: to the page that is the same as if they had cancelled."""
        await self._set("setUserVerified", isUserVerified=value)

    async def _set(self, what: str, **value: bool) -> None:
        await self._session.send(f"WebAuthn.{what}", {"authenticatorId": self._name, **value})


async def authenticator(context: BrowserContext, page: Page) -> Key:
    """Give a browser an authenticator."""
    session = await context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    made = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return Key(session, made["authenticatorId"])
