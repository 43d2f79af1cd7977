"""Pages that keep themselves true: what is asked for again, what comes back, what it leaves alone."""

import re

from kassa.dashboard.hall import AGAIN
from kassa.dashboard.pages import PAGES
from kassa.people.model import Role
from kassa.people.rules import IDLE, csrf_token
from tests.dashboard.visitor import Forms, Premises

MOVING = {
    "overview", "alerts", "invoices", "invoices/{id}", "payments", "payments/{id}", "links", "links/{id}",
    "webhooks/{id}", "deliveries", "events", "networks",
}  # fmt: skip


async def test_what_moves_is_live_and_nothing_that_is_filled_in_alone(premises: Premises) -> None:
    assert {page.path for page in PAGES if page.live} == MOVING
    owner = await premises.member(Role.OWNER)
    assert "<main" in (await owner.open(premises.at("invoices"))).text
    assert re.search(r"<main[^>]* data-live", owner.seen.text)
    assert "data-live" not in (await owner.open(premises.at("settings"))).text


async def test_the_very_same_page_is_not_sent_again(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("invoices"))
    tag = owner.seen.headers["etag"]
    assert owner.seen.headers["cache-control"] == "no-store"

    async def again() -> tuple[int, str]:
        await owner.send("GET", premises.at("invoices"), headers={AGAIN: "1", "if-none-match": tag})
        return owner.seen.status, owner.seen.text

    assert await again() == (304, "")
    assert "content-security-policy" in owner.seen.headers
    await owner.open(premises.at("invoices/new"))
    await owner.submit("invoices/new", amount="5", reference="order-1")
    status, text = await again()
    assert (status, "order-1" in text) == (200, True)
    alike = await premises.member(Role.OWNER, "two@shop.example")
    mine, theirs = [(await each.open(premises.at("invoices"))).headers["etag"] for each in (owner, alike)]
    assert mine != theirs  # of other forms: nobody's page is taken for another's
    invoice = re.findall(r"/(invoices/inv_\w+)", text)[0]
    tags = [(await owner.open(premises.at(invoice))).headers["etag"] for _ in range(2)]
    assert ('name="once"' in owner.seen.text, tags[0]) == (True, tags[1])  # also where forms carry something new


async def test_a_page_that_is_left_open_does_not_keep_its_session_alive(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    path, hours = premises.at("overview"), int(IDLE.total_seconds() // 3_600)
    await owner.open(path)
    for _ in range(hours - 1):
        premises.clock.move(3_600)
        await owner.send("GET", path, headers={AGAIN: "1"})
        assert owner.seen.status == 200
    premises.clock.move(2 * 3_600)
    await owner.send("GET", path, headers={AGAIN: "1"}, follow=False)
    assert (owner.seen.status, "/sign-in" in owner.seen.headers["location"]) == (303, True)


async def test_a_page_that_is_asked_for_again_is_packed_and_packing_tells_nothing_of_its_token(
    premises: Premises,
) -> None:
    owner = await premises.member(Role.OWNER)
    plain = await owner.send("GET", premises.at("overview"), headers={"accept-encoding": "identity"})
    packed = await owner.send("GET", premises.at("overview"), headers={"accept-encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.headers["etag"] == plain.headers["etag"]
    tokens = {Forms(seen.text).found[0][1]["csrf"][0] for seen in (plain, packed)}
    assert len(tokens) == 2
    assert not any(csrf_token(owner.cookies["kassa"]) in seen.text for seen in (plain, packed))
    for token in tokens:  # each of a page that stayed open is taken
        sent = await owner.send("POST", premises.at("account/name"), data={"csrf": token, "once": token, "name": "Me"})
        assert sent.status == 200
    await owner.open(premises.at("keys"))
    assert "content-encoding" not in owner.seen.headers
