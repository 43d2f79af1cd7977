"""Whoever guesses is slowed down; what was used once is used up; sessions end when they should."""

import asyncio
import json
import re
from datetime import timedelta
from itertools import pairwise

import pytest

import kassa.people.session_store as sessions
import kassa.people.store as people
from kassa.dashboard.door import place
from kassa.dashboard.entering import REFUSAL_SECONDS
from kassa.db.pool import Tx
from kassa.people.model import Role
from kassa.people.rules import FREE_TRIES
from kassa.stores import store as stores
from kassa.stores.model import Store
from tests.dashboard.visitor import PASSWORD, Forms, Premises, Visitor

ANOTHER = "another long password"


async def begin(premises: Premises, email: str = "owner@shop.example", password: str = PASSWORD) -> Visitor:
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    await visitor.submit("/sign-in", email=email, password=password)
    return visitor


async def tries(premises: Premises, subject: dict[str, str], count: int) -> int:
    """Try so often, side by side; return how many of the tries would have been looked at."""
    now, run = premises.clock.now(), premises.house.database.run
    waits = await asyncio.gather(*[run(lambda tx: sessions.take_try(tx, subject, now)) for _ in range(count)])
    return sum(not wait for wait in waits)


async def test_e24_wrong_passwords_are_slowed_down_also_side_by_side(premises: Premises) -> None:
    assert await tries(premises, {"person": "a@b.example"}, 60) == FREE_TRIES["person"]
    premises.clock.move(1)
    assert await tries(premises, {"person": "a@b.example"}, 60) == 1
    premises.clock.move(2)
    assert await tries(premises, {"person": "a@b.example"}, 60) <= 1


def tries_from(address: str, email: str = "a@b.example") -> dict[str, str]:
    return {"person": email, "place": f"{email} {address}", "address": address}


async def test_e24_eight_hundred_tries_from_as_many_addresses_in_an_hour_are_a_few(premises: Premises) -> None:
    """Who guesses from everywhere is slowed down, and the owner gets in where they lately were, each time."""
    run, looked_at = premises.house.database.run, 0
    home = tries_from("203.0.113.9")
    await run(lambda tx: sessions.note_place(tx, home["place"], premises.clock.now()))
    for second in range(0, 3600, 9):
        premises.clock.move(9)
        at = premises.clock.now()
        for number in range(2):
            stranger = tries_from(f"192.{number}.{second // 256}.{second % 256}")
            looked_at += not await run(lambda tx, s=stranger, t=at: sessions.take_try(tx, s, t))  # type: ignore[misc]
    assert looked_at < 40
    last = premises.clock.now()
    assert await run(lambda tx: sessions.take_try(tx, tries_from("203.0.113.10"), last))  # new here: like anybody
    assert not await run(lambda tx: sessions.take_try(tx, home, last))
    # There too, one is slowed down by one's own mistakes.
    assert await tries(premises, home, 20) == FREE_TRIES["place"] - 1


async def test_e24_from_one_address_nobody_keeps_an_owner_out(premises: Premises) -> None:
    """A try a minute, half a day long: at an address never seen, the owner gets in within eight minutes each time."""
    run, evil, shut, longest = premises.house.database.run, tries_from("198.51.100.7"), 0, 0
    free = "select free_at from sign_in_tries where subject = 'person a@b.example'"
    for _ in range(12 * 60):
        premises.clock.move(60)
        at = premises.clock.now()
        await run(lambda tx, t=at: sessions.take_try(tx, evil, t))  # type: ignore[misc]
        shut = shut + 1 if await premises.house.database.pool.fetchval(free) > at else 0
        longest = max(longest, shut)
    assert 0 < longest <= 8
    premises.clock.move(8 * 60)
    assert not await run(lambda tx: sessions.take_try(tx, tries_from("203.0.113.9"), premises.clock.now()))


async def test_e24_tries_that_are_refused_leave_nothing_of_what_was_typed(premises: Premises) -> None:
    run, pool, now = premises.house.database.run, premises.house.database.pool, premises.clock.now()
    for number in range(100):
        subjects = tries_from("198.51.100.7", f"{number}@b.example")
        wait = await run(lambda tx, s=subjects: sessions.take_try(tx, s, now))  # type: ignore[misc]
        assert bool(wait) == (number >= FREE_TRIES["address"])
    assert await pool.fetchval("select count(*) from sign_in_tries") == 1 + 2 * FREE_TRIES["address"]


async def test_e24_many_guesses_at_one_person_are_told_to_their_store(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    now, pool = premises.clock.now(), premises.house.database.pool
    await pool.execute(
        "insert into sign_in_tries values ('person owner@shop.example', 40, $1, $2)", now, now + timedelta(minutes=5)
    )
    stranger = premises.visitor()
    await stranger.open("/dashboard/sign-in")
    assert (await stranger.submit("/sign-in", email="owner@shop.example", password="a guess")).status == 429
    told = await pool.fetch("select kind, store_id, closed_at from alerts")
    assert [tuple(row) for row in told] == [("sign_in_guessed", premises.store.id, None)]


async def test_e24_a_fresh_proof_is_not_refused_for_what_strangers_try(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    premises.clock.move(660)
    far = premises.clock.now() + timedelta(days=1)
    await premises.house.database.pool.execute(
        "insert into sign_in_tries values ('person owner@shop.example', 40, $1, $1)", far
    )
    await owner.open(premises.at("keys/new"))
    assert owner.seen.url.startswith("/dashboard/confirm")
    await owner.submit("/confirm", password=PASSWORD, code=owner.code(premises.clock.now()))
    assert owner.seen.url == premises.at("keys/new")
    premises.clock.move(660)
    await owner.open(premises.at("keys/new"))
    page = owner.seen
    for number in range(FREE_TRIES["session"] + 2):
        owner.seen = page
        await owner.submit("/confirm", password="wrong password" if number % 2 else PASSWORD, code="000000")
    assert owner.seen.status == 429
    premises.clock.move(int(owner.seen.headers["retry-after"]))
    owner.seen = page
    await owner.submit("/confirm", password=PASSWORD, code=owner.code(premises.clock.now()))
    assert owner.seen.url == premises.at("keys/new")


async def test_a_passkey_is_asked_for_in_the_browser_of_a_session_that_died_overnight(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    premises.clock.move(13 * 3600)
    await owner.open("/dashboard/sign-in")
    csrf = Forms(owner.seen.text).found[0][1]["csrf"][0]
    assert (await owner.send("POST", "/dashboard/passkey/ask", data={"csrf": csrf})).status == 200
    rows = await premises.house.database.pool.fetch("select stage, challenge from sessions")
    assert [(row["stage"], row["challenge"] is not None) for row in rows] == [("passkey", True)]


async def test_sessions_that_died_of_idleness_are_forgotten(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    premises.clock.move(13 * 3600)
    await premises.house.database.run(lambda tx: sessions.forget(tx, premises.clock.now(), 2))
    assert await premises.house.database.pool.fetchval("select count(*) from sessions") == 0


async def test_e24_the_right_password_does_not_help_while_an_account_is_slowed_down(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    visitor = premises.visitor()
    for number in range(FREE_TRIES["place"] + 1):
        await visitor.open("/dashboard/sign-in")
        seen = await visitor.submit("/sign-in", email="owner@shop.example", password=f"wrong password {number}")
        assert seen.status == (422 if number < FREE_TRIES["place"] else 429)
    assert int(seen.headers["retry-after"]) >= 1
    assert (await begin(premises)).seen.status == 429
    premises.clock.move(60)
    assert "Second step" in (await begin(premises)).seen.words


async def test_an_unknown_account_looks_like_a_wrong_password(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    time = asyncio.get_running_loop().time
    moments = [time()]
    known = (await begin(premises, password="wrong password 1")).seen
    moments.append(time())
    unknown = (await begin(premises, email="nobody@shop.example")).seen
    moments.append(time())
    # Whatever is written down of the one and not of the other fits into the step of time.
    assert min(later - earlier for earlier, later in pairwise(moments)) >= REFUSAL_SECONDS
    assert (known.status, known.words.replace("owner@", "")) == (unknown.status, unknown.words.replace("nobody@", ""))


async def test_e24_a_code_counts_once_and_so_does_a_recovery_code(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    recovery = re.findall(r"<code>([0-9a-z-]{19})</code>", owner.seen.text)[0]
    code = owner.code(premises.clock.now())
    for given, status in ((code, 200), (code, 422), (recovery.upper(), 200), (recovery, 422)):
        visitor = await begin(premises)
        seen = await visitor.submit("/code", code=given)
        assert seen.status == status, given
        premises.clock.move(2)


async def test_e24_codes_are_slowed_down_although_the_password_is_right(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    for number in range(FREE_TRIES["place"]):
        visitor = await begin(premises)
        assert (await visitor.submit("/code", code=f"00000{number}")).status == 422
    assert (await visitor.submit("/code", code="000009")).status == 429
    assert (await begin(premises)).seen.status == 429


async def test_e25_a_session_gets_new_bits_at_every_step_and_none_after_its_end(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    tokens = [visitor.cookies["kassa"]]
    await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    tokens.append(visitor.cookies["kassa"])
    await visitor.submit("/code", code=owner.code(premises.clock.now()))
    tokens.append(visitor.cookies["kassa"])
    assert len(set(tokens)) == 3
    # A token that somebody planted beforehand opens nothing.
    for token, opens in zip(tokens, (False, False, True), strict=True):
        other = premises.visitor(cookie=f"kassa={token}")
        assert (await other.open(premises.at("account"))).url.startswith(premises.at("account")) is opens
    await visitor.open()
    await visitor.submit("/sign-out")
    other = premises.visitor(cookie=f"kassa={tokens[-1]}")
    assert (await other.open(premises.at("account"))).url.startswith("/dashboard/sign-in")


@pytest.mark.parametrize(("seconds", "opens"), [(11 * 3600, True), (12 * 3600 + 60, False)])
async def test_a_session_that_is_not_used_ends(premises: Premises, seconds: int, opens: bool) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open()
    premises.clock.move(seconds)
    assert (await owner.open(premises.at("invoices"))).url.startswith(premises.at("invoices")) is opens


async def test_e25_a_new_password_app_or_role_ends_the_other_sessions(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    member = await premises.member(Role.VIEWER)
    await owner.open(premises.at("members"))
    form = next(line for line in owner.seen.text.split("<tr>") if "viewer@shop.example" in line)
    path = re.search(r'action="([^"]*/role)"', form)
    assert path is not None
    await owner.submit(path[1], role="support")
    assert "The role was changed" in owner.seen.words
    assert (await member.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")

    second = await begin(premises)
    await second.submit("/code", code=owner.code(premises.clock.now()))
    premises.clock.move(60)
    assert (await second.open(premises.at("invoices"))).status == 200
    await owner.open(premises.at("account/password"))
    await owner.submit("account/password", password="another long password")
    assert "Your password was changed" in owner.seen.words
    assert (await second.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert (await owner.open(premises.at("invoices"))).url == premises.at("invoices")


async def test_the_last_owner_stays(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("members"))
    assert (await owner.submit("/remove")).status == 422
    assert "keeps at least one owner" in owner.seen.words


async def test_a_link_lets_in_once_and_only_whom_it_is_for(premises: Premises) -> None:
    link = await premises.invited("anna@shop.example", Role.ADMIN)
    anna, thief = premises.visitor(), premises.visitor()
    await anna.open(link)
    await thief.open(link)
    await anna.submit(link, name="Anna", password=PASSWORD)
    assert "second step" in anna.seen.words
    assert (await thief.submit(link, name="Thief", password=PASSWORD)).status == 400
    # Without a second factor nothing is shown.
    assert (await anna.open(premises.at("invoices"))).url == "/dashboard/enrol"
    owner = await premises.member(Role.OWNER)
    await owner.open(await premises.invited("else@shop.example", Role.VIEWER))
    assert "You are signed in as owner@shop.example" in owner.seen.words


async def test_an_invitation_does_not_open_an_account_that_exists(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    other = await premises.house.database.run(lambda tx: _second_store(tx, premises))
    link = await premises.invited("owner@shop.example", Role.VIEWER, other)
    stranger = premises.visitor()
    await stranger.open(link)
    assert "You have an account already" in stranger.seen.words
    await owner.open(link)
    await owner.submit(link)
    assert owner.seen.url.startswith(f"/dashboard/stores/{other.id}/overview")
    assert (await owner.open(f"/dashboard/stores/{other.id}/keys")).status == 403
    assert (await owner.open(premises.at("keys"))).status == 200


async def _second_store(tx: Tx, premises: Premises) -> Store:
    return await stores.create_store(tx, "Second", "EUR", False, premises.clock.now())


async def test_a_foreign_store_looks_like_one_that_does_not_exist(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    other = await premises.house.database.run(lambda tx: _second_store(tx, premises))
    foreign = await owner.open(f"/dashboard/stores/{other.id}/invoices")
    unknown = await owner.open(f"/dashboard/stores/sto_{'0' * 29}/invoices")
    assert (foreign.status, foreign.text) == (unknown.status, unknown.text)
    assert foreign.status == 404


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example", "/\\evil.example", "\\evil", "https://evil.example", "javascript:alert(1)", "/../../evil",
        "/stores/..", "///evil", "/@evil.example:80/\n", "/\u2215evil", "/ evil", "/%0d%0aset-cookie:x"[:7] + "\r\n",
    ],
)  # fmt: skip
def test_e21_one_is_led_on_within_the_dashboard_alone(text: str) -> None:
    assert place(text) == ""


def test_one_is_led_back_to_the_page_that_was_asked_for() -> None:
    assert place("/stores/sto_0/invoices?status=new&cursor=inv_0") == "/stores/sto_0/invoices?status=new&cursor=inv_0"


async def test_sessions_that_somebody_ended_are_in_the_audit_log(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    others = []
    for agent in ("phone", "laptop", "kiosk"):
        premises.clock.move(60)  # a code is good once
        visitor = premises.visitor(**{"user-agent": agent})
        await visitor.open("/dashboard/sign-in")
        await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
        await visitor.submit("/code", code=owner.code(premises.clock.now()))
        others.append(visitor)
    ids = await premises.house.database.pool.fetch("select agent, id from sessions where stage = 'open'")
    of = {row["agent"]: row["id"] for row in ids}
    await others[0].open()
    await others[0].submit("/sign-out")
    await owner.open(premises.at("account"))
    await owner.submit(f"account/sessions/{of['laptop']}/end")
    await owner.submit("account/sessions/end")

    acts = await premises.house.database.pool.fetch(
        "select actor, before from acts where kind = 'session.ended' order by number"
    )
    told = [json.loads(row["before"]) for row in acts]
    assert [(each["session"], each["agent"]) for each in told] == [(of[a], a) for a in ("phone", "laptop", "kiosk")]
    assert all(each["began_at"].endswith("Z") for each in told)
    assert len({row["actor"] for row in acts}) == 1
    assert (await owner.open(premises.at("account"))).url.startswith(premises.at("account"))


async def test_sign_ins_and_refusals_are_in_the_audit_log(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await begin(premises, password="wrong password 1")
    kinds = [row["kind"] for row in await premises.house.database.pool.fetch("select kind from acts order by number")]
    assert {"member.joined", "person.app_set", "session.opened", "session.refused"} <= set(kinds)
    await owner.open(premises.at("keys/new"))
    await owner.submit("keys/new", label="till", scopes=["invoices:read"])
    key = re.search(r"kassa_test_[0-9A-Za-z]{43}", owner.seen.text)
    assert key is not None
    kept = str(await premises.house.database.pool.fetch("select * from acts"))
    assert "api_key.created" in kept
    assert key[0] not in kept
    assert PASSWORD not in kept
    assert key[0] not in (await owner.open(premises.at("keys"))).text


async def test_nobody_gives_a_key_what_their_role_lacks(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    admin = await premises.member(Role.ADMIN)
    await admin.open(premises.at("keys/new"))
    assert 'value="wallets:write"' not in admin.seen.text
    assert (await admin.submit("keys/new", label="x", scopes=["wallets:write"])).status == 403
    await admin.open(premises.at("keys/new"))
    assert (await admin.submit("keys/new", label="x", scopes=[])).status == 422


async def test_a_link_of_the_operator_lets_somebody_back_in_once(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    link = await premises.link("owner@shop.example")
    back, second = premises.visitor(), premises.visitor()
    await back.open(link)
    await second.open(link)
    await back.submit(link)
    assert back.seen.url == premises.at("overview")
    assert (await back.open(premises.at("account/app"))).status == 200  # so lately let in that the app can be replaced
    assert (await second.submit(link)).status == 400


async def test_e24_the_store_is_told_when_somebody_guesses(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    now = premises.clock.now()
    for email in ("owner@shop.example", "nobody@shop.example"):
        await premises.house.database.pool.execute(
            "insert into sign_in_tries values ($1, 40, $2, $2::timestamptz + interval '5 minutes')",
            f"person {email}",
            now,
        )
        for _ in range(2):
            assert (await begin(premises, email=email)).seen.status == 429
    await owner.open(premises.at("overview"))
    assert owner.seen.words.count("many wrong passwords or codes were tried for owner@shop.example") == 1
    assert "nobody@shop.example" not in owner.seen.words


async def test_e14_a_link_for_a_lost_phone_voids_all_that_let_in_before(premises: Premises) -> None:
    owner, pool = await premises.member(Role.OWNER), premises.house.database.pool
    link, back = await premises.link("owner@shop.example", lost=True), premises.visitor()
    await back.open(link)
    assert (await back.submit(link, password="short")).status == 422
    await back.submit(link, password=ANOTHER)
    assert back.seen.url == "/dashboard/enrol"
    assert (await back.open(premises.at("invoices"))).url == "/dashboard/enrol"
    assert (await owner.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert await pool.fetchval("select totp_secret from people") is None
    assert await pool.fetchval("select count(*) from recovery_codes") == 0

    # Until a new app is set up, no password opens anything, in no other browser.
    for password in (PASSWORD, ANOTHER):
        other = await begin(premises, password=password)
        assert other.seen.status == 422
        assert (await other.open("/dashboard/enrol")).url.startswith("/dashboard/sign-in")
    await back.open("/dashboard/enrol")
    back.secret = Forms(back.seen.text).found[0][1]["secret"][0]
    assert (await back.submit("/enrol", code=back.code(premises.clock.now()))).status == 200
    assert (await begin(premises, password=PASSWORD)).seen.status == 422
    assert "Second step" in (await begin(premises, password=ANOTHER)).seen.words


async def test_e14_an_invitation_that_was_not_finished_is_finished_in_its_browser_or_begun_anew(
    premises: Premises,
) -> None:
    other = await premises.house.database.run(lambda tx: _second_store(tx, premises))
    link, thief, anna = (
        await premises.invited("anna@b.example", Role.OWNER, other),
        premises.visitor(),
        premises.visitor(),
    )
    await thief.open(link)
    await thief.submit(link, name="Thief", password=PASSWORD)
    assert (await begin(premises, "anna@b.example")).seen.status == 422
    # Whoever owns any store opens no account of another one by an invitation.
    again = await premises.invited("anna@b.example", Role.VIEWER)
    assert "You have an account already" in (await anna.open(again)).words
    assert await premises.house.database.pool.fetchval("select count(*) from members") == 1

    await premises.house.database.pool.execute("delete from members")  # the owner of that store took them out
    await anna.open(again)
    await anna.submit(again, name="Anna", password=ANOTHER)
    assert anna.seen.url == "/dashboard/enrol"
    assert (await thief.open("/dashboard/enrol")).url.startswith("/dashboard/sign-in")


async def test_who_has_a_passkey_and_no_app_does_not_confirm_by_password_alone(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    async with premises.house.database.transaction() as tx:
        person = await tx.fetchval("update people set totp_secret = null returning id")
        await people.put_passkey(tx, person, ("credential", b"key", 0), "phone", premises.clock.now())
    premises.clock.move(660)
    await owner.open(premises.at("keys/new"))
    assert (await owner.submit("/confirm", password=PASSWORD)).status == 422
    assert (await owner.open(premises.at("keys/new"))).url.startswith("/dashboard/confirm")
