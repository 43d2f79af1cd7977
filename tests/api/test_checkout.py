"""The payer's page and stream over HTTP."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha384
from html.parser import HTMLParser
from ipaddress import ip_network
from time import monotonic

import pytest

from kassa.chains.registry import FAMILIES
from kassa.checkout.languages import SPOKEN
from kassa.checkout.pages import handlers
from kassa.checkout.stream import REST_SECONDS, Streams
from kassa.checkout.views import Views
from kassa.core.ids import InvoiceId
from kassa.house import House
from kassa.payments import asset_store as assets
from kassa.stores.raster import MAX_BYTES
from kassa.wallets.store import add_wallet
from tests.api.conftest import follow
from tests.api.served import Caller, Served, serve
from tests.house import TPUB, add_store, regtest
from tests.images import png

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

    @property
    def codes(self) -> int:
        """How many QR codes are on it."""
        return sum(attributes.get("class") == "qr" for attributes in self.of("div"))


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
    for words in ("€49.90", "Two coffees", option["address"], option["amount_due"].rstrip("0"), "BTC",
                  "Bitcoin regtest", "Waiting for your payment", "Test mode"):  # fmt: skip
        assert words in page.words, words
    links = [a["href"] for a in page.of("a") if "lang" not in a]
    again = "?asset=BTC%40bitcoin-regtest"  # without a script
    assert links == [again, option["uri"], "https://shop.example/done?x=1&y=2"]
    assert page.codes == 2
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert not any(meta.get("http-equiv") == "refresh" for meta in page.of("meta"))


async def test_the_chosen_asset_stays_chosen_when_the_page_loads_again(house: House) -> None:
    litecoin = "litecoin-regtest"
    both = dict(house.chains) | {litecoin: FAMILIES["bitcoin"].chain(litecoin, litecoin, ())}
    networks = {name: regtest(name) for name in both}
    house = replace(house, chains=both, settings=replace(house.settings, networks=networks))
    await follow(house, litecoin)
    async with house.database.transaction() as tx:
        await assets.keep(tx, both[litecoin].assets)
        store = await add_store(tx, house)
        await add_wallet(
            tx, store.id, litecoin, litecoin, both[litecoin].addresses.account(TPUB), house.seal, house.clock.now()
        )

    async with serve(house, store, handlers(house)) as served:
        invoice = await served.all.invoice()
        path, addresses = f"/i/{invoice['id']}", {o["symbol"]: o["address"] for o in invoice["payment_options"]}
        shown = {
            query: Tags((await served.caller(None).get(path + query)).body).words
            for query in ("", "?asset=BTC%40bitcoin-regtest", "?asset=LTC%40litecoin-regtest", "?asset=%3Cscript%3E")
        }
        await house.database.pool.execute("update addresses set address = 'swapped' where network = $1", litecoin)
        left = Tags((await served.caller(None).get(f"{path}?asset=LTC%40litecoin-regtest")).body)

        await house.database.pool.execute("update networks set state = 'stalled' where id <> $1", litecoin)
        kept = Tags((await served.caller(None).get(f"{path}?asset=BTC%40bitcoin-regtest")).body)

    # What was chosen and is closed for a while turns into nothing else.
    assert not {addresses["BTC"], addresses["LTC"]} & set(kept.words.split())
    # A way to pay that fails its check is closed, and whoever had chosen it is shown another.
    assert addresses["BTC"] in left.words
    assert addresses["LTC"] not in left.words
    assert "Closed for now" in left.words
    assert not [a for a in left.of("a") if "LTC" in str(a["href"]) and "lang" not in a]
    for query, words in shown.items():
        chosen, other = ("LTC", "BTC") if "LTC" in query else ("BTC", "LTC")
        assert addresses[chosen] in words, query
        assert addresses[other] not in words, query
        assert f"Send only {chosen}, and only on the network" in " ".join(words.split()), query


async def test_the_page_loads_only_our_own_files_named_by_their_content(served: Served, payer: Caller) -> None:
    answer = await payer.get(f"/i/{(await served.all.invoice())['id']}")
    page = Tags(answer.body)
    (script,), (style, _) = page.of("script"), page.of("link")

    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-frame-options"] == "DENY"
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    for tag, path, kind in ((script, script["src"], "text/javascript"), (style, style["href"], "text/css")):
        plain, packed = [
            await payer.get(str(path), headers={"accept-encoding": coding}) for coding in ("identity", "gzip")
        ]
        assert plain.body == packed.body  # the caller unpacks
        assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
        assert packed.headers["content-type"] == f"{kind}; charset=utf-8"
        assert "immutable" in packed.headers["cache-control"]
        assert tag["integrity"] == "sha384-" + b64encode(sha384(plain.body).digest()).decode()
        assert (await payer.get(f"{path}x")).status == 404


async def test_a_first_view_weighs_less_than_30_kilobytes(served: Served, payer: Caller) -> None:
    logo = b64encode(png(80, 60)).decode()
    await served.all.send("PATCH", "/v1/store", {"version": 1, "colour": "#ff6600", "logo": logo})
    invoice = await served.all.invoice(description="Two coffees")
    page = await payer.get(f"/i/{invoice['id']}")
    tags = Tags(page.body)
    paths = [str(tags.of("script")[0]["src"]), *[str(link["href"]) for link in tags.of("link")]]
    files = [await payer.get(path, headers={"accept-encoding": "gzip"}) for path in paths]
    weight = sum(int(one.headers["content-length"]) for one in (page, *files))

    assert page.headers["content-encoding"] == "gzip"
    assert weight < 30_000 - MAX_BYTES, weight  # so that the heaviest logo fits in


@pytest.mark.parametrize("lang", SPOKEN)
async def test_all_that_it_takes_to_pay_comes_in_the_first_round_trip(served: Served, payer: Caller, lang: str) -> None:
    invoice = await served.all.invoice(description="Größe ☕ 価格 " * 40, redirect_url="https://shop.example/done")
    page = await payer.get(f"/i/{invoice['id']}?lang={lang}", headers={"accept-encoding": "gzip"})
    heads = 16 + sum(len(name) + len(value) + 4 for name, value in page.headers.items())
    option = invoice["payment_options"][0]
    for needed in (option["address"], option["uri"].partition("?")[0], "<svg"):
        assert needed in page.body.decode()
    # Ten segments, which a server may send before it hears of a browser again (RFC 6928).
    assert int(page.headers["content-length"]) + heads <= 10 * 1_460


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


async def test_a_description_that_no_code_could_hold_is_shown_whole_and_cut_in_the_code(
    served: Served, payer: Caller
) -> None:
    invoice = await served.all.invoice(description="☕" * 1_000)

    page = Tags((await payer.get(f"/i/{invoice['id']}")).body)

    assert "☕" * 1_000 in page.words
    assert page.codes == 2


@pytest.mark.parametrize("path", ["/i/{}", "/l/{}"])
async def test_a_fault_that_nobody_foresaw_is_told_by_a_page_with_its_number(
    served: Served, payer: Caller, path: str
) -> None:
    link = (await served.all.post("/v1/payment-links", {"title": "Tea", "amount": "2.00"})).json
    made = link if "/l/" in path else await served.all.invoice()
    for table in ("invoices", "payment_links"):
        await served.house.database.pool.execute(f"alter table {table} rename column created_at to gone")

    answer = await payer.get(path.format(made["id"]), headers={"accept-language": "de"})

    page = Tags(answer.body)
    assert answer.status == 500
    assert answer.headers["content-type"].startswith("text/html")  # type: ignore[index,call-overload]
    assert "Bitte jetzt nicht bezahlen" in page.words
    assert answer.headers["x-request-id"] in page.words  # type: ignore[index,call-overload]
    assert "default-src 'none'" in answer.headers["content-security-policy"]  # type: ignore[index,call-overload]


async def test_a_marked_invoice_shows_no_address(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})

    page = Tags((await payer.get(f"/i/{invoice['id']}")).body)

    assert "This invoice was cancelled" in page.words
    assert invoice["payment_options"][0]["address"] not in page.words
    assert page.codes == 0


async def test_the_stream_tells_each_change_at_once(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"

    async with asyncio.timeout(30), served.session.get(url) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = []
        async for line in response.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:]))
                if len(seen) == 3:
                    break
                # What is final is told of too: it may be taken back.
                mark = {"as": "settled" if len(seen) == 1 else "invalid"}
                await served.all.post(f"/v1/invoices/{invoice['id']}/mark", mark)

    assert [one["status"] for one in seen] == ["new", "settled", "invalid"]
    assert not {"store_id", "metadata", "reference", "customer_id"} & seen[0].keys()


async def test_one_address_cannot_take_every_stream(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.checkout.stream.PER_ADDRESS", 1)
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    house = replace(house, settings=replace(house.settings, http=http))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served, asyncio.timeout(10):
        path = f"/i/{(await served.all.invoice())['id']}/stream"
        payer = served.caller(None)
        here, there = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.2"}
        async with served.session.get(payer.base + path, headers=here) as first:
            await first.content.readline()
            assert (await payer.get(path, headers=here)).status == 503
            async with served.session.get(payer.base + path, headers=there) as other:
                assert other.status == 200


@pytest.mark.parametrize(("scheme", "said"), [("https", "max-age=31536000"), ("http", None)])
async def test_browsers_are_told_to_come_back_by_https_alone(house: House, scheme: str, said: str | None) -> None:
    http = replace(house.settings.http, public_url=f"{scheme}://pay.example")
    house = replace(house, settings=replace(house.settings, http=http))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served:
        for path in ("/i/x", "/v1/invoices", "/embed.js", "/nowhere"):
            answer = await served.all.get(path)
            assert answer.headers.get("strict-transport-security") == said, path  # type: ignore[union-attr]


async def test_final_invoices_give_way_to_those_that_are_waited_for(
    served: Served, payer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.checkout.stream.MOST_FINAL", 0)
    waiting, paid = [await served.all.invoice() for _ in range(2)]
    await served.all.post(f"/v1/invoices/{paid['id']}/mark", {"as": "settled"})

    async with asyncio.timeout(10), served.session.get(f"{payer.base}/i/{waiting['id']}/stream") as stream:
        assert stream.status == 200
        assert (await payer.get(f"/i/{paid['id']}/stream")).status == 503
        await served.all.post(f"/v1/invoices/{waiting['id']}/mark", {"as": "settled"})
        assert b'"settled"' in await stream.content.read()  # and it ends


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


async def test_pages_closed_while_their_streams_begin_take_no_connection_with_them(house: House) -> None:
    pool = house.database.pool
    for hundredth in range(200):
        streams = Streams(house, Views(house))
        page = streams.follow(InvoiceId("inv_x"))
        await anext(page)
        await asyncio.sleep(hundredth / 50_000)  # 0 to 4 ms: at every step of what begins
        await page.aclose()  # type: ignore[attr-defined]  # a generator
    async with asyncio.timeout(10):
        while pool.get_idle_size() < pool.get_size():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)


async def test_pages_closed_while_a_hint_arrives_take_no_connection_with_them(house: House) -> None:
    async def close(turns: int) -> None:
        streams = Streams(house, Views(house))
        page = streams.follow(InvoiceId("inv_x"))
        await anext(page)
        await asyncio.sleep(1)  # it has looked, and waits for a hint
        streams._on_hint()
        for _ in range(turns):
            await asyncio.sleep(0)
        await page.aclose()  # type: ignore[attr-defined]  # a generator

    await asyncio.gather(*map(close, range(7)))  # at every step of what a hint wakes
    pool = house.database.pool
    async with asyncio.timeout(10):
        while pool.get_idle_size() < pool.get_size():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)


async def test_all_streams_share_one_look_however_many_hints_come(
    served: Served, payer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = 0, Streams._look

    async def counted(streams: Streams, ids: Sequence[InvoiceId]) -> None:
        nonlocal looks
        looks += 1
        await look(streams, ids)

    monkeypatch.setattr(Streams, "_look", counted)
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"
    streams = await asyncio.gather(*(served.session.get(url) for _ in range(20)))
    await asyncio.gather(*(stream.content.readline() for stream in streams))
    began, before = monotonic(), looks
    while monotonic() - began < 3:
        await served.all.invoice()  # each wakes the look
    elapsed = monotonic() - began
    for stream in streams:
        stream.close()

    assert looks - before <= 2 + elapsed / REST_SECONDS


async def test_a_stream_that_comes_back_is_told_only_what_it_has_not_seen(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    url = f"{payer.base}/i/{invoice['id']}/stream"

    async def first(seen: str | None) -> tuple[str, str]:
        headers = {} if seen is None else {"last-event-id": seen}
        async with asyncio.timeout(10), served.session.get(url, headers=headers) as response:
            id_ = ""
            async for line in response.content:
                if line.startswith(b"id: "):
                    id_ = line[4:].decode().strip()
                if line.startswith(b"data: "):
                    return id_, json.loads(line[6:])["status"]
        raise AssertionError("the stream ended")

    version, status = await first(None)
    page = Tags((await payer.get(f"/i/{invoice['id']}")).body)
    assert (page.of("main")[0]["data-version"], status) == (version, "new")
    waiting = asyncio.create_task(first(version))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})
    final, status = await waiting
    assert status == "invalid"
    over = await payer.get(f"/i/{invoice['id']}/stream", headers={"last-event-id": final})
    assert over.status == 204


async def test_who_only_asks_whether_a_page_is_there_is_told_so_without_it(served: Served, payer: Caller) -> None:
    invoice = await served.all.invoice()
    link = (await served.all.post("/v1/payment-links", {"title": "Tea", "amount": "5.00", "currency": "EUR"})).json
    page = await payer.get(f"/i/{invoice['id']}")
    [style] = [link["href"] or "" for link in Tags(page.body).of("link") if link["rel"] == "stylesheet"]
    for path in (f"/i/{invoice['id']}", "/embed.js", style, f"/l/{link['id']}"):
        asked = await payer.send("HEAD", path)
        assert (asked.status, asked.body) == (200, b""), path
    assert (await payer.send("HEAD", "/i/inv_x")).status == 404


@pytest.mark.parametrize("path", ["/i", "/i/", "/i/x"])
async def test_who_shortens_the_address_of_a_page_is_answered_in_words(payer: Caller, path: str) -> None:
    answer = await payer.get(path)
    assert (answer.status, "Please check the link" in Tags(answer.body).words) == (404, True)
