"""What the checkout page does with hostile text, foreign frames, languages and people who see or move differently."""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import pytest_asyncio
import zxingcpp
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from kassa.checkout.listing import trimmed
from kassa.checkout.pages import handlers
from kassa.checkout.symbols import modules_of
from kassa.core.clock import SystemClock, rfc3339
from kassa.db.pool import Database
from tests.api.conftest import follow
from tests.api.served import Served, serve
from tests.browser.chromium import FLAGS
from tests.browser.conftest import DESKTOP, PHONE, Faults, OpenPage, site
from tests.browser.usable import usable
from tests.house import add_store, build_house
from tests.images import png
from tests.tools.tcp import BAD_GATEWAY, Tcp


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The checkout served without any node: a network that is said to be followed suffices."""
    database = await Database.open(shared_database_url)
    house = await build_house(database, tmp_path_factory.mktemp("page"), clock=SystemClock())  # type: ignore[arg-type]
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as running:
        yield running
    await house.marks.close()
    await database.close()


def url(served: Served, invoice: Any, query: str = "") -> str:
    return f"http://127.0.0.1:{served.port}/i/{invoice['id']}{query}"


async def patched(served: Served, **change: Any) -> None:
    store = (await served.all.get("/v1/store")).json
    answer = await served.all.send("PATCH", "/v1/store", {"version": store["version"], **change})
    assert answer.status == 200, answer.body


@asynccontextmanager
async def shop(kassa: str, invoice: str, lang: str = "en") -> AsyncIterator[str]:
    """Serve a page of a shop that embeds a checkout; yield its origin."""
    page = f"""<!doctype html><title>Shop</title><link rel="icon" href="data:,">
<p>Shop</p><script src="{kassa}/embed.js"></script>
<script>
  window.heard = [];
  addEventListener("message", (event) => heard.push([event.origin, event.data]));
  window.box = Kassa.open({{ invoice: "{invoice}", lang: "{lang}",
    onReady: (s) => heard.push("ready " + s),
    onStatus: (s) => heard.push("status " + s),
    onError: () => heard.push("failed"), onClose: () => heard.push("closed") }});
</script>"""
    async with site(page) as port:
        yield f"http://127.0.0.1:{port}"


async def test_e19_a_listed_site_shows_the_checkout_in_a_frame_and_hears_of_it(served: Served, page: Page) -> None:
    invoice = await served.all.invoice()
    kassa = f"http://127.0.0.1:{served.port}"
    async with shop(kassa, invoice["id"]) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        frame = page.frame_locator("dialog iframe")
        await expect(frame.locator("h1")).to_have_text("Waiting for your payment")
        await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
        await expect(frame.locator("h1")).to_have_text("Paid")
        await frame.get_by_role("button", name="Close").click()
        await expect(page.locator("dialog")).to_have_count(0)
        heard = await page.evaluate("heard")
    await patched(served, frame_ancestors=[])

    assert [said for said in heard if isinstance(said, str)] == ["ready new", "status settled", "closed"]
    about = {"kassa": 1, "invoice": invoice["id"]}
    assert [said for said in heard if not isinstance(said, str)] == [
        [kassa, about | {"type": "ready", "status": "new"}],
        [kassa, about | {"type": "status", "status": "settled"}],
        [kassa, about | {"type": "close", "status": "settled"}],
    ]


async def test_a_shop_hears_ready_once_and_each_status_once_whatever_is_loaded(served: Served, page: Page) -> None:
    invoice = await served.all.invoice()
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"]) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        frame = page.frame_locator("dialog iframe")
        ready = "(count) => heard.filter((said) => said[1].type === 'ready').length === count"
        for count, (language, mark, heading) in enumerate((
            ("Deutsch", None, "Warten auf deine Zahlung"), ("Français", "settled", "Payé"), ("Español", None, "Pagado"),
        ), 1):  # fmt: skip
            await page.wait_for_function(ready, arg=count)  # a page that is left before it was loaded says nothing
            await frame.locator(".languages summary").click()
            if mark:
                await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": mark})
            await frame.get_by_role("link", name=language).click()
            await expect(frame.locator("h1")).to_have_text(heading)
        await page.wait_for_function(ready, arg=4)
        heard = await page.evaluate("heard")
    await patched(served, frame_ancestors=[])
    assert [said for said in heard if isinstance(said, str)] == ["ready new", "status settled"]


async def test_e19_no_other_site_can_frame_the_checkout_or_hear_of_it(
    served: Served, page: Page, faults: Faults
) -> None:
    invoice = await served.all.invoice()
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"], "de") as origin:
        await patched(served, frame_ancestors=["https://other.example"])
        await page.clock.install()
        async with page.expect_console_message(lambda said: "frame-ancestors" in said.text):
            await page.goto(origin)
        framed = [frame for frame in page.frames if "/i/inv_" in frame.url]
        assert [await frame.locator("h1").count() for frame in framed] in ([], [0])
        assert await page.evaluate("heard") == []
        await page.clock.fast_forward(15_000)
        assert await page.evaluate("heard") == ["failed"]
        await page.locator("dialog").get_by_role("button", name="Schließen").click()  # and nobody is locked in
        await expect(page.locator("dialog")).to_have_count(0)
    await patched(served, frame_ancestors=[])
    faults.seen.clear()  # the refusal itself


async def test_e19_a_shop_believes_no_message_but_that_of_its_own_frame(served: Served, page: Page) -> None:
    invoice = await served.all.invoice()
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"]) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        await expect(page.frame_locator("dialog iframe").locator("h1")).to_have_text("Waiting for your payment")
        await page.wait_for_function("heard.includes('ready new')")
        await expect(page.locator("dialog > button")).to_have_count(0)  # the frame has its own
        forged = {"kassa": 1, "type": "status", "invoice": invoice["id"], "status": "settled"}
        await page.evaluate(
            r"""async (said) => {
              const other = document.createElement("iframe");  // of an origin of its own, and the page itself
              other.sandbox = "allow-scripts";
              other.srcdoc = `<script>parent.postMessage(${JSON.stringify(said)}, "*");
                parent.postMessage(${JSON.stringify({ ...said, type: "close" })}, "*")<\/script>`;
              document.body.append(other);
              postMessage(said, "*");
              postMessage({ ...said, type: "close" }, "*");
            }""",
            forged,
        )
        await page.wait_for_function("heard.filter((said) => said[1].status === 'settled').length >= 4")
        assert [said for said in await page.evaluate("heard") if isinstance(said, str)] == ["ready new"]
        await expect(page.locator("dialog")).to_have_count(1)
    await patched(served, frame_ancestors=[])


@pytest.mark.parametrize(
    ("asked", "wished", "spoken", "label"),
    [("", "de-AT", "de", "Deine Zahlung"), ("pt-BR", "de-AT", "pt", "O seu pagamento"),
     ("sv", "ar", "ar", "دفعتك"), ("constructor", "sv", "en", "Your payment")],
)  # fmt: skip
async def test_the_dialogue_in_a_shop_speaks_as_the_page_in_it(
    served: Served, open_page: OpenPage, asked: str, wished: str, spoken: str, label: str
) -> None:
    invoice, page = await served.all.invoice(), await open_page(locale=wished)
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"], asked) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        html = page.frame_locator("dialog iframe").locator("html")
        await expect(html).to_have_attribute("lang", re.compile(f"{spoken}(-|$)"))
        for each in (page.locator("dialog"), page.locator("dialog iframe")):
            assert label in (await each.get_attribute("aria-label"), await each.get_attribute("title"))
        await expect(page.locator("dialog")).to_have_attribute("lang", spoken)
    await patched(served, frame_ancestors=[])


async def test_the_dialogue_in_a_shop_is_no_larger_than_what_is_seen_of_the_shop(
    served: Served, browser: Browser, chromium: str
) -> None:
    invoice = await served.all.invoice()
    # Its bars take their part of the window, as those of a phone's browser do.
    barred = await browser.browser_type.launch(
        executable_path=chromium, args=list(FLAGS), ignore_default_args=["--hide-scrollbars"]
    )
    page = await barred.new_page(viewport=PHONE)  # type: ignore[arg-type]
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"]) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        await page.wait_for_function("heard.includes('ready new')")
        await page.evaluate("Object.assign(document.body.style, { width: '3000px', height: '3000px' })")
        seen = "(({ clientWidth, clientHeight }) => [clientWidth, clientHeight])(document.documentElement)"
        width, height = await page.evaluate(seen)
        assert width < PHONE["width"]
        assert height < PHONE["height"]
        box = await page.locator("dialog").bounding_box()
        assert box == {"x": 0, "y": 0, "width": width, "height": min(height, 832)}
    await barred.close()
    await patched(served, frame_ancestors=[])


async def test_a_page_in_no_frame_has_nothing_to_close(served: Served, page: Page) -> None:
    invoice = await served.all.invoice()
    await patched(served, frame_ancestors=["https://shop.example"])
    await page.goto(url(served, invoice, "?embed=https://shop.example"))
    await expect(page.locator("#copy-address")).to_be_visible()
    await expect(page.locator("[data-close]")).to_be_hidden()
    await patched(served, frame_ancestors=[])


@pytest.mark.parametrize("answer", [None, BAD_GATEWAY], ids=["reset", "bad gateway"])
async def test_a_payer_in_a_shops_page_gets_out_when_a_request_in_the_frame_is_lost(
    served: Served, page: Page, faults: Faults, answer: bytes | None
) -> None:
    invoice = await served.all.invoice()
    async with (
        Tcp("127.0.0.1", served.port) as wire,
        shop(f"http://127.0.0.1:{wire.port}", invoice["id"]) as origin,
    ):
        await patched(served, frame_ancestors=[origin])
        await page.clock.install()
        await page.goto(origin)
        frame, leave = page.frame_locator("dialog iframe"), page.locator("dialog > button")
        await frame.locator(".languages summary").click()
        await page.wait_for_function("heard.includes('ready new')")
        await page.clock.fast_forward(1_000)
        await expect(leave).to_have_count(0)  # the frame has its own
        wire.answer, wire.refuse = answer, answer is None
        wire.reset()
        await frame.get_by_role("link", name="Deutsch").click()
        await expect(leave).to_be_visible()
        await page.clock.fast_forward(15_000)
        assert [said for said in await page.evaluate("heard") if isinstance(said, str)] == ["ready new", "failed"]
        wire.heal()
        await page.locator("iframe").evaluate("(frame) => { frame.src = frame.src.replace('lang=en', 'lang=de'); }")
        await expect(frame.locator("h1")).to_have_text("Warten auf deine Zahlung")
        # What is loaded within a second after this is taken for the same page.
        await page.wait_for_function("heard.filter((said) => said[1].type === 'ready').length === 2")
        await page.clock.fast_forward(1_000)
        await expect(leave).to_have_count(0)
        wire.refuse = True
        wire.reset()
        await page.locator("iframe").evaluate("(frame) => { frame.src = frame.src.replace('lang=de', 'lang=fr'); }")
        await leave.click()
        await expect(page.locator("dialog")).to_have_count(0)
    await patched(served, frame_ancestors=[])
    faults.seen.clear()


async def test_e28_a_swapped_address_is_shown_to_nobody(served: Served, page: Page, faults: Faults) -> None:
    invoice = await served.all.invoice()
    option = invoice["payment_options"][0]
    await page.goto(url(served, invoice))
    await expect(page.locator(".address")).to_have_text(option["address"])
    await served.house.database.pool.execute(
        "update addresses set address = 'bcrt1qattacker' where address = $1", option["address"]
    )
    await page.reload()
    await expect(page.locator("h1")).to_have_text("Please do not pay now")
    await expect(page.get_by_text("bcrt1q")).to_have_count(0)
    faults.seen.clear()  # the browser notes the 503


async def test_in_a_shops_page_it_is_said_as_well_that_there_is_nothing_to_pay(
    served: Served, page: Page, faults: Faults
) -> None:
    invoice = await served.all.invoice()
    async with shop(f"http://127.0.0.1:{served.port}", invoice["id"]) as origin:
        await patched(served, frame_ancestors=[origin])
        await page.goto(origin)
        heading = page.frame_locator("dialog iframe").locator("h1")
        await expect(heading).to_have_text("Waiting for your payment")
        await page.evaluate(
            """(id) => {
              const frame = document.querySelector("iframe");
              frame.src = frame.src.replace(id, id.slice(0, -6) + "000000");
            }""",
            invoice["id"],
        )
        await expect(heading).to_have_text("There is no such invoice")
    await patched(served, frame_ancestors=[])
    faults.seen.clear()  # the browser notes the 404


async def test_a_page_closes_while_its_network_stands_still_and_opens_again_by_itself(
    served: Served, page: Page
) -> None:
    invoice = await served.all.invoice()
    execute = served.house.database.pool.execute
    await page.goto(url(served, invoice))
    await page.evaluate("window.here = 1")
    address = page.locator(".address")
    await expect(address).to_be_visible()
    try:
        await execute("update networks set state = 'stalled'")
        await expect(page.locator("h1")).to_have_text("Closed for now")
        await expect(page.locator(".qr, .address, a.go")).to_have_count(0)
        await expect(page.locator(".closed")).to_contain_text("Send nothing to an address that you noted before")
        await usable(page)
    finally:
        await execute("update networks set state = 'ok'")
    await expect(address).to_have_text(invoice["payment_options"][0]["address"])
    assert await page.evaluate("window.here") == 1  # the same page, never loaded again


async def test_a_stream_that_a_proxy_refused_is_followed_again(served: Served, page: Page, faults: Faults) -> None:
    invoice = await served.all.invoice()
    async with Tcp("127.0.0.1", served.port) as wire:
        await page.clock.install()
        await page.goto(f"http://127.0.0.1:{wire.port}/i/{invoice['id']}")
        await page.evaluate("window.here = 1")
        wire.answer = BAD_GATEWAY
        async with page.expect_response(lambda answer: answer.url.endswith("/stream") and answer.status == 502):
            wire.reset()
        await expect(page.locator("[data-trouble]")).to_be_visible()
        async with page.expect_response(lambda answer: answer.url.endswith("/stream") and answer.ok, timeout=60_000):
            wire.heal()
            await expect(page.locator("[data-trouble]")).to_be_hidden()
            await page.clock.fast_forward(30_000)
        await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
        await expect(page.locator("h1")).to_have_text("Paid")  # by the stream: with it open, nothing else asks
        assert await page.evaluate("window.here") == 1  # the same page, never loaded again
        await page.goto("about:blank")
    faults.seen.clear()


async def opened(page: Page, address: str) -> None:
    """Open a page, and wait until it follows its stream."""
    async with page.expect_response(lambda answer: answer.url.endswith("/stream") and answer.ok):
        await page.goto(address)


@pytest.mark.parametrize("found", ["by its silence", "by a change of network"])
async def test_a_stream_that_was_forgotten_on_the_way_is_followed_anew(
    served: Served, page: Page, faults: Faults, found: str
) -> None:
    invoice = await served.all.invoice()
    async with Tcp("127.0.0.1", served.port) as wire:
        await page.clock.install()
        await opened(page, f"http://127.0.0.1:{wire.port}/i/{invoice['id']}")
        wire.forget()
        async with page.expect_response(lambda answer: answer.url.endswith("/stream") and answer.ok, timeout=60_000):
            if found == "by its silence":
                await page.clock.fast_forward(41_000)
            else:
                await page.evaluate("dispatchEvent(new Event('online'))")
        await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
        await expect(page.locator("h1")).to_have_text("Paid", timeout=40_000)  # what was asked before may be lost, too
        await page.goto("about:blank")
    faults.seen.clear()


async def test_a_stream_without_news_says_that_it_is_there_and_is_kept(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.checkout.stream.SILENT_SECONDS", 0.2)
    invoice = await served.all.invoice()
    await page.add_init_script(
        """window.streams = 0;
        window.EventSource = class extends EventSource {
          constructor(url) { super(url); window.streams++; this.addEventListener("here", () => window.told?.()); }
        };"""
    )
    await page.clock.install()
    await opened(page, url(served, invoice))
    for _ in range(4):
        async with asyncio.timeout(20):
            await page.evaluate("new Promise((come) => { window.told = come; })")
        await page.clock.fast_forward(15_000)
    assert await page.evaluate("window.streams") == 1


@pytest.mark.parametrize("how", ["refuse", "blackhole"])
async def test_without_a_database_an_open_page_says_the_same_as_a_new_one(
    database_url: str,
    tmp_path: Path,
    open_page: OpenPage,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    for name, seconds in (("POLL_SECONDS", 0.5), ("AWAY_SECONDS", 1), ("SILENT_SECONDS", 2)):
        monkeypatch.setattr(f"kassa.checkout.stream.{name}", seconds)
    async with wired(database_url, tmp_path) as (served, wire):
        invoice = await served.all.invoice()
        page, new = await open_page(), await open_page()
        await opened(page, url(served, invoice))
        await page.locator("#copy-address").focus()
        setattr(wire, how, True)
        if how == "refuse":
            wire.reset()
        trouble, ways = page.locator("[data-trouble]"), page.locator(":is(.address, .qr, a.go):visible")
        await expect(trouble).to_be_visible(timeout=40_000)
        if how == "refuse":
            await new.goto(url(served, invoice))
            said = [await new.locator("main").locator(part).inner_text() for part in ("h1", "h1 + p")]
            assert said[0] == "Please do not pay now"
            await expect(trouble).to_have_text("".join(said))
            await expect(page.locator("h1")).to_be_hidden()
            await expect(ways).to_have_count(0)
            await expect(trouble).to_be_focused()
            wire.heal()
            await expect(page.locator("h1")).to_be_visible(timeout=40_000)
            await expect(trouble).to_be_hidden()
            await expect(page.locator(".address")).to_be_visible()
        await page.goto("about:blank")  # it would go on asking, and complain
        wire.heal()
    faults.seen.clear()


@pytest.mark.parametrize("how", ["the database", "Kassa", "the connection"])
async def test_an_open_link_says_truly_what_is_away_and_becomes_right_by_itself(
    database_url: str, tmp_path: Path, page: Page, faults: Faults, how: str
) -> None:
    async with wired(database_url, tmp_path) as (served, wire), Tcp("127.0.0.1", served.port) as line:
        asked = {
            "title": "Tea",
            "amount": "5",
            "currency": "EUR",
            "reusable": True,
        }  # nothing is awaited: it looks seldom
        link = (await served.all.post("/v1/payment-links", asked)).json
        await page.goto(f"http://127.0.0.1:{line.port}/l/{link['id']}")
        await page.evaluate("window.here = 1")
        pay, trouble = page.get_by_role("button", name="Pay €5.00"), page.locator("[data-trouble]")
        await pay.focus()
        broken = wire if how == "the database" else line
        broken.answer, broken.refuse = (BAD_GATEWAY, False) if how == "Kassa" else (None, True)
        broken.reset()
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        if how == "the database":
            await expect(trouble).to_contain_text("Please do not pay now", timeout=40_000)
            await expect(trouble).to_contain_text("This page cannot be shown at the moment.")
            await expect(pay).to_be_hidden()
            await expect(trouble).to_be_focused()
        else:
            await expect(trouble).to_have_text("The connection is lost. Trying again…", timeout=40_000)
            await expect(pay).to_be_focused()
        broken.heal()
        await expect(trouble).to_be_hidden(timeout=20_000)  # long before the minute after which it looks again
        await expect(pay).to_be_visible()
        assert await page.evaluate("window.here") == 1
        await page.goto("about:blank")
    faults.seen.clear()


@pytest.mark.parametrize("typed", [None, "0"], ids=["untouched", "typed wrongly"])
async def test_an_open_link_says_at_the_moment_of_its_end_that_it_ended_whatever_the_browsers_clock_says(
    served: Served, page: Page, faults: Faults, typed: str | None
) -> None:
    ends = served.house.clock.now() + timedelta(seconds=15)
    asked = {"title": "Tea", "min_amount": "1", "currency": "EUR", "reusable": True, "expires_at": rfc3339(ends)}
    link = (await served.all.post("/v1/payment-links", asked)).json
    await page.add_init_script("const now = Date.now.bind(Date); Date.now = () => now() + 600_000")
    await page.goto(f"http://127.0.0.1:{served.port}/l/{link['id']}")
    pay = page.get_by_role("button", name="Pay")
    await expect(pay).to_be_visible()
    if typed is not None:
        await page.locator("#amount").fill(typed)
        await pay.click()
        await expect(page.locator("[aria-invalid]")).to_be_visible()
        faults.seen.clear()
    # Of such a link nothing is awaited: else it is asked once a minute.
    await expect(page.get_by_role("heading", name="This link has expired")).to_be_visible(timeout=40_000)
    assert served.house.clock.now() > ends
    await expect(page.locator("form")).to_have_count(0)


@asynccontextmanager
async def wired(database_url: str, folder: Path) -> AsyncIterator[tuple[Served, Tcp]]:
    """Serve the checkout on the other side of a wire from its database."""
    parts = urlsplit(database_url)
    host = parse_qs(parts.query).get("host", [""])[0]
    target = (f"{host}/.s.PGSQL.5432", None) if host else (parts.hostname or "127.0.0.1", parts.port or 5432)
    async with Tcp(*target) as wire:
        who = parts.netloc.rpartition("@")[0] or "postgres"
        database = await Database.open(f"postgresql://{who}@127.0.0.1:{wire.port}{parts.path}")
        house = await build_house(database, folder, clock=SystemClock())  # type: ignore[arg-type]
        await follow(house)
        async with database.transaction() as tx:
            store = await add_store(tx, house)
        async with serve(house, store, handlers(house)) as served:
            yield served, wire
        await house.marks.close()
        database.pool.terminate()


async def test_the_copy_buttons_copy_what_is_shown(served: Served, open_page: OpenPage) -> None:
    page = await open_page(permissions=["clipboard-read", "clipboard-write"])
    invoice = await served.all.invoice()
    option = invoice["payment_options"][0]
    await page.clock.install()
    await page.goto(url(served, invoice))
    await page.clock.pause_at(served.house.clock.now() + timedelta(minutes=1))  # else it says so for two seconds
    said = page.get_by_role("status").filter(has_text="Copied")
    for name, expected in (("Address", option["address"]), ("Amount", option["amount"].rstrip("0"))):
        button = page.locator(f"#copy-{name.lower()}")
        await button.click()
        await expect(button).to_have_text("Copied")
        await expect(said).to_have_count(1)
        assert await page.evaluate("navigator.clipboard.readText()") == expected
        await page.clock.run_for(2_000)
        await expect(button).not_to_have_text("Copied")
        await expect(said).to_have_count(0)


async def test_without_its_script_a_page_can_be_looked_at_again(served: Served, page: Page, faults: Faults) -> None:
    invoice = await served.all.invoice()
    again = page.get_by_role("link", name="Look again for the payment")
    await page.goto(url(served, invoice))
    await expect(page.locator("#copy-address")).to_be_visible()
    await expect(again).to_be_hidden()
    await page.route("**/i/assets/*.js", lambda route: route.abort())  # lost, blocked, or swapped on the way
    await page.goto(url(served, invoice))
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
    await again.click()
    await expect(page.locator("h1")).to_have_text("Paid")
    faults.seen.clear()


async def test_languages_follow_the_browser_and_arabic_runs_from_the_right(served: Served, open_page: OpenPage) -> None:
    invoice = await served.all.invoice()
    page = await open_page(locale="ar-EG")
    await page.goto(url(served, invoice))
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.locator("h1")).to_have_text("بانتظار دفعتك")
    assert await page.locator(".address").evaluate("(shown) => getComputedStyle(shown).direction") == "ltr"
    await page.goto(url(served, invoice, "?lang=fr"))
    await expect(page.locator("h1")).to_have_text("En attente de votre paiement")
    await expect(page.locator(".price")).to_have_text("49,90\N{NO-BREAK SPACE}€")


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en-GB", r"\d{1,2} \w{3,4} 20\d\d, \d\d:\d\d"),
        ("en-US", r"\w{3} \d{1,2}, 20\d\d, \d{1,2}:\d\d\s[AP]M"),
        ("ar-SA", r"[\u200f]?\d\d.*20\d\d\D.*\d:\d\d.*"),  # neither the lunar calendar nor other digits
    ],
)
async def test_times_are_written_as_in_the_browsers_region(
    served: Served, open_page: OpenPage, locale: str, expected: str
) -> None:
    invoice = await served.all.invoice()
    page = await open_page(locale=locale)
    await page.goto(url(served, invoice))
    shown = page.locator("time[data-local]")
    await expect(shown.last).not_to_contain_text("UTC")  # in the browser's own zone
    for time in await shown.all():
        assert re.fullmatch(expected, await time.inner_text())


GREYS = """async (picture) => {
  const image = await createImageBitmap(await (await fetch(picture)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const { data } = canvas.getImageData(0, 0, image.width, image.height);
  return [image.height, [...data.filter((_, place) => place % 4 === 1)]];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_camera_reads_the_codes_as_the_browser_shows_them(
    served: Served, open_page: OpenPage, scheme: str
) -> None:
    invoice = await served.all.invoice(description="Two coffees")
    option = invoice["payment_options"][0]
    page, blank = await open_page(color_scheme=scheme), await open_page()
    await page.goto(url(served, invoice))
    await page.locator("#bare").click()
    for place, expected in enumerate((option["uri"], option["address"])):
        shot = b64encode(await page.locator(".qr").nth(place).screenshot()).decode()
        height, greys = await blank.evaluate(GREYS, f"data:image/png;base64,{shot}")
        picture = np.array(greys, np.uint8).reshape(height, -1)
        (found,) = zxingcpp.read_barcodes(picture)
        assert (found.text, found.ec_level) == (expected, "M")
        # Black on white also in the dark, and nothing within four modules of it.
        modules = len(modules_of(expected.encode())) + 8
        zone = height * 4 // modules - 1
        assert (picture.min(), picture[zone, zone:-zone].min(), picture[zone:-zone, zone].min()) == (0, 255, 255)


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_the_countdown_is_the_servers_whatever_the_browsers_clock_says(
    served: Served, page: Page, minutes: int
) -> None:
    invoice = await served.all.invoice()
    await page.add_init_script(f"window.now = Date.now.bind(Date); Date.now = () => now() + {minutes * 60_000}")
    await page.goto(url(served, invoice))
    await expect(page.locator("[data-until]")).to_have_text(re.compile(r"1[0-4]:\d\d"))
    await page.evaluate("performance.now = () => 0")  # a device that slept, as some browsers count
    async with page.expect_response(url(served, invoice)):
        await page.evaluate("Date.now = () => now() + 60 * 60_000")
    await page.wait_for_timeout(300)
    await expect(page.locator("[data-until]")).to_have_text(re.compile(r"1[0-4]:\d\d"))


STATES = {
    "waiting": None,
    "paid": {"as": "settled"},
    "cancelled": {"as": "invalid"},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
async def test_the_page_can_be_used_by_everybody(served: Served, open_page: OpenPage, scheme: str, state: str) -> None:
    await patched(served, name="Café Größe", colour="#ffe600", logo=b64encode(png(60, 40)).decode())
    invoice = await served.all.invoice(description="Two coffees", redirect_url="https://shop.example/")
    if (mark := STATES[state]) is not None:
        await served.all.post(f"/v1/invoices/{invoice['id']}/mark", mark)
    page = await open_page(color_scheme=scheme, reduced_motion="reduce", viewport=DESKTOP, bypass_csp=True)
    await page.goto(url(served, invoice))
    await expect(page.locator("h1")).to_be_visible()
    for summary in await page.locator("summary").all():
        await summary.click()
    wanted = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    rules = {"runOnly": {"type": "tag", "values": wanted}}
    found = (await Axe().run(page, options=rules)).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


async def pay_a_part(served: Served, invoice: dict[str, Any]) -> None:
    """Let something come for an invoice: without it there is no receipt."""
    await served.house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, first_seen_at,
               replaceable, block_height, block_hash, store_id, invoice_id)
           select 'pay_' || right(invoice_id, 29), network, 'ab' || invoice_id, 'out:0', 'BTC@' || network, 10000, 0,
               id, now(), false, 100, 'cd', store_id, invoice_id from addresses where invoice_id = $1 limit 1""",
        invoice["id"],
    )


@pytest.mark.parametrize("paid", [False, True])
async def test_a_thumb_hits_everything_and_nothing_is_cut_off_on_the_smallest_phone(
    served: Served, open_page: OpenPage, paid: bool
) -> None:
    invoice = await served.all.invoice(description="W" * 90, redirect_url="https://shop.example/")
    if paid:
        await pay_a_part(served, invoice)
        await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
    page = await open_page(viewport={"width": 320, "height": 640}, locale="de-DE")
    await page.goto(url(served, invoice))
    await expect(page.locator("#print" if paid else "#copy-address")).to_be_visible()
    await page.locator(".languages summary").click()
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    for wanted, least in (("button, summary, .go, .wide, .back a, .ways a", 44), ("a", 24)):
        for one in await page.locator(f":is({wanted}):visible").all():
            box = await one.bounding_box()
            assert box is not None
            assert box["height"] >= least, await one.inner_text()


async def test_everything_can_be_reached_by_keyboard_and_shows_where_one_is(served: Served, page: Page) -> None:
    invoice = await served.all.invoice(redirect_url="https://shop.example/")
    await page.goto(url(served, invoice))
    await expect(page.locator("#copy-address")).to_be_visible()
    reached = []
    for _ in range(7):
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate(
                "[document.activeElement.textContent.trim().split('\\n')[0],"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert [name for name, _ in reached] == [
        "Copy Amount", "Copy Address", "Open in a wallet", "QR code of the address alone", "Back to shop.example",
        "Language", reached[-1][0],
    ]  # fmt: skip
    assert {outline for _, outline in reached[:6]} == {"solid"}


async def test_a_receipt_prints_what_matters_and_nothing_to_click(served: Served, page: Page, tmp_path: Path) -> None:
    invoice = await served.all.invoice(description="Two coffees")
    await pay_a_part(served, invoice)
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})
    await page.goto(url(served, invoice))
    await page.emulate_media(media="print")
    for text in ("Two coffees", "€49.90", "Paid on", invoice["id"], "Test mode"):
        await expect(page.locator(".sheet").get_by_text(text).first).to_be_visible()
    assert await page.locator("button:visible, a:visible, summary:visible").count() == 0


async def test_an_unpaid_invoice_prints_all_that_its_payer_needs_and_no_more(served: Served, page: Page) -> None:
    invoice = await served.all.invoice(description="Two coffees")
    option = invoice["payment_options"][0]
    await page.goto(url(served, invoice))
    await expect(page.locator("#copy-amount")).to_be_visible()
    await page.emulate_media(media="print")
    printed = (await page.locator("main").inner_text()).replace("\n", "")
    for text in (
        "Send the exact amount below",
        f"{trimmed(option['amount'])} BTC",
        option["address"],
        "Bitcoin regtest",
    ):
        assert text in printed
    # Paper has no zone, and no clock.
    assert re.search(r"The price holds until: .{9,} UTC", printed)
    assert "ask the shop for a new invoice" not in printed
    await expect(page.locator(".qr:visible")).to_have_count(1)
    await expect(page.locator(":is(button, a, summary, nav, [role=timer]):visible")).to_have_count(0)


@pytest.mark.parametrize(
    ("state", "words"), [("settled", "The shop has accepted this invoice"), ("invalid", "This invoice was cancelled")]
)
async def test_what_has_nothing_to_pay_and_no_receipt_prints_where_it_stands(
    served: Served, page: Page, state: str, words: str
) -> None:
    invoice = await served.all.invoice(description="Two coffees")
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": state})
    await page.goto(url(served, invoice))
    await page.emulate_media(media="print")
    await expect(page.locator("[data-part=state]")).to_contain_text(words)
    await expect(page.locator("[data-part=state]")).to_be_visible()
    await expect(page.locator(":is(.qr, .until):visible")).to_have_count(0)
