"""Payment links over HTTP: made and changed with a key, paid by anyone through a form."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from html import unescape
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from kassa import flow
from kassa.checkout.pages import handlers
from kassa.checkout.turns import AT_ONCE, Turns
from kassa.core.clock import rfc3339
from kassa.core.errors import Unavailable
from kassa.house import House
from kassa.links.rules import UNPAID_PER_ADDRESS, UNPROVEN_PER_ADDRESS
from tests.api.served import Answer, Caller, Served, serve, until
from tests.house import BITCOIN, SetClock, add_store
from tests.locks import WAITING

BTC = f"BTC@{BITCOIN}"
LINK = {"title": "Two coffees", "amount": "9.90"}
SLOW_FORM = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 90\r\n\r\ntoken="


async def make(served: Served, **more: Any) -> Any:
    answer = await served.all.post("/v1/payment-links", LINK | more)
    assert answer.status == 201, answer.body
    return answer.json


class Payer:
    """A browser: it keeps its cookie, and sends the form that it was given."""

    def __init__(self, served: Served, link: Any, address: str | None = None) -> None:
        self.address = address
        self.caller: Caller = served.caller(None)
        self.path = f"/l/{link['id']}"
        self.cookie: str | None = None

    async def look(self) -> str:
        answer = await self.caller.get(self.path, headers=self.headers())
        assert answer.status == 200, answer.body
        self.cookie = re.match(r"kassa-payer=[^;]+", answer.headers["set-cookie"])[0]  # type: ignore[index,call-overload]
        return answer.body.decode()

    async def pay(self, page: str, **fields: str) -> Answer:
        token = re.search(r'name="token" value="([^"]+)"', page)
        return await self.send({"token": "" if token is None else token[1]} | fields)

    async def send(self, fields: dict[str, str], **headers: str) -> Answer:
        return await self.caller.post(self.path, data=fields, headers=self.headers() | headers)

    async def begin(self, **fields: str) -> str:
        answer = await self.pay(await self.look(), **fields)
        assert answer.status == 303, answer.body
        return str(answer.headers["location"]).removeprefix("/i/")  # type: ignore[index,call-overload]

    def headers(self) -> dict[str, str]:
        known = {} if self.cookie is None else {"cookie": self.cookie}
        return known if self.address is None else known | {"x-forwarded-for": self.address}


async def test_a_link_is_made_read_listed_and_found_by_its_status(served: Served) -> None:
    made = await make(served, reference="r-1", metadata={"a": 1}, redirect_url="https://shop.example/")

    assert (made["status"], made["amount"], made["currency"], made["amount_due"]) == ("open", "9.90", "EUR", "9.90")
    assert made["url"].endswith(f"/l/{made['id']}")
    assert (await served.all.get(f"/v1/payment-links/{made['id']}")).json == made
    assert (await served.all.get("/v1/payment-links?reference=r-1&status=open")).json["data"] == [made]
    assert (await served.all.get("/v1/payment-links?status=completed")).json["data"] == []
    (event,) = (await served.all.get("/v1/events?type=payment_link.*")).json["data"]
    assert (event["type"], event["data"]["object"]) == ("payment_link.created", made)


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"amount": None}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"min_amount": "1"}, "amount"),
        ({"asset": "XYZ@nowhere"}, "asset"),
        ({"asset": BTC, "currency": "EUR"}, "asset"),
        ({"payment_options": ["XYZ@nowhere"]}, "payment_options.0"),
        ({"title": "a\nb"}, "title"),
        ({"redirect_url": "javascript:alert(1)"}, "redirect_url"),
        ({"redirect_url": "https://a@evil.example/"}, "redirect_url"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"status": "completed"}, "status"),
        ({"store_id": "sto_x"}, "store_id"),
        ({"amount_paid": "1"}, "amount_paid"),
        ({"metadata": [1]}, "metadata"),
    ],
)
async def test_e12_a_link_that_cannot_be_is_refused(served: Served, order: dict[str, Any], field: str) -> None:
    answer = await served.all.post("/v1/payment-links", LINK | order)

    assert (answer.status, answer.fields) == (422, [field])


async def test_another_store_sees_nothing_of_it(served: Served) -> None:
    made = await make(served)
    async with served.house.database.transaction() as tx:
        other = await add_store(tx, served.house)
    stranger = await served.key(store=other)

    for answer in (
        await stranger.get(f"/v1/payment-links/{made['id']}"),
        await stranger.send("PATCH", f"/v1/payment-links/{made['id']}", {"closed": True}),
    ):
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await stranger.get("/v1/payment-links")).json["data"] == []


async def test_words_and_end_change_and_closing_is_undone(served: Served) -> None:
    made = await make(served)
    path = f"/v1/payment-links/{made['id']}"

    renamed = (await served.all.send("PATCH", path, {"title": "Tea", "reference": "x"})).json
    closed = (await served.all.send("PATCH", path, {"closed": True})).json
    again = (await served.all.send("PATCH", path, {"closed": False, "reference": None})).json
    refused = await served.all.send("PATCH", path, {"amount": "1"})

    assert (renamed["title"], renamed["reference"], renamed["status"]) == ("Tea", "x", "open")
    assert (closed["status"], again["status"], again["reference"]) == ("closed", "open", None)
    assert (refused.status, refused.fields) == (422, ["amount"])
    said = [event["type"] for event in (await served.all.get("/v1/events")).json["data"]]
    assert said == [f"payment_link.{word}" for word in ("created", "updated", "closed", "reopened")]


async def test_a_payer_gets_an_invoice_and_goes_on_with_it(served: Served) -> None:
    made = await make(served)
    payer = Payer(served, made)

    form = await payer.look()
    first, second = [(await payer.pay(form)).headers["location"] for _ in range(2)]  # type: ignore[index,call-overload]
    page = await payer.look()

    assert first == second
    first = first.removeprefix("/i/")
    assert "Go on with this payment" in page
    assert "<form" not in page  # one button is enough
    (invoice,) = (await served.all.get(f"/v1/invoices?payment_link_id={made['id']}")).json["data"]
    assert (invoice["id"], invoice["amount"], invoice["payment_link_id"]) == (first, "9.90", made["id"])
    assert (invoice["description"], invoice["redirect_url"]) == ("Two coffees", made["url"])
    assert await Payer(served, made).begin() == first  # it is paid once, whoever does it


async def test_a_reusable_link_gives_each_payer_their_own(served: Served) -> None:
    made = await make(served, reusable=True)

    given = [await Payer(served, made).begin() for _ in range(2)]
    await served.all.post(f"/v1/invoices/{given[0]}/mark", {"as": "settled"})
    shown = (await served.all.get(f"/v1/payment-links/{made['id']}")).json
    page = await Payer(served, made).look()

    assert given[0] != given[1]
    assert (shown["status"], shown["invoices"]["settled"], shown["amount_due"]) == ("open", 1, None)
    assert "Paid so far" not in page  # what others paid is the merchant's affair


async def test_a_payer_is_told_that_nobody_can_send_so_little(served: Served) -> None:
    made = await make(served, amount=None, min_amount="0.01", reusable=True)
    payer = Payer(served, made)
    small = await payer.pay(await payer.look(), amount="0,01")
    assert (small.status, b"too small to be sent" in small.body) == (422, True)
    assert await payer.begin(amount="0,50")
    answer = await served.all.post("/v1/invoices", {"amount": "0.01", "currency": "EUR"})
    assert (answer.status, answer.code, answer.fields) == (422, "amount_too_small", ["amount"])


async def test_a_payer_writes_an_amount_in_their_own_language(served: Served) -> None:
    made = await make(served, amount=None, min_amount="1", reusable=True)
    for language, text, asked in (("ar", "١٢٫٥", "12.50"), ("de", "1.500", "1500.00"), ("en", "1,500", "1500.00")):
        payer = Payer(served, made)
        payer.path = f"/l/{made['id']}?lang={language}"
        answer = await payer.pay(await payer.look(), amount=text)
        invoice = str(answer.headers["location"]).removeprefix("/i/").partition("?")[0]  # type: ignore[index,call-overload]
        assert (await served.all.get(f"/v1/invoices/{invoice}")).json["amount"] == asked, language


async def test_a_payer_chooses_within_the_bounds(served: Served) -> None:
    made = await make(served, amount=None, min_amount="1.00", max_amount="20.00")
    payer = Payer(served, made)

    low = await payer.pay(await payer.look(), amount="0.50")
    invoice = await payer.begin(amount="12,50")

    assert low.status == 422
    assert "Please enter an amount: €1.00 to €20.00".encode() in low.body
    assert (await served.all.get(f"/v1/invoices/{invoice}")).json["amount"] == "12.50"


async def test_a_link_priced_in_a_coin_is_paid_in_it_without_a_rate(served: Served) -> None:
    made = await make(served, amount="0.00120000", asset=BTC)

    invoice = (await served.all.get(f"/v1/invoices/{await Payer(served, made).begin()}")).json

    (option,) = invoice["payment_options"]
    assert (made["currency"], invoice["currency"], option["asset"]) == ("BTC", "BTC", BTC)
    assert (option["amount"], option["rate_source"]) == ("0.00120000", "same")


async def test_a_settled_invoice_uses_a_link_up_and_its_loss_brings_it_back(served: Served) -> None:
    made = await make(served)
    payer = Payer(served, made)
    invoice = await payer.begin()

    await served.all.post(f"/v1/invoices/{invoice}/mark", {"as": "settled"})
    used, page = (await served.all.get(f"/v1/payment-links/{made['id']}")).json, await payer.look()
    refused = await payer.pay(page)
    await served.all.post(f"/v1/invoices/{invoice}/mark", {"as": "invalid"})
    back = (await served.all.get(f"/v1/payment-links/{made['id']}")).json

    assert (used["status"], used["amount_due"]) == ("completed", "0.00")
    assert "<form" not in page
    assert refused.status == 403  # there was no form that could be sent
    assert (back["status"], back["amount_due"]) == ("open", "9.90")
    said = [event["type"] for event in (await served.all.get("/v1/events?type=payment_link.*")).json["data"]]
    assert said == [f"payment_link.{word}" for word in ("created", "completed", "reopened")]
    assert await payer.begin() != invoice


async def test_a_closed_link_begins_nothing(served: Served) -> None:
    made = await make(served)
    payer = Payer(served, made)
    page = await payer.look()
    await served.all.send("PATCH", f"/v1/payment-links/{made['id']}", {"closed": True})

    answer = await payer.pay(page)

    assert (answer.status, answer.headers["location"]) == (303, payer.path)  # type: ignore[index,call-overload]
    assert "This link was closed" in await payer.look()
    assert (await served.all.get("/v1/invoices")).json["data"] == []


@pytest.mark.parametrize("reusable", [False, True])
@pytest.mark.parametrize("ends", ["closed", "expired"])
async def test_who_began_to_pay_a_link_before_its_end_is_told_to_finish(
    served: Served, ends: str, reusable: bool
) -> None:
    clock = served.house.clock
    assert isinstance(clock, SetClock)
    made = await make(served, reusable=reusable, expires_at=rfc3339(clock.now() + timedelta(seconds=60)))
    payer, other = Payer(served, made), Payer(served, made)
    invoice = await payer.begin()
    if ends == "closed":
        await served.all.send("PATCH", f"/v1/payment-links/{made['id']}", {"closed": True})
    else:
        clock.move(61)

    mine, theirs = await payer.look(), await other.look()
    clock.move(901)
    late = await payer.look()

    title = "This link was closed" if ends == "closed" else "This link has expired"
    for page in (mine, theirs, late):
        assert title in page
    assert "No new payments are taken. Yours below can be finished." in mine
    assert f'<a class="go" href="/i/{invoice}">Go on with this payment</a>' in mine
    assert "do not pay any more" not in mine
    for page in (theirs, late):
        assert "Please do not pay any more; ask the shop for a new link." in page
        assert "can be finished" not in page


async def test_the_chosen_language_goes_along_to_the_invoice_and_back(served: Served) -> None:
    made = await make(served)
    chosen, plain = Payer(served, made), Payer(served, made)
    chosen.path += "?lang=de"

    there = (await chosen.pay(await chosen.look())).headers["location"]  # type: ignore[index,call-overload]
    page = (await served.caller(None).get(there)).body.decode()
    back = re.search(r'href="(/l/[^"]+)"[^>]*>([^<]+)</a>', page)
    assert back is not None
    again = (await served.caller(None).get(back[1])).body.decode()

    assert there.endswith("?lang=de")
    assert (back[1], back[2]) == (chosen.path, "Zurück zum Zahlungslink")
    assert '<html lang="de"' in again
    unasked = (await served.caller(None).get(f"/i/{await plain.begin()}")).body.decode()
    assert re.search(rf'href="{plain.path}"[^>]*>Back to the payment link</a>', unasked)
    assert "Back to 127" not in unasked


@pytest.mark.parametrize("reusable", [False, True])
async def test_many_at_once_burn_one_address(served: Served, reusable: bool) -> None:
    made = await make(served, reusable=reusable)
    payer = Payer(served, made)
    page = await payer.look()

    answers = await asyncio.gather(*(payer.pay(page) for _ in range(12)))

    assert {answer.status for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1  # type: ignore[index,call-overload]
    assert await served.house.database.pool.fetchval("select max(next_index) from keychains") == 1


async def test_one_payer_cannot_take_address_after_address(served: Served) -> None:
    made = await make(served, reusable=True, amount=None, min_amount="1.00")
    payer = Payer(served, made)
    page = await payer.look()

    answers = [await payer.pay(page, amount=str(n)) for n in range(1, 9)]

    assert [answer.status for answer in answers] == [303] * 6 + [429] * 2
    assert await served.house.database.pool.fetchval("select max(next_index) from keychains") == 6


async def test_one_address_with_many_browsers_shuts_nobody_out(house: House) -> None:
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    house = replace(house, settings=replace(house.settings, http=http))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served:
        made = await make(served, reusable=True)
        statuses = []
        for number in range(UNPAID_PER_ADDRESS + 2):
            payer = Payer(served, made, f"2001:db8:0:{number:x}::1")  # all within one /56
            statuses.append((await payer.pay(await payer.look())).status)
        await Payer(served, made, "192.0.2.7").begin()

    assert statuses == [303] * UNPAID_PER_ADDRESS + [429] * 2


async def test_e43_whoever_begins_much_from_one_address_proves_work_for_each_payment(house: House) -> None:
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    limits = replace(house.settings.limits, proof_bits=8)
    clock = SetClock()
    house = replace(house, settings=replace(house.settings, http=http, limits=limits), clock=clock)
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served:
        made = await make(served, reusable=True, amount=None, min_amount="1.00")
        for number in range(UNPROVEN_PER_ADDRESS):
            await Payer(served, made, f"2001:db8:0:{number:x}::1").begin(amount="5")
        payer, other = Payer(served, made, "2001:db8::9"), Payer(served, made, "2001:db8::8")
        page = await payer.look()
        asked = await payer.pay(page, amount="7,25")
        proof = worked(asked)
        assert asked.status == 422
        assert b'value="7,25"' in asked.body  # nothing that was typed is lost
        assert await Payer(served, made, "192.0.2.7").begin(amount="5")  # elsewhere nobody is asked

        lazy = await payer.pay(page, amount="7,25", **proof | {"proof": worked(asked, one_bit_less=True)["proof"]})
        foreign = await other.pay(await other.look(), amount="7,25", **proof)
        invoice = await payer.pay(page, amount="7,25", **proof)
        again, same = await payer.pay(page, amount="8", **proof), await payer.pay(page, amount="7,25", **proof)
        fresh = worked(again)
        clock.move(601)
        late = await payer.pay(page, amount="8", **fresh)
        last = await payer.pay(page, amount="8", **worked(late))

    assert [each.status for each in (lazy, foreign, invoice, again, late, last)] == [422, 422, 303, 422, 422, 303]
    assert (same.status, same.headers["location"]) == (303, invoice.headers["location"])  # type: ignore[index,call-overload]
    assert await house.database.pool.fetchval("select max(next_index) from keychains") == UNPROVEN_PER_ADDRESS + 3


async def test_e43_work_opens_nothing_where_there_is_no_room_left(house: House) -> None:
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    limits = replace(house.settings.limits, proof_bits=1)
    house = replace(house, settings=replace(house.settings, http=http, limits=limits))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served:
        made = await make(served, reusable=True)
        waiting = [Payer(served, made, f"2001:db8:0:{number:x}::1") for number in range(UNPAID_PER_ADDRESS + 1)]
        for payer in waiting[:UNPROVEN_PER_ADDRESS]:
            await payer.begin()
        waiting = waiting[UNPROVEN_PER_ADDRESS:]
        pages = [await payer.look() for payer in waiting]
        proofs = [worked(await payer.pay(page)) for payer, page in zip(waiting, pages, strict=True)]
        sent = [await payer.pay(*page, **proof) for payer, *page, proof in zip(waiting, pages, proofs, strict=True)]
    assert [each.status for each in sent] == [303] * (UNPAID_PER_ADDRESS - UNPROVEN_PER_ADDRESS) + [429]


def worked(page: Answer, *, one_bit_less: bool = False) -> dict[str, str]:
    """Do the work that a page asks for, as a browser would; return the fields that prove it."""
    text = page.body.decode()
    bits, challenge = re.search(r'data-bits="([0-9]+)"', text), re.search(r'name="challenge" value="([^"]+)"', text)
    assert bits is not None
    assert challenge is not None
    for number in count():
        digest = hashlib.sha256(f"{challenge[1]}:{number}".encode()).digest()
        found = f"{int.from_bytes(digest):0256b}"
        if found.startswith("0" * (int(bits[1]) - 1) + "1" if one_bit_less else "0" * int(bits[1])):
            return {"challenge": challenge[1], "proof": str(number)}
    raise AssertionError


async def test_e20_only_our_own_form_begins_a_payment(served: Served) -> None:
    made = await make(served)
    payer = Payer(served, made)
    page = await payer.look()
    token = payer.cookie.partition("=")[2]  # type: ignore[union-attr]
    forged = {"token": "A" * 32}

    answers = [
        await payer.send({}),
        await payer.send(forged),
        await payer.send({"token": token}, **{"sec-fetch-site": "cross-site"}),
        await payer.send({"token": token}, **{"sec-fetch-site": "same-site"}),
        await payer.caller.post(payer.path, data={"token": token}),
        await payer.caller.post(payer.path, data={"token": ""}, headers={"cookie": "kassa-payer="}),
        await payer.caller.post(payer.path, {"token": token}, headers=payer.headers()),
        await payer.caller.post(
            payer.path, data=f"token={token}", headers=payer.headers() | {"content-type": "text/plain"}
        ),
        await payer.send({"token": token, "amount": "9" * 5_000}),
    ]

    assert [answer.status for answer in answers] == [403] * len(answers)
    assert (await served.all.get("/v1/invoices")).json["data"] == []
    assert (await payer.pay(page)).status == 303


async def test_the_page_is_guarded_and_its_cookie_kept_from_others(served: Served) -> None:
    answer = await served.caller(None).get(f"/l/{(await make(served))['id']}")

    policy = str(answer.headers["content-security-policy"])  # type: ignore[index,call-overload]
    assert policy.startswith("default-src 'none'")
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    cookie = str(answer.headers["set-cookie"])  # type: ignore[index,call-overload]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}"])
async def test_e16_hostile_text_stays_text(served: Served, text: str) -> None:
    made = await make(served, title=text, description=text, amount=None, min_amount="1")
    payer = Payer(served, made)
    page = await payer.look()
    refused = (await payer.pay(page, amount=text)).body.decode()

    for shown in (page, refused):
        ours = shown.count('<script defer src="/i/assets/')
        assert (shown.count("<script") - ours, shown.count("<img")) == (0, 0)
        assert unescape(re.search("<h1><bdi>(.*)</bdi></h1>", shown)[1]) == text  # type: ignore[index]


async def test_the_page_tells_nothing_private(served: Served) -> None:
    made = await make(served, reference="secret-reference", metadata={"note": "secret-note"}, reusable=True)

    page = await Payer(served, made).look()

    for private in ("secret-reference", "secret-note", served.store.id):
        assert private not in page


@pytest.mark.parametrize("path", ["/l/x", f"/l/lnk_{'0' * 29}", "/l/%00"])
async def test_an_unknown_link_is_a_plain_404(served: Served, path: str) -> None:
    payer = served.caller(None)

    assert (await payer.get(path)).status == 404
    assert (await payer.post(path, data={"token": "x"})).status in (403, 404)


async def test_the_clock_ends_a_link_and_says_so(served: Served) -> None:
    made = await make(served, expires_at="2026-01-01T01:00:00Z")
    clock = served.house.clock
    assert isinstance(clock, SetClock)
    now = clock.move(3601)
    async with served.house.database.transaction() as tx:
        assert await flow.on_link_deadlines(tx, served.house, now) == 1
        assert await flow.on_link_deadlines(tx, served.house, now) == 0

    assert (await served.all.get(f"/v1/payment-links/{made['id']}")).json["status"] == "expired"
    said = [event["type"] for event in (await served.all.get("/v1/events")).json["data"]]
    assert said == ["payment_link.created", "payment_link.expired"]


@pytest.fixture
async def patient(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A house that lets minutes pass before it gives up who waits for a place, or sends a form slowly."""
    monkeypatch.setattr("kassa.checkout.link_pages.Turns", partial(Turns, wait_seconds=100))
    monkeypatch.setattr("kassa.api.server.BODY_SECONDS", 100)
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as served:
        yield served


async def test_e43_who_sends_a_form_slowly_holds_no_place(patient: Served) -> None:
    served, made = patient, await make(patient)
    writers = []
    for _ in range(2 * AT_ONCE):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"POST /l/{made['id']} HTTP/1.1\r\nhost: x\r\n{SLOW_FORM}".encode())
        writers.append(writer)
    assert (await served.all.get("/health/live")).status == 200  # by now they are being read
    async with asyncio.timeout(60):
        assert (await Payer(served, made).begin()).startswith("inv_")
    for writer in writers:
        writer.transport.abort()


async def test_e43_whoever_comes_while_every_place_is_taken_waits_for_some_seconds() -> None:
    turns = Turns(at_once=1, wait_seconds=0.05)
    async with turns.turn():
        with pytest.raises(Unavailable):
            await turns.turn().__aenter__()
    async with turns.turn():
        pass


async def test_e43_a_link_that_somebody_is_busy_with_keeps_no_other_waiting(patient: Served) -> None:
    served, busy, other = patient, await make(patient), await make(patient)
    async with served.house.database.transaction() as tx:
        await tx.execute("select from payment_links where id = $1 for update", busy["id"])
        crowd = [asyncio.create_task(Payer(served, busy).begin()) for _ in range(2 * AT_ONCE)]
        await until(lambda: served.house.database.pool.fetchval(WAITING))
        async with asyncio.timeout(60):
            assert (await Payer(served, other).begin()).startswith("inv_")
            assert (await served.caller(None).get(f"/l/{busy['id']}")).status == 200
    assert all(each.startswith("inv_") for each in await asyncio.gather(*crowd))
