"""The payer's page and stream over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from time import monotonic
from typing import Any

import pytest

from kassa.chains.registry import FAMILIES
from kassa.checkout.pages import handlers
from kassa.checkout.stream import Streams
from kassa.checkout.words import state
from kassa.house import House
from kassa.wallets.store import add_wallet
from tests.api.conftest import follow
from tests.api.served import Caller, Served, serve
from tests.house import TPUB, add_store, regtest

HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'-alert(1)-'", "{{7*7}}", "{% raw %}",
    "javascript:alert(1)", "</title><svg/onload=alert(1)>", "<style>*{display:none}</style>", "&lt;b&gt;",
    "<meta http-equiv=refresh content=0;url=//evil.example>", "\u202e txt.exe", "<a href=//evil.example>pay here</a>",
]  # fmt: skip


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
async def served(house: House) -> AsyncIterator[Served]:
    """The house served with its checkout."""
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as running:
        yield running


@pytest.fixture
def payer(served: Served) -> Caller:
    """Someone without a key."""
    return served.caller(None)


async def test_the_page_shows_what_to_send_where_and_on_which_network(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice(description="Two coffees", redirect_url="https://shop.example/done?x=1&y=2")

    answer = await payer.get(f"/i/{invoice['id']}")
    page = Tags(answer.body)
    option = invoice["payment_options"][0]

    assert answer.status == 200
    for words in ("49.90", "EUR", "Two coffees", option["address"], option["amount_due"], "BTC", "bitcoin-regtest",
                  "Waiting for your payment", "Test mode"):  # fmt: skip
        assert words in page.words, words
    assert [a["href"] for a in page.of("a")] == [option["uri"], "https://shop.example/done?x=1&y=2"]
    assert len(page.of("svg")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert any(meta.get("http-equiv") == "refresh" for meta in page.of("meta"))


async def test_the_chosen_asset_stays_chosen_when_the_page_loads_again(house: House) -> None:
    litecoin = "litecoin-regtest"
    both = dict(house.chains) | {litecoin: FAMILIES["bitcoin"].chain(litecoin, litecoin, ())}
    networks = {name: regtest(name) for name in both}
    house = replace(house, chains=both, settings=replace(house.settings, networks=networks))
    await follow(house, litecoin)
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
        await add_wallet(tx, store.id, litecoin, litecoin, both[litecoin].addresses.account(TPUB), house.clock.now())

    async with serve(house, store, handlers(house)) as served:
        invoice = await served.all.invoice()
        path, addresses = f"/i/{invoice['id']}", {o["symbol"]: o["address"] for o in invoice["payment_options"]}
        shown = {
            query: Tags((await served.caller(None).get(path + query)).body).words
            for query in ("", "?asset=BTC%40bitcoin-regtest", "?asset=LTC%40litecoin-regtest", "?asset=%3Cscript%3E")
        }
        await house.database.pool.execute("update addresses set address = 'swapped' where network = $1", litecoin)
        left = Tags((await served.caller(None).get(f"{path}?asset=LTC%40litecoin-regtest")).body)

    # A way to pay that fails its check is not among those that are offered.
    assert addresses["BTC"] in left.words
    assert "LTC" not in left.words
    for query, words in shown.items():
        chosen, other = ("LTC", "BTC") if "LTC" in query else ("BTC", "LTC")
        assert addresses[chosen] in words, query
        assert addresses[other] not in words, query
        assert f"Send only {chosen} on the network" in " ".join(words.split()), query


async def test_the_page_runs_no_script_and_loads_only_its_style(served: Served, payer: Caller) -> None:
    answer = await payer.get(f"/i/{(await served.all.invoice())['id']}")
    page = Tags(answer.body)
    style = await payer.get("/i/checkout.css")

    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert answer.headers["x-frame-options"] == "DENY"
    assert page.of("script") == []
    assert [link["href"] for link in page.of("link")] == ["/i/checkout.css"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


async def test_the_page_tells_nothing_private(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice(reference="secret-reference", metadata={"note": "secret-note"})

    page = await payer.get(f"/i/{invoice['id']}")

    for private in (b"secret-reference", b"secret-note", served.store.id.encode()):
        assert private not in page.body


@pytest.mark.parametrize("text", HOSTILE)
async def test_e16_hostile_text_stays_text(served: Served, payer: Caller, text: str) -> None:
    plain = Tags((await payer.get(f"/i/{(await served.all.invoice(description='x'))['id']}")).body)
    hostile = Tags(
        (await payer.get(f"/i/{(await served.all.invoice(description=text, metadata={text: text}))['id']}")).body
    )

    def shape(page: Tags) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in page.tags if tag not in ("svg", "path")]

    assert text in hostile.words
    assert shape(hostile) == shape(plain)


@pytest.mark.parametrize("path", ["/i/x", f"/i/inv_{'0' * 29}", "/i/%00", "/i/..%2fv1", f"/i/inv_{'0' * 29}/stream"])
async def test_an_unknown_invoice_is_a_plain_404(payer: Caller, path: str) -> None:
    answer = await payer.get(path)

    assert answer.status == 404


async def test_a_marked_invoice_shows_no_address(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})

    page = Tags((await payer.get(f"/i/{invoice['id']}")).body)

    assert "This invoice was cancelled" in page.words
    assert invoice["payment_options"][0]["address"] not in page.words
    assert page.of("svg") == []


@pytest.mark.parametrize(
    ("change", "title", "payable"),
    [
        ({}, "Waiting for your payment", True),
        ({"amount_paid": "10.00", "amount_due": "39.90"}, "Part of it has arrived", True),
        ({"status": "processing"}, "Payment received", False),
        ({"status": "settled"}, "Paid", False),
        ({"status": "expired"}, "This invoice has expired", False),
        ({"status": "invalid"}, "This invoice was cancelled", False),
    ],
)
def test_each_state_has_plain_words(change: dict[str, str], title: str, payable: bool) -> None:
    invoice = {"status": "new", "amount": "49.90", "currency": "EUR", "amount_paid": "0.00", "amount_due": "49.90"}
    invoice |= {"flags": [], "is_final": False}  # type: ignore[dict-item]

    said = state(invoice | change)

    assert (said.title, said.payable) == (title, payable)


async def test_the_stream_tells_each_change_at_once(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"

    async with asyncio.timeout(15), served.session.get(url) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = []
        async for line in response.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:]))
                if len(seen) == 2:
                    break
                await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"})

    assert [one["status"] for one in seen] == ["new", "settled"]
    assert not {"store_id", "metadata", "reference", "customer_id"} & seen[0].keys()


async def test_streams_are_bounded(served: Served, payer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.checkout.stream.MOST", 1)
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"

    async with asyncio.timeout(10), served.session.get(url) as first:
        await first.content.readline()
        assert (await payer.get(f"/i/{invoice['id']}/stream")).status == 503


async def test_streams_are_bounded_also_when_all_come_at_once(
    served: Served, payer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.checkout.stream.MOST", 2)
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"

    async with asyncio.timeout(10):
        streams = await asyncio.gather(*(served.session.get(url) for _ in range(20)))
        starts = [b"".join([await stream.content.readline() for _ in range(3)]) for stream in streams]
    for stream in streams:
        stream.close()

    assert sum(b"data: " in start for start in starts) <= 2


async def test_the_looks_of_all_streams_together_are_bounded(
    served: Served, payer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.checkout.stream.LOOKS_PER_SECOND", 10)
    looks, look = 0, Streams._look

    async def counted(streams: Streams, invoice_id: str) -> Any:
        nonlocal looks
        looks += 1
        return await look(streams, invoice_id)

    monkeypatch.setattr(Streams, "_look", counted)
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"
    streams = await asyncio.gather(*(served.session.get(url) for _ in range(20)))
    await asyncio.gather(*(stream.content.readline() for stream in streams))
    began, before = monotonic(), looks
    while monotonic() - began < 3:
        await served.all.invoice()  # each wakes every stream
    elapsed = monotonic() - began
    for stream in streams:
        stream.close()

    assert looks - before <= 20 + 10 * elapsed
