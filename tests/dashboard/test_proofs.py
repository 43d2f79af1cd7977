"""A form that is sent when the proof of who sends it is too old: nothing that was typed is lost or kept."""

import pytest

from kassa.dashboard.page import Action
from kassa.dashboard.pages import ACTIONS
from kassa.people.model import Role
from kassa.people.rules import csrf_token
from tests.dashboard.furnished import bodies
from tests.dashboard.test_bodies import NEEDS_A_DEVICE, send, set_up, snapshot
from tests.dashboard.test_roles import path_of
from tests.dashboard.visitor import PASSWORD, Forms, Premises, Visitor

TYPED_AGAIN = {"account/password": {"password"}, "account/app": {"secret", "code"}}
"""What nobody but the person keeps: by hand, like the rest of what was decided here."""
BUTTONS = {"invoices/{id}/mark": {"as"}}
"""Where what is sent is the button that is pressed."""
SENT_BY = {"wallets/new": {"compared"}}
"""What must be said anew, since it is about what was seen."""
SECRET = "a secret that nobody else may see"

FORMS = [action for action in ACTIONS if action.fresh and action.path not in NEEDS_A_DEVICE | {"account/passkey/ask"}]


async def confirm(premises: Premises, visitor: Visitor, path: str, password: str = PASSWORD) -> None:
    await visitor.submit(path, proof_password=password, proof_code=visitor.code(premises.clock.now()))


@pytest.mark.parametrize("action", FORMS, ids=lambda action: action.path)
async def test_what_was_typed_comes_back_after_the_proof_and_nothing_was_done(
    premises: Premises, action: Action
) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    filled = bodies(premises, ids)[action.path]
    premises.clock.move(11 * 60)
    before = await snapshot(premises)
    await send(premises, owner, action, ids, filled)
    assert (owner.seen.status, "Confirm that it is you" in owner.seen.words) == (403, True), owner.seen.words
    again = TYPED_AGAIN.get(action.path, set())
    for name in again:
        assert filled[name] not in owner.seen.text
    await confirm(premises, owner, path_of(premises, action, ids))
    assert (owner.seen.status, "Nothing was done yet" in owner.seen.words) == (200, True), owner.seen.words
    after = await snapshot(premises)
    # Of the proof alone: that the code counts no more, and the tries at it.
    assert {table for table in before if before[table] != after[table]} <= {"people", "sign_in_tries"}
    wanted = {
        name: [value]
        for name, value in filled.items()
        if value and name not in again | BUTTONS.get(action.path, set()) | SENT_BY.get(action.path, set())
    }
    forms = [given for _, given in Forms(owner.seen.text).found]
    assert any(wanted.items() <= given.items() for given in forms), (wanted, forms)
    for name in again:
        assert filled[name] not in owner.seen.text


async def test_the_form_that_comes_back_does_what_it_says(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("keys/new"))
    premises.clock.move(11 * 60)
    await owner.submit("keys/new", label="the <shop>", life="30", scopes=["invoices:read", "ledger:read"])
    await confirm(premises, owner, "keys/new")
    await owner.submit("keys/new")
    assert "This is the key for the <shop>" in owner.seen.words
    key = await premises.house.database.pool.fetchrow("select * from api_keys order by id desc limit 1")
    assert (key["label"], sorted(key["scopes"])) == ("the <shop>", ["invoices:read", "ledger:read"])


async def test_a_page_with_a_proof_does_nothing_however_often_it_is_loaded(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("keys/new"))
    premises.clock.move(11 * 60)
    asked = await owner.submit("keys/new", label="shop", scopes="invoices:read")
    keys = "select count(*) from api_keys where label = 'shop'"
    for _ in range(2):  # the second time as a browser does that loads the page again: the proof is fresh then
        owner.seen = asked
        await confirm(premises, owner, "keys/new")
        assert "Nothing was done yet" in owner.seen.words
        assert await premises.house.database.pool.fetchval(keys) == 0


async def test_a_wrong_proof_loses_nothing_and_too_many_are_slowed_down(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("members/new"))
    premises.clock.move(11 * 60)
    await owner.submit("members/new", email="new@shop.example", role="admin")
    seen = set()
    for _ in range(8):
        await confirm(premises, owner, "members/new", SECRET)
        seen.add(owner.seen.status)
        assert SECRET not in owner.seen.text
        assert Forms(owner.seen.text).found[0][1]["email"] == ["new@shop.example"]
    assert seen == {422, 429}
    assert "Wait" in owner.seen.words
    premises.clock.move(int(owner.seen.headers["retry-after"]))
    await confirm(premises, owner, "members/new")
    assert (owner.seen.status, Forms(owner.seen.text).found[1][1]["role"]) == (200, ["admin"])


async def test_the_proof_opens_nothing_that_the_role_does_not_allow_when_it_is_done(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("keys/new"))
    premises.clock.move(11 * 60)
    asked = await owner.submit("keys/new", label="shop", scopes="invoices:read")
    forged = owner.seen.text.replace(Forms(owner.seen.text).found[0][1]["csrf"][0], "0" * 64)
    owner.seen.text = forged
    await confirm(premises, owner, "keys/new")
    assert owner.seen.status == 403
    owner.seen = asked
    owner.seen.text = forged.replace("0" * 64, csrf_token(owner.cookies["kassa"]))
    await premises.house.database.pool.execute("update members set role = 'viewer'")
    await confirm(premises, owner, "keys/new")
    assert (owner.seen.status, "lacks the right keys:write" in owner.seen.words) == (403, True)


async def test_no_form_is_taken_that_is_larger_than_any_other(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("keys/new"))
    premises.clock.move(11 * 60)
    assert (await owner.submit("keys/new", label="x" * 70_000)).status == 413
