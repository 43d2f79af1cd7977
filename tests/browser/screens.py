"""The pictures of docs/screens, drawn anew by `make screens`: none of the tests, and to be looked at afterwards."""

import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Page, expect

from kassa.chains.bitcoin.devnode import DevNode
from kassa.chains.evm.devnode import AnvilNode
from tests.browser.checkouts import BTC, Json, one_of_each, option, patched, running_kassa, shows
from tests.browser.conftest import DESKTOP, PHONE, OpenPage, site
from tests.browser.test_checkout import TWO_WALLETS
from tests.browser.test_links import owner_of
from tests.e2e.program import Program
from tests.house import TPUB

FOLDER = Path(os.environ.get("SCREENS") or Path(__file__).parents[2] / "docs" / "screens")
COLOURS = 200
PAPER = {"width": 794, "height": 620}  # the upper half of an A4 page at 96 points an inch
WIDE = {"width": 1000, "height": 660}

CHECKOUTS = (
    ("waiting-phone", "choice", PHONE, "light", "en"), ("waiting-desktop", "choice", WIDE, "light", "en"),
    ("waiting-desktop-dark", "choice", WIDE, "dark", "en"), ("waiting-arabic-dark", "choice", PHONE, "dark", "ar"),
    ("wallets-phone", "wallets", PHONE, "light", "en"),
    ("part-desktop", "part", WIDE, "light", "en"), ("part-arabic-dark", "part", PHONE, "dark", "ar"),
    ("confirming-phone", "confirming", PHONE, "light", "en"), ("confirming-desktop", "confirming", WIDE, "light", "en"),
    ("paid-phone", "paid", PHONE, "light", "en"), ("paid-desktop-dark", "paid", WIDE, "dark", "en"),
    ("over-desktop-dark", "over", WIDE, "dark", "en"),
    ("expired-phone", "expired", PHONE, "light", "en"), ("expired-desktop", "expired", WIDE, "light", "en"),
    ("late-phone", "late", PHONE, "light", "en"), ("late-arabic", "late", PHONE, "light", "ar"),
)  # fmt: skip
SHOP = """<!doctype html><meta name="viewport" content="width=device-width"><title>Northern Roast</title>
<link rel="icon" href="data:,"><style>body { font: 18px/1.6 system-ui; margin: 3rem auto; max-width: 52rem }
h1 { color: #5b3a1e }</style><h1>Northern Roast</h1><p>Your basket: two coffees, one bag of Yirgacheffe.</p>
<p>Thank you for your order. You can pay it right here.</p><script src="%s/embed.js"></script>
<script>Kassa.open({ invoice: "%s" })</script>"""


def keep(name: str, drawn: bytes) -> None:
    """Write a picture in the colours that it shows most of, each exactly; only the others become their nearest.

    What mixes colours instead (median cut, octrees) turns white pages pink, and cards into their background. Greys are
    many, at the edges of letters, and near each other: the more of a colour there is in one, the less of it is needed.
    """
    picture = Image.open(BytesIO(drawn)).convert("RGBA")
    found = picture.getcolors(picture.width * picture.height) or []
    found.sort(key=lambda one: -one[0] * (8 + max(one[1][:3]) - min(one[1][:3])))
    palette = [colour for _, colour in found[:COLOURS]]

    def nearest(colour: tuple[int, ...]) -> int:
        return min(range(len(palette)), key=lambda place: _apart(palette[place], colour))

    places = {int.from_bytes(bytes(colour), "little"): nearest(colour) for _, colour in found}
    pixels = memoryview(picture.tobytes()).cast("I")
    few = Image.frombytes("P", picture.size, bytes(places[pixel] for pixel in pixels))
    few.putpalette([part for colour in palette for part in colour[:3]])
    few.save(FOLDER / f"{name}.png", optimize=True)


def _apart(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


async def draw(page: Page, name: str, *, whole: bool = True) -> None:
    """Keep a page as it is shown, or the whole of it."""
    await page.mouse.move(0, 0)
    keep(name, await page.screenshot(full_page=whole, animations="disabled", caret="hide"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kassa(
    shared_bitcoind: DevNode,
    shared_anvil: AnvilNode,
    shared_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Program]:
    folder = tmp_path_factory.mktemp("screens") / "kassa"
    async with running_kassa(folder, shared_bitcoind, shared_anvil, shared_database_url) as program:
        await patched(program, name="Northern Roast")
        yield program


async def test_checkout(
    kassa: Program, shared_bitcoind: DevNode, shared_database_url: str, open_page: OpenPage
) -> None:
    made = await one_of_each(kassa, shared_bitcoind, shared_database_url)
    for name, state, size, scheme, lang in CHECKOUTS:
        page = await open_page(viewport=size, color_scheme=scheme)
        if state == "wallets":
            await page.add_init_script(TWO_WALLETS)
        await page.goto(f"{made[state]['checkout_url']}?lang={lang}")
        await page.wait_for_timeout(400)  # wallets announce themselves
        await draw(page, f"checkout-{name}")
        await page.context.close()
    await receipt(open_page, made["paid"])
    await closed(shared_database_url, open_page, made["wallets"])
    await modal(kassa, open_page, made["choice"])


async def receipt(open_page: OpenPage, invoice: Json) -> None:
    """Draw what is printed."""
    page = await open_page(viewport=PAPER)
    await page.goto(invoice["checkout_url"])
    await page.emulate_media(media="print")
    await draw(page, "checkout-receipt-printed", whole=False)


async def closed(database_url: str, open_page: OpenPage, invoice: Json) -> None:
    """Draw a way to pay that is closed, as its network stands still just now."""
    connection = await asyncpg.connect(database_url)
    page = await open_page()
    for _ in range(20):  # the follower puts it right at its next look
        await connection.execute("update networks set state = 'stalled' where id = 'anvil'")
        await page.goto(invoice["checkout_url"])
        if await page.get_by_role("heading", name="Closed for now").count():
            break
    await draw(page, "checkout-closed-phone")
    await connection.close()


async def modal(kassa: Program, open_page: OpenPage, invoice: Json) -> None:
    """Draw the checkout in the page of a shop."""
    async with site(SHOP % (kassa.url, invoice["id"])) as port:
        await patched(kassa, frame_ancestors=[f"http://127.0.0.1:{port}"])
        page = await open_page(viewport={**WIDE, "height": 860})
        await page.goto(f"http://127.0.0.1:{port}")
        await expect(page.frame_locator("iframe").locator("h1")).to_have_text("Waiting for your payment")
        await draw(page, "checkout-modal-desktop", whole=False)
        await page.goto("about:blank")


async def test_link(kassa: Program, shared_bitcoind: DevNode, open_page: OpenPage) -> None:
    words = {"title": "Deposit for the flat, July", "description": "Paid before you get the keys."}
    status, link = await kassa.call("POST", "/v1/payment-links", words | {"amount": "450.00"})
    assert status == 201, link
    page = await open_page()
    await page.goto(link["url"])
    await draw(page, "payment-link-open-phone")
    await page.get_by_role("button", name="Pay €450.00").click()
    await page.wait_for_url("**/i/inv_*")
    invoice = (await kassa.call("GET", f"/v1/invoices/{page.url.rpartition('/')[2]}"))[1]
    await shared_bitcoind.fund(option(invoice, BTC)["address"], 720_000)
    await shared_bitcoind.mine(2)
    await kassa.until_invoice(invoice, payments=["settled"])
    for name, size, scheme, lang in (
        ("phone", PHONE, "light", "en"), ("desktop", WIDE, "light", "en"), ("arabic-dark", PHONE, "dark", "ar"),
    ):  # fmt: skip
        page = await open_page(viewport=size, color_scheme=scheme)
        await page.goto(f"{link['url']}?lang={lang}")
        await draw(page, f"payment-link-{name}")


async def furnish(kassa: Program, node: DevNode, database_url: str) -> Json:
    """Let a month of business have happened; return one of its invoices."""
    goods = ("Beans, 1 kg Ethiopia Yirgacheffe", "Gift card", "A grinder", "Filter papers", "Two coffees")
    sold = []
    for number in range(24):
        amount = f"{15 + number * 37 % 170}.{number * 13 % 100:02}"
        more = {"reference": f"order-{1101 + number}", "description": goods[number % 5], "payment_options": [BTC]}
        sold.append(await kassa.invoice(amount=amount, **more))
        due = option(sold[-1], BTC)["amount"]
        if number % 8 != 7:
            await node.fund(option(sold[-1], BTC)["address"], int(due.replace(".", "")))
    await node.mine(2)
    await kassa.until_invoice(sold[-2], status="settled")
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "update invoices set settled_at = settled_at - make_interval(days => (n * 29 / 24)::int)"
        " from (select id, row_number() over (order by id desc) - 1 as n from invoices"
        " where reference like 'order-11%')"
        " as old where old.id = invoices.id and settled_at is not null and n > 1"
    )
    await connection.close()
    return sold[-2]


async def test_dashboard(
    kassa: Program, shared_bitcoind: DevNode, shared_database_url: str, open_page: OpenPage
) -> None:
    shown = await furnish(kassa, shared_bitcoind, shared_database_url)
    for email, role in (("ada@shop.example", "accountant"), ("sam@shop.example", "support")):
        await kassa.run("user", "invite", "--store", kassa.store, "--email", email, "--role", role)
    page = await open_page(viewport=DESKTOP)
    home = await owner_of(kassa, page)
    signed_in = await page.context.storage_state()
    for name, path, size, scheme in (
        ("overview", "overview", DESKTOP, "light"), ("overview-phone-dark", "overview", PHONE, "dark"),
        ("invoice-dark", f"invoices/{shown['id']}", DESKTOP, "dark"), ("invoices-phone", "invoices", PHONE, "light"),
        ("ledger", "books", DESKTOP, "light"), ("people", "members", DESKTOP, "light"),
    ):  # fmt: skip
        page = await open_page(viewport=size, color_scheme=scheme, storage_state=signed_in)
        await page.goto(f"{home}/{path}")
        await draw(page, f"dashboard-{name}", whole=False)
    await page.goto(f"{home}/wallets/new")
    await page.get_by_label("Network").select_option("bitcoin-regtest")
    await page.get_by_label("Descriptor").fill(f"wpkh({TPUB}/3/*)")
    await page.get_by_role("button", name="Show its first addresses").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Compare before it counts")
    await draw(page, "dashboard-wallet-compare", whole=False)
    page = await open_page(viewport=PHONE)
    await page.goto(f"{kassa.url}/dashboard/sign-in")
    await draw(page, "dashboard-sign-in-phone", whole=False)


# Last: what is undone raises alerts.
async def test_checkout_undone(kassa: Program, shared_bitcoind: DevNode, page: Page) -> None:
    first = await kassa.invoice(payment_options=[BTC], description="Two coffees")
    await page.goto(first["checkout_url"])
    txid = await shared_bitcoind.fund(option(first, BTC)["address"], 100_000)
    await shows(page, "Payment seen")
    await shared_bitcoind.replace(txid)
    await shows(page, "Your payment was replaced")
    await draw(page, "checkout-replaced-phone")

    second = await kassa.invoice(payment_options=[BTC], description="Two coffees")
    await page.goto(second["checkout_url"])
    txid = await shared_bitcoind.fund(option(second, BTC)["address"], 100_000)
    rival = await shared_bitcoind.conflict(txid)
    await shared_bitcoind.mine(2)
    await shows(page, "Paid")
    await shared_bitcoind.fork(2, drop={txid}, transactions=[rival])
    await shows(page, "Your payment was undone")
    await draw(page, "checkout-reversed-phone")
