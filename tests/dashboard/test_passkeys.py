"""A passkey counts for this site, its person, one fresh question, a verified user; what is refused leaves a trace."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import kassa.people.store as people
from kassa.db.pool import Database
from kassa.people.model import Role
from kassa.people.proofs import site_of
from tests.dashboard.authenticator import Authenticator, text
from tests.dashboard.visitor import PASSWORD, Forms, Premises, Visitor, open_premises


@pytest.fixture
async def premises(database: Database, tmp_path: Path) -> AsyncIterator[Premises]:
    """A dashboard at a name: for a bare address browsers make no passkeys."""
    async with open_premises(database, tmp_path, "http://localhost:8080") as opened:
        yield opened


async def passkey_of(premises: Premises, email: str, credential: bytes = b"a credential of ours") -> Authenticator:
    """Give somebody a passkey that was used nine times."""
    site = site_of(premises.house.settings.http.public_url)
    made = Authenticator(site.origin, site.host, count=10, credential=credential)
    async with premises.house.database.transaction() as tx:
        person = await people.find(tx, email)
        assert person is not None
        await people.put_passkey(tx, person.id, (made.name, made.public_key, 9), "phone", premises.clock.now())
    return made


async def ask(visitor: Visitor, page: str = "/dashboard/sign-in") -> str:
    """Return what a passkey must sign."""
    await visitor.open(page)
    csrf = Forms(visitor.seen.text).found[0][1]["csrf"][0]
    shown = visitor.seen
    await visitor.send("POST", "/dashboard/passkey/ask", data={"csrf": csrf})
    assert visitor.seen.status == 200, visitor.seen.words
    challenge, visitor.seen = str(json.loads(visitor.seen.text)["challenge"]), shown
    return challenge


async def answer(visitor: Visitor, credential: str) -> int:
    """Send the answer by the form of the page; return the status of what came."""
    return (await visitor.submit("/passkey", credential=credential)).status


async def refused(premises: Premises) -> list[str]:
    rows = await premises.house.database.pool.fetch("select after from acts where kind = 'session.refused'")
    return [json.loads(row["after"])["wrong"] for row in rows]


async def alerts(premises: Premises) -> list[str]:
    return [row["kind"] for row in await premises.house.database.pool.fetch("select kind from alerts")]


async def test_a_passkey_signs_in_once_for_each_question(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    mine, visitor = await passkey_of(premises, "owner@shop.example"), premises.visitor()
    signed = mine.signed(await ask(visitor))
    assert await answer(visitor, signed) == 200
    await visitor.open()
    assert visitor.seen.url == premises.at("overview")
    mine.count += 1
    again = premises.visitor()
    await ask(again)
    assert await answer(again, signed) == 422


def from_elsewhere(mine: Authenticator) -> None:
    mine.origin = "https://evil.example"


def of_another_site(mine: Authenticator) -> None:
    mine.host = "evil.example"


def by_whoever_holds_it(mine: Authenticator) -> None:
    mine.verified = False


def unknown(mine: Authenticator) -> None:
    mine.credential = b"never seen"


def with_another_key(mine: Authenticator) -> None:
    mine.key = Authenticator("", "").key


@pytest.mark.parametrize("wrong", [from_elsewhere, of_another_site, by_whoever_holds_it, unknown, with_another_key])
async def test_e14_what_a_passkey_must_not_be(premises: Premises, wrong: Callable[[Authenticator], None]) -> None:
    await premises.member(Role.OWNER)
    mine, visitor = await passkey_of(premises, "owner@shop.example"), premises.visitor()
    challenge, right = await ask(visitor), mine.signed
    wrong(mine)
    assert await answer(visitor, right(challenge)) == 422
    assert "not accepted" in visitor.seen.words or "not known" in visitor.seen.words
    assert (await visitor.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert await refused(premises) == ([] if wrong is unknown else ["passkey"])


async def test_e14_a_question_is_answered_by_whom_it_was_asked_and_once(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await premises.member(Role.VIEWER)
    mine = await passkey_of(premises, "owner@shop.example")
    theirs = await passkey_of(premises, "viewer@shop.example", b"a credential of theirs")
    first, second = premises.visitor(), premises.visitor()
    challenge = await ask(first)
    await ask(second)
    assert await answer(second, mine.signed(challenge)) == 422  # what another browser was asked
    assert await answer(first, mine.made(challenge)) == 422  # a registration is no sign-in
    assert await answer(first, mine.signed(challenge)) == 422  # a wrong answer uses the question up

    premises.clock.move(660)
    await owner.open(premises.at("keys/new"))
    where = owner.seen.url
    assert await _confirmed(owner, where, theirs.signed(await ask(owner, where))) == 422
    assert await _confirmed(owner, where, mine.signed(text(b"asked nowhere"))) == 422
    stale = await ask(owner, where)
    premises.clock.move(301)
    assert await _confirmed(owner, where, mine.signed(stale)) == 422
    assert await _confirmed(owner, where, mine.signed(await ask(owner, where))) == 200
    assert owner.seen.url == premises.at("keys/new")


async def _confirmed(visitor: Visitor, where: str, credential: str) -> int:
    await visitor.open(where)
    csrf = Forms(visitor.seen.text).found[0][1]["csrf"][0]
    sent = {"csrf": csrf, "next": where.partition("next=")[2].replace("%2F", "/"), "credential": credential}
    return (await visitor.send("POST", "/dashboard/confirm", data=sent)).status


async def test_a_counter_that_went_back_is_told_as_a_copied_passkey(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    mine, visitor = await passkey_of(premises, "owner@shop.example"), premises.visitor()
    mine.count = 9
    assert await answer(visitor, mine.signed(await ask(visitor))) == 422
    assert "may have been copied" in visitor.seen.words
    assert await refused(premises) == ["passkey counter"]
    assert await alerts(premises) == ["passkey_copied"]
    await owner.open(premises.at("overview"))
    assert "the passkey 'phone' counted fewer uses" in owner.seen.words


async def test_e24_questions_to_passkeys_are_free_where_they_are_answered(premises: Premises) -> None:
    await premises.member(Role.OWNER)
    mine = await passkey_of(premises, "owner@shop.example")
    for _ in range(2):
        visitor = premises.visitor(**{"x-forwarded-for": "203.0.113.9"})
        assert await answer(visitor, mine.signed(await ask(visitor))) == 200
        mine.count += 1
        premises.clock.move(30)
    left = "select max(tries) from sign_in_tries where subject like 'asks %'"
    assert await premises.house.database.pool.fetchval(left) == 0


async def test_a_wrong_password_at_a_confirmation_leaves_a_trace(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    premises.clock.move(660)
    await owner.open(premises.at("keys/new"))
    assert (await owner.submit("/confirm", password="wrong password", code="000000")).status == 422
    assert await refused(premises) == ["confirmation"]


async def test_a_passkey_proves_who_sends_a_form_and_what_was_typed_comes_back(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    mine = await passkey_of(premises, "owner@shop.example")
    await owner.open(premises.at("members/new"))
    premises.clock.move(11 * 60)
    asked = await owner.submit("members/new", email="new@shop.example", role="admin")
    [form] = [given for _, given in Forms(asked.text).found if "proof_credential" in given]
    challenge = await ask(owner, premises.at("overview"))
    form["proof_credential"] = [mine.signed(challenge)]
    await owner.send("POST", premises.at("members/new"), data=[(name, value[0]) for name, value in form.items()])
    assert (owner.seen.status, Forms(owner.seen.text).found[1][1]["email"]) == (200, ["new@shop.example"])


async def test_a_new_password_is_typed_again_after_a_proof(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    premises.clock.move(600 - 61)
    await owner.open(premises.at("account/password"))
    premises.clock.move(61)
    await owner.submit("account/password", password="another long password")
    await owner.submit("account/password", proof_password=PASSWORD, proof_code=owner.code(premises.clock.now()))
    assert "Nothing was done yet" in owner.seen.words
    await owner.submit("account/password", password="another long password")
    assert "Your password was changed" in owner.seen.words


async def test_who_must_sign_in_again_is_told_that_the_form_was_not_sent(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("keys/new"))
    premises.clock.move(13 * 3_600)
    await owner.submit("keys/new", label="shop", scopes="invoices:read")
    await owner.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
    await owner.submit("/code", code=owner.code(premises.clock.now()))
    assert "Nothing was done: you had to sign in again." in owner.seen.words


async def drop_passkey(premises: Premises, owner: Visitor, of: str) -> None:
    await owner.submit("/drop")


async def change_password(premises: Premises, owner: Visitor, of: str) -> None:
    await owner.open(premises.at("account/password"))
    await owner.submit("account/password", password=f"{PASSWORD}, anew")


async def renew_app(premises: Premises, owner: Visitor, of: str) -> None:
    await owner.open(premises.at("account/app"))
    owner.secret = Forms(owner.seen.text).found[-1][1]["secret"][0]
    await owner.submit("account/app", code=owner.code(premises.clock.now()))


async def renew_codes(premises: Premises, owner: Visitor, of: str) -> None:
    await owner.submit("account/codes")


async def open_link(premises: Premises, owner: Visitor, of: str) -> None:
    link = await premises.link(of, lost=True)
    begun = premises.visitor()
    await begun.open(link)
    await begun.submit(link, password=PASSWORD)


@pytest.mark.parametrize(
    ("change", "act"),
    [
        (drop_passkey, "person.passkey_dropped"),
        (change_password, "person.password_changed"),
        (renew_app, "person.app_set"),
        (renew_codes, "person.recovery_renewed"),
        (open_link, "person.factors_voided"),
    ],
)
async def test_what_lets_one_in_no_more_ends_the_other_sessions_which_it_may_have_opened(
    premises: Premises, change: Callable[[Premises, Visitor, str], Awaitable[None]], act: str
) -> None:
    email = "owner@shop.example"
    owner, colleague = await premises.member(Role.OWNER), await premises.member(Role.VIEWER)
    mine, thief = await passkey_of(premises, email), premises.visitor(**{"user-agent": "thief"})
    assert await answer(thief, mine.signed(await ask(thief))) == 200
    half_in = premises.visitor()
    await half_in.open("/dashboard/sign-in")
    await half_in.submit("/sign-in", email=email, password=PASSWORD)
    pool = premises.house.database.pool
    thiefs = await pool.fetchval("select id from sessions where agent = 'thief'")
    before = await pool.fetchval("select max(number) from acts")

    await owner.open(premises.at("account"))
    await change(premises, owner, email)

    assert (await thief.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert (await half_in.open("/dashboard/code")).url.startswith("/dashboard/sign-in")
    stays = change is not open_link  # by that, somebody else begins anew
    assert (await owner.open(premises.at("account"))).url.startswith("/dashboard/sign-in") is not stays
    assert (await colleague.open(premises.at("account"))).url == premises.at("account")
    told = await pool.fetch("select kind, before from acts where number > $1 order by number", before)
    kinds = [row["kind"] for row in told if row["kind"] != "invitation.made"]
    ended = [json.loads(row["before"])["session"] for row in told if row["kind"] == "session.ended"]
    assert kinds == [act] + ["session.ended"] * len(ended)
    assert thiefs in ended
    assert len(ended) == (1 if stays else 2)
