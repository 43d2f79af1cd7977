"""Whoever makes no mistake gets in, at any pace: from an address that is counted, as behind a proxy."""

import re

from kassa.people.model import Role
from kassa.people.rules import FREE_TRIES
from tests.dashboard.visitor import PASSWORD, Premises, Visitor

HOME = "203.0.113.9"


async def sign_in(premises: Premises, visitor: Visitor, secret: str) -> int:
    """Sign in by password and code, some seconds apart; return the status of the last answer."""
    visitor.secret = secret
    await visitor.open("/dashboard/sign-in")
    seen = await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    if seen.status == 200:
        premises.clock.move(15)
        seen = await visitor.submit("/code", code=visitor.code(premises.clock.now()))
    return seen.status


async def tries(premises: Premises) -> dict[str, int]:
    rows = await premises.house.database.pool.fetch("select subject, tries from sign_in_tries where tries > 0")
    return {row["subject"]: row["tries"] for row in rows}


async def test_e24_an_office_signs_in_and_confirms_all_day(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    visitor = premises.visitor(**{"x-forwarded-for": HOME})
    for _ in range(35):
        premises.clock.move(60)
        assert await sign_in(premises, visitor, owner.secret) == 200
    assert await tries(premises) == {}
    for _ in range(32):
        premises.clock.move(660)
        await visitor.open(premises.at("keys/new"))
        await visitor.submit("/confirm", password=PASSWORD, code=visitor.code(premises.clock.now()))
        assert visitor.seen.url == premises.at("keys/new")
    assert await tries(premises) == {}


async def test_e24_right_after_a_pause_gets_in_and_buys_no_try_at_others(premises: Premises) -> None:
    """From an address at which many tries were wrong, both steps of a right sign-in follow one pause."""
    owner, now = await premises.member(Role.OWNER), premises.clock.now()
    await premises.house.database.pool.execute(
        "insert into sign_in_tries values ($1, 40, $2, $2::timestamptz + interval '15 minutes')", f"address {HOME}", now
    )
    visitor = premises.visitor(**{"x-forwarded-for": HOME})
    assert await sign_in(premises, visitor, owner.secret) == 429
    premises.clock.move(int(visitor.seen.headers["retry-after"]))
    assert await sign_in(premises, visitor, owner.secret) == 200
    assert await tries(premises) == {f"address {HOME}": 40}

    stranger = premises.visitor(**{"x-forwarded-for": HOME})
    for status in (422, 429):
        await stranger.open("/dashboard/sign-in")
        seen = await stranger.submit("/sign-in", email="else@shop.example", password="wrong password")
        assert seen.status == status


async def test_e24_recovery_codes_are_slowed_down_and_the_right_one_counts_after_the_pause(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    right = re.findall(r"<code>([0-9a-z-]{19})</code>", owner.seen.text)[0]
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    page = await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    for number in range(FREE_TRIES["place"]):
        visitor.seen = page
        assert (await visitor.submit("/code", code=f"aaaa-bbbb-cccc-000{number}")).status == 422
    visitor.seen = page
    assert (await visitor.submit("/code", code=right)).status == 429
    premises.clock.move(int(visitor.seen.headers["retry-after"]))
    visitor.seen = page
    await visitor.submit("/code", code=right)
    await visitor.open()
    assert visitor.seen.url == premises.at("overview")
