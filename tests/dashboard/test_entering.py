"""Who gets in, and by what."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.dashboard.door import place
from kassa.db.pool import Database
from kassa.people.model import Role
from kassa.people.rules import token_hash
from kassa.wallets.seal import Seal, is_locked
from tests.api.served import until
from tests.dashboard.visitor import PASSWORD, Forms, Premises, Seen, open_premises
from tests.house import add_store
from tests.locks import WAITING


async def test_an_invitation_a_password_and_an_app_open_the_dashboard(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    assert "Recovery codes" in owner.seen.words
    await owner.open()
    assert owner.seen.url == premises.at("overview")
    assert "The owner" in owner.seen.words


async def test_signing_in_takes_both_password_and_code(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    again = premises.visitor()
    await again.open(premises.at("invoices"))
    assert again.seen.url.startswith("/dashboard/sign-in")
    await again.submit("/sign-in", email="Owner@Shop.example", password=PASSWORD)
    assert again.seen.url.startswith("/dashboard/code")
    assert "Sign in" in (await again.open(premises.at("invoices"))).words
    await again.open("/dashboard/code?next=" + premises.at("invoices").removeprefix("/dashboard"))
    await again.submit("/code", code=owner.code(premises.clock.now()))
    assert again.seen.url == premises.at("invoices")
    assert again.seen.status == 200


async def meanwhile(premises: Premises, statement: str, sending: Coroutine[Any, Any, Seen]) -> Seen:
    """Return what comes of a form while another process commits a statement on what the form leans on."""
    pool = premises.house.database.pool
    async with premises.house.database.transaction() as tx:
        await tx.execute(statement)
        sent = asyncio.create_task(sending)

        async def it_waits() -> bool:
            return bool(await pool.fetchval(WAITING))

        await until(it_waits)
    return await sent


async def test_a_sign_in_that_is_ended_while_its_code_is_checked_opens_nothing(premises: Premises) -> None:
    owner, again = await premises.member(Role.OWNER), premises.visitor()
    await again.open("/dashboard/sign-in")
    await again.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    sending = again.submit("/code", code=owner.code(premises.clock.now()))
    assert (await meanwhile(premises, "delete from sessions", sending)).status == 403
    assert await premises.house.database.pool.fetchval("select count(*) from sessions") == 0


async def test_who_began_before_a_new_link_was_used_sets_no_second_factor(premises: Premises) -> None:
    visitor, link = premises.visitor(), await premises.invited("owner@shop.example", Role.OWNER)
    await visitor.open(link)
    await visitor.submit(link, name="The owner", password=PASSWORD)
    visitor.secret = Forms(visitor.seen.text).found[0][1]["secret"][0]
    sending = visitor.submit("/enrol", code=visitor.code(premises.clock.now()))
    assert (await meanwhile(premises, "delete from sessions", sending)).status == 403
    assert await premises.house.database.pool.fetchval("select totp_secret from people") is None


async def test_an_invitation_that_is_withdrawn_while_it_is_accepted_lets_nobody_in(premises: Premises) -> None:
    viewer = await premises.member(Role.VIEWER)
    async with premises.house.database.transaction() as tx:
        other = await add_store(tx, premises.house)
    link = await premises.invited("viewer@shop.example", Role.OWNER, other)
    await viewer.open(link)
    withdrawn = "update invitations set revoked_at = now() where used_at is null"
    assert (await meanwhile(premises, withdrawn, viewer.submit(link))).status == 404
    pool = premises.house.database.pool
    assert await pool.fetchval("select count(*) from members where store_id = $1", other.id) == 0


WRITTEN = {
    "inserted": "insert into sessions select (json_populate_record(s, json_build_object("
    "'id', 'ses_' || repeat('2', 29), 'hash', $1::bytea))).* from sessions s where person_id = $2",
    "another's hash": "update sessions set hash = $1 where person_id = $2",
    "another's session": "with o as (delete from sessions where person_id = $2) update sessions set person_id = $2"
    " where hash = $1",
}


@pytest.mark.parametrize("written", sorted(WRITTEN))
async def test_a_session_that_kassa_did_not_begin_opens_nothing(premises: Premises, written: str) -> None:
    owner, other = await premises.member(Role.OWNER), await premises.member(Role.VIEWER)
    pool = premises.house.database.pool
    mine = token_hash(other.cookies["kassa"])
    if written != "another's session":
        await pool.execute("delete from sessions where hash = $1", mine)
    person = await pool.fetchval("select person_id from members where role = 'owner'")
    assert (await owner.open()).url == premises.at("overview")
    await pool.execute(WRITTEN[written], mine, person)
    assert (await other.open()).url.startswith("/dashboard/sign-in")
    assert (await other.open(premises.at("overview"))).url.startswith("/dashboard/sign-in")


async def test_a_step_of_signing_in_is_not_skipped_in_the_database(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    thief = premises.visitor()
    await thief.open()
    await thief.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    assert thief.seen.url.startswith("/dashboard/code")
    await premises.house.database.pool.execute("update sessions set stage = 'open' where stage = 'code'")
    assert (await thief.open()).url.startswith("/dashboard/sign-in")


async def test_the_secret_of_an_app_is_locked_by_a_key_that_the_database_does_not_hold(premises: Premises) -> None:
    owner, viewer = await premises.member(Role.OWNER), await premises.member(Role.VIEWER)
    pool, seal = premises.house.database.pool, premises.house.seal
    kept = dict(await pool.fetch("select id, totp_secret from people"))
    (mine,) = (id_ for id_, locked in kept.items() if seal.unlock(id_, locked) == owner.secret)
    (other,) = kept.keys() - {mine}

    assert all(is_locked(locked) for locked in kept.values())
    assert owner.secret not in "".join(kept.values())
    assert seal.unlock(other, kept[mine]) is None
    assert seal.unlock(other, kept[other]) == viewer.secret

    # As an earlier version left it, and as the key is renewed: the same app goes on.
    await pool.execute("update people set totp_secret = $2 where id = $1", mine, owner.secret)
    another = Seal(bytes(range(32)))
    for after, former in ((seal, None), (another, seal), (seal, another)):
        async with premises.house.database.transaction() as tx:
            await (flow.lock_anew(tx, former, after) if former else flow.lock_secrets(tx, after))
        assert (
            after.unlock(mine, await pool.fetchval("select totp_secret from people where id = $1", mine))
            == owner.secret
        )
    again = premises.visitor()
    await again.open("/dashboard/sign-in")
    await again.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    await again.submit("/code", code=owner.code(premises.clock.now()))
    assert again.seen.url == premises.at("overview")


async def test_a_fault_that_nobody_foresaw_is_told_by_a_page_with_its_number(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await premises.house.database.pool.execute("alter table stores rename column name to gone")

    seen = await owner.open(premises.at("overview"))

    assert (seen.status, seen.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "Something went wrong here" in seen.words
    assert seen.headers["x-request-id"] in seen.words


async def test_a_form_without_our_token_or_from_elsewhere_does_nothing(premises: Premises) -> None:
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    for wrong in ({"csrf": ""}, {"csrf": "0" * 64}, {"csrf": None}):
        seen = await visitor.submit("/sign-in", email="a@b.example", password=PASSWORD, **wrong)
        assert seen.status == 403
        await visitor.open("/dashboard/sign-in")
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        stranger = premises.visitor(**headers)
        await stranger.open("/dashboard/sign-in")
        assert (await stranger.submit("/sign-in", email="a@b.example", password=PASSWORD)).status == 403
    plain = {"content-type": "text/plain"}
    sent = await visitor.send("POST", "/dashboard/sign-in", data='{"email": "a"}', headers=plain)
    assert sent.status == 415


async def test_an_address_from_elsewhere_does_not_say_what_was_done(premises: Premises) -> None:
    owner, said = await premises.member(Role.OWNER), "The key opens nothing any more."
    page = premises.at("keys?done=revoked")
    for site, is_said in (("same-origin", True), ("cross-site", False), ("same-site", False), ("none", False)):
        seen = await owner.send("GET", page, headers={"sec-fetch-site": site})
        assert (seen.status, said in seen.words) == (200, is_said), site
    assert said in (await owner.open(page)).words  # of a browser that does not tell
    visitor = premises.visitor()
    await visitor.open(page)
    await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    await visitor.submit("/code", code=owner.code(premises.clock.now()))
    assert (visitor.seen.url, said in visitor.seen.words) == (premises.at("keys"), False)


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/stores/s/keys?done=revoked", "/stores/s/keys"),
        ("/stores/s/keys?a=1&d%6Fne=revoked&b=", "/stores/s/keys?a=1&b="),
        ("/stores/s/keys?done=unsaved", "/stores/s/keys?done=unsaved"),
        ("/stores/s/keys?done=unsaved&done=revoked", "/stores/s/keys?done=unsaved"),
        ("/stores/s/keys?", "/stores/s/keys"),
        ("/stores/s/invoices?status=new", "/stores/s/invoices?status=new"),
        ("//evil.example", ""),
        ("/stores/../..", ""),
    ],
)
def test_where_one_goes_on_to_after_signing_in_says_of_nothing_that_it_was_done(asked: str, led: str) -> None:
    assert place(asked) == led


@pytest.mark.parametrize(
    ("url", "name", "more"), [("", "kassa", set()), ("https://pay.example", "__Host-kassa", {"secure"})]
)
async def test_e25_the_cookie_of_a_session_is_for_this_host_and_no_script(
    database: Database, tmp_path: Path, url: str, name: str, more: set[str]
) -> None:
    async with open_premises(database, tmp_path, url) as premises:
        seen = await premises.visitor().open("/dashboard/sign-in")
        first, *attributes = seen.headers["set-cookie"].split("; ")
        assert first.partition("=")[0] == name
        told = {attribute.lower() for attribute in attributes} - {"max-age=604800"}
        assert told == {"httponly", "path=/", "samesite=lax"} | more  # no domain: else it is no __Host- cookie
