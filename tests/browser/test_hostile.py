"""E16: two hundred hostile texts in every field that merchants and payers fill in, on every page that shows one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.api.app import create_app
from kassa.audit.model import Actor
from kassa.checkout.pages import handlers
from kassa.core.clock import SystemClock
from kassa.dashboard import app as dashboard
from kassa.dashboard.pages import PAGES
from kassa.db.pool import Database
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.seal_store import Sealed, put_seal
from kassa.settings import Http
from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.conftest import follow
from tests.api.served import Caller, listening
from tests.browser.conftest import DESKTOP, Faults, OpenPage, site
from tests.browser.hostile import CHECK, HOSTILE, REFUSED, packed
from tests.dashboard.visitor import Premises
from tests.house import TPUB, add_store, build_house
from tests.tools.ports import free_port

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
UNSHOWN = ("books/export", "reports/file")  # files
LONG, SHORT = packed(1_000), packed(200)


class Shop:
    """A store that everybody who could filled with hostile texts, served with checkout and dashboard."""

    def __init__(self, premises: Premises, all_: Caller) -> None:
        self.premises, self.all = premises, all_
        self.made: dict[str, list[Any]] = {"inv": [], "lnk": [], "cus": [], "whk": [], "evt": [], "wal": [], "alt": []}
        self.cookies: list[Any] = []

    async def make(self, path: str, kind: str, **body: Any) -> None:
        answer = await self.all.post(path, body)
        assert answer.status == 201, answer.body
        self.made[kind].append(answer.json)

    async def furnish(self) -> None:
        """Enter every text in every field that takes it."""
        for place, text in enumerate(LONG):
            short = SHORT[place % len(SHORT)]
            metadata = {short[:60]: text, "more": SHORT[place::4][:6]}
            await self.make(
                "/v1/invoices",
                "inv",
                amount="9.90",
                currency="EUR",
                description=text,
                reference=short,
                metadata=metadata,
            )
            await self.make(
                "/v1/payment-links",
                "lnk",
                title=short,
                description=text,
                min_amount="1.00",
                reference=short,
                metadata=metadata,
            )
        for text in SHORT:
            await self.make("/v1/customers", "cus", reference=text, name=text)
        await self.make(
            "/v1/webhooks", "whk", url="https://hook.example/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", events=["*"]
        )
        now, id_ = self.premises.clock.now(), self.premises.store.id
        found = Finding(
            Kind.CREDIT_LOST, SHORT[4], Severity.WARNING, SHORT[5], store_id=id_, about={SHORT[6]: SHORT[7]}
        )
        async with self.premises.house.database.transaction() as tx:
            alert = await alerts.open_alert(tx, found, now)
        assert alert is not None
        self.made["alt"] = [(await self.all.post(f"/v1/alerts/{alert.id}/acknowledge", {"note": LONG[1]})).json]
        self.made["evt"] = (await self.all.get("/v1/events?limit=100")).json["data"][::9]
        self.made["wal"] = (await self.all.get("/v1/wallets")).json["data"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """Checkout and dashboard without any node, and an owner who is signed in."""
    database = await Database.open(shared_database_url)
    url = f"http://127.0.0.1:{free_port()}"
    clock: Any = SystemClock()
    house = await build_house(database, tmp_path_factory.mktemp("hostile"), clock=clock, http=Http(public_url=url))
    await follow(house)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        key_id, key = await stores.create_key(tx, store, clock.now(), scopes=SCOPES, label=SHORT[3])
    async with (
        listening(create_app(house, [*handlers(house), *dashboard.handlers(house)])) as port,
        aiohttp.ClientSession() as session,
    ):
        base = f"http://127.0.0.1:{port}"
        premises = Premises(house, store, clock, base)
        made = Shop(premises, Caller(session, base, key))
        await made.furnish()
        made.made["key"] = [{"id": key_id}]
        yield made
        for visitor in premises.visitors:
            await visitor.session.close()
    await house.marks.close()
    await database.close()


async def test_there_are_two_hundred_texts_and_each_is_packed_somewhere() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 200
    for parts in (LONG, SHORT):
        assert [text for text in HOSTILE if not any(text in part for part in parts)] == []


async def test_the_check_sees_what_is_wrong_with_a_page(page: Page) -> None:
    await page.goto("about:blank")
    await page.set_content(
        "<p onclick=x>a</p><p style='color:red'>b</p><a href=//evil.example>c</a><iframe></iframe><script>1</script>"
        "<p>pay <span>\u202e5 EUR</span> to</p><p>pay <bdi>\u202e5 EUR</bdi> to</p><p>\u202ealone</p>"
    )
    found = await page.evaluate(CHECK)
    assert [each.partition(" ")[0] for each in found] == [
        'onclick="x"',
        'style="color:red"',
        'href="//evil.example"',
        "there",
        "inline",
        "turned:",
    ]


@pytest.mark.parametrize("field", ["description", "reference"])
async def test_what_would_end_a_line_is_refused(shop: Shop, field: str) -> None:
    for text in REFUSED:
        answer = await shop.all.post("/v1/invoices", {"amount": "1.00", "currency": "EUR", field: text})
        assert (answer.status, answer.fields) == (422, [field])


async def test_payers_see_hostile_texts_as_texts(shop: Shop, page: Page, faults: Faults) -> None:
    base = shop.premises.base
    foreign = _foreign(page, base)
    wrong: list[str] = []
    query = "?lang=%22%3E%3Cscript%3E&embed=javascript:alert(1)&asset=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E"
    for place, invoice in enumerate(shop.made["inv"]):
        await _rename(shop, SHORT[place])
        await page.goto(f"{base}/i/{invoice['id']}{query}")
        await expect(page.locator(".what")).to_have_text(invoice["description"], use_inner_text=False)
        wrong += await page.evaluate(CHECK)
    await shop.all.post(f"/v1/invoices/{shop.made['inv'][0]['id']}/mark", {"as": "settled"})
    await page.goto(f"{base}/i/{shop.made['inv'][0]['id']}")
    await page.emulate_media(media="print")  # the receipt
    wrong += await page.evaluate(CHECK)
    for place, link in enumerate(shop.made["lnk"]):
        await page.goto(f"{base}/l/{link['id']}{query}")
        await expect(page.locator(".what")).to_have_text(link["description"], use_inner_text=False)
        wrong += await page.evaluate(CHECK)
        await page.locator("#amount").fill(SHORT[place][:60])
        await page.get_by_role("button", name="Pay").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        wrong += await page.evaluate(CHECK)
    faults.seen[:] = [fault for fault in faults.seen if "422" not in fault]  # the refused amounts
    assert (wrong, foreign, faults.seen, faults.dialogs) == ([], [], [], [])


async def test_a_frame_in_a_shop_shows_hostile_texts_as_texts_and_obeys_no_message(
    shop: Shop, page: Page, faults: Faults
) -> None:
    base = shop.premises.base
    wrong: list[str] = []
    async with _framing() as site:
        store = (await shop.all.get("/v1/store")).json
        sites = {"version": store["version"], "frame_ancestors": [site]}
        assert (await shop.all.send("PATCH", "/v1/store", sites)).status == 200
        for place, invoice in enumerate(shop.made["inv"]):
            await _rename(shop, SHORT[place])
            await page.goto(f"{site}/{place}#{base}/i/{invoice['id']}?embed={site}")
            inside = page.frame_locator("iframe")
            # A receipt, for paper alone, says it once more.
            await expect(inside.locator(".what").first).to_have_text(invoice["description"], use_inner_text=False)
            await page.wait_for_function("heard.length > 0")
            title = await inside.locator("h1").inner_text()
            wrong += await page.frames[-1].evaluate(CHECK)
            forged = {"kassa": 1, "type": "status", "invoice": invoice["id"], "status": "settled"}
            for said in (forged, forged | {"type": "close"}, SHORT[place], {"type": SHORT[place]}):
                await page.evaluate("(said) => frames[0].postMessage(said, '*')", said)
            # An answer to any of them would have been heard before that to a question asked after them.
            await page.frames[-1].evaluate("parent.postMessage('asked', '*')")
            await page.wait_for_function("heard.some(([, said]) => said === 'asked')")
            status = (await shop.all.get(f"/v1/invoices/{invoice['id']}")).json["status"]
            ready = {"kassa": 1, "type": "ready", "invoice": invoice["id"], "status": status}
            assert await page.evaluate("heard") == [[base, ready], [base, "asked"]]
            assert await inside.locator("h1").inner_text() == title
    assert (wrong, faults.seen, faults.dialogs) == ([], [], [])


async def test_the_dashboard_shows_hostile_texts_as_texts(shop: Shop, open_page: OpenPage, faults: Faults) -> None:
    page = await open_page(viewport=DESKTOP, user_agent=f"x {SHORT[0]}".encode("ascii", "ignore").decode())
    await _enter(shop, page)
    foreign = _foreign(page, shop.premises.base)
    wrong: list[str] = []
    for one in PAGES:
        if one.path in UNSHOWN:
            continue
        shown = [""] if one.id_of is None else [each["id"] for each in shop.made.get(one.id_of, [])][:20]
        for id_ in shown:
            answer = await page.goto(shop.premises.base + shop.premises.at(one.path.replace("{id}", id_)))
            assert answer is not None
            wrong += [f"{one.path}: {each}" for each in await page.evaluate(CHECK)]
            if answer.status != 200:
                wrong.append(f"{one.path}: {answer.status}")
    for path in (f"alerts/{shop.made['alt'][0]['id']}", f"events/{shop.made['evt'][0]['id']}", "wallets/new"):
        await page.goto(shop.premises.base + shop.premises.at(path))
        if path == "wallets/new":
            await page.get_by_label("Descriptor").fill(f"wpkh({TPUB}/3/*)")
            await page.get_by_role("button", name="Show its first addresses").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Compare before it counts")
        found = await Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        wrong += [f"{path}: {each['id']} {each['nodes'][0]['html'][:160]}" for each in found.response["violations"]]
    for text in SHORT[:12]:
        await page.goto(shop.premises.base + shop.premises.at("customers"))
        await page.get_by_label("Reference").first.fill(text)
        await page.get_by_role("button", name="Find").click()
        await expect(page.locator("tbody tr")).to_have_count(1)
        wrong += [f"found: {each}" for each in await page.evaluate(CHECK)]
    assert (sorted(set(wrong)), foreign, faults.seen, faults.dialogs) == ([], [], [], [])


@asynccontextmanager
async def _framing() -> AsyncIterator[str]:
    """Serve a page of a shop that frames what its fragment says and notes what it hears; yield its origin."""
    text = """<!doctype html><link rel="icon" href="data:,"><iframe></iframe><script>
      heard = [];
      addEventListener("message", (event) => heard.push([event.origin, event.data]));
      document.querySelector("iframe").src = location.hash.slice(1);
    </script>"""

    async with site(text) as port:
        yield f"http://127.0.0.1:{port}"


async def _rename(shop: Shop, text: str) -> None:
    store = (await shop.all.get("/v1/store")).json
    name = "".join(filter(str.isprintable, text))
    answer = await shop.all.send("PATCH", "/v1/store", {"version": store["version"], "name": name})
    assert answer.status == 200, answer.body


def _foreign(page: Page, base: str) -> list[str]:
    found: list[str] = []
    page.on("request", lambda asked: None if asked.url.startswith(base) else found.append(asked.url))
    return found


async def _enter(shop: Shop, page: Page) -> None:
    """Sign an owner with a hostile name in, by the link of an invitation."""
    house, now = shop.premises.house, shop.premises.clock.now()
    database = house.database
    place = shop.premises.store.id, Role.OWNER
    async with database.transaction() as tx:
        by = Actor("operator <script>")
        token = await membership.invite(tx, house.seal, by, "owner@shop.example", place, now)
    await page.goto(f"{shop.premises.base}/dashboard/invitation/{token}")
    await page.locator("input[name=name]").fill("".join(filter(str.isprintable, SHORT[1]))[:60])
    await page.locator("input[name=password]").fill("correct horse battery staple")
    await page.locator("form:has(input[name=password]) button").click()
    await expect(page.locator("input[name=code]")).to_be_visible()
    shop.made["per"] = [{"id": await database.pool.fetchval("select id from people")}]
    async with database.transaction() as tx:
        session = await tx.fetchval("update sessions set stage = 'open', proven_at = now() returning id")
        await put_seal(tx, house.seal, Sealed.SESSION, session)
