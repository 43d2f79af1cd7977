"""Each role sees and may do exactly what the table says, page by page and form by form."""

from contextlib import nullcontext

import pytest

from kassa.api.auth import authorize
from kassa.core.errors import Forbidden
from kassa.dashboard.page import MEMBER, Action, Page
from kassa.dashboard.pages import ACTIONS, PAGES
from kassa.people.model import Role
from kassa.people.rules import csrf_token, rights
from tests.api.test_matrix import ANY, OPERATIONS, POLICY
from tests.dashboard import policy
from tests.dashboard.visitor import Forms, Premises, Visitor

UNKNOWN = "0" * 29
ASKED = {"books/export": "?format=csv&from=2026-01-01&to=2026-01-31"}
"""What pages must be asked with."""


def test_g9_what_a_role_may_do_was_decided_by_hand() -> None:
    roles = {Role(name): letter for letter, name in policy.ROLES.items()}
    assert set(roles) == set(Role)
    for role, letter in roles.items():
        assert rights(role) == {right for right, letters in policy.RIGHTS.items() if letter in letters}
    assert {one["x-access"] for _, _, one in OPERATIONS} - {ANY} <= set(policy.RIGHTS)


@pytest.mark.parametrize("role", list(Role))
def test_e10_every_endpoint_opens_to_exactly_the_roles_that_were_decided(role: Role) -> None:
    [letter] = [letter for letter, name in policy.ROLES.items() if name == role.value]
    for method, path, one in OPERATIONS:
        access = POLICY[one["operationId"]]
        allowed = access == ANY or letter in policy.RIGHTS[access]
        with nullcontext() if allowed else pytest.raises(Forbidden):
            authorize(rights(role), access)
        assert one["x-access"] == access, (method, path)


def test_g9_a_page_or_form_without_a_decision_fails() -> None:
    for shown, decided in ((PAGES, policy.PAGES), (ACTIONS, policy.ACTIONS)):
        found = {(each.access, each.path) for each in shown}  # type: ignore[attr-defined]
        assert found == {(access, path) for access, paths in decided.items() for path in paths}


def path_of(premises: Premises, one: Page | Action, ids: dict[str, str]) -> str:
    return premises.at(one.path.replace("{id}", ids.get(one.id_of or "", f"{one.id_of}_{UNKNOWN}")))


async def made(premises: Premises, owner: Visitor) -> dict[str, str]:
    """Make one of each thing that pages show; return their ids."""
    await owner.open(premises.at("invoices/new"))
    await owner.submit("/invoices/new", amount="50.00", reference="order-1", description="2 x coffee")
    assert owner.seen.status == 200, owner.seen.words
    return {"inv": owner.seen.url.partition("?")[0].rpartition("/")[2]}


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_sees_and_does_what_the_table_says(premises: Premises, role: Role) -> None:
    ids = await made(premises, await premises.member(Role.OWNER))
    visitor = await premises.member(role, "tested@shop.example")
    mine = rights(role) | {MEMBER}
    for page in PAGES:
        seen = await visitor.open(path_of(premises, page, ids) + ASKED.get(page.path, ""))
        known = page.id_of is None or page.id_of in ids
        expected = 403 if page.access not in mine else 200 if known else 404
        assert seen.status == expected, (page.path, seen.words[:400])
        assert "wallets:read" in mine or "tpub" not in seen.text, page.path  # it leads to every address of the wallet
    await visitor.open(premises.at("overview"))
    linked = {page.path for page in PAGES if f'href="{premises.at(page.path)}"' in visitor.seen.text}
    assert {page.path for page in PAGES if page.nav and page.access in mine} <= linked
    assert all(page.access in mine for page in PAGES if page.path in linked)
    # What is refused for the role is refused before anything of the form is looked at.
    for action in ACTIONS:
        if action.access in mine:
            continue
        data = {"csrf": csrf_token(visitor.cookies["kassa"])}
        seen = await visitor.send("POST", path_of(premises, action, ids), data=data, follow=False)
        assert seen.status == 403, action.path


async def test_every_form_refuses_what_no_page_of_ours_sent(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    ids = await made(premises, owner)
    for action in ACTIONS:
        path = path_of(premises, action, ids)
        for data in ({}, {"csrf": "0" * 64}):
            assert (await owner.send("POST", path, data=data, follow=False)).status == 403, action.path
        seen = await owner.send("POST", path, data='{"csrf": ""}', headers={"content-type": "text/plain"}, follow=False)
        assert seen.status == 415, action.path
        token = {"csrf": csrf_token(owner.cookies["kassa"])}
        seen = await owner.send("POST", path, data=token, headers={"origin": "https://evil.example"}, follow=False)
        assert seen.status == 403, action.path
        seen = await owner.send("POST", path, data=token | {"store_id": "sto_x"}, follow=False)
        assert seen.status == 422, action.path  # no field that was not asked for (FAULTS: mass assignment)
        if action.path not in {page.path for page in PAGES}:
            assert (await owner.send("GET", path, follow=False)).status == 303, action.path  # to its page


async def test_every_answer_carries_the_guards(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    paths = ["/dashboard/sign-in", premises.at("overview"), premises.at("nothing"), premises.at("invoices/inv_x")]
    for path in paths:
        seen = await owner.open(path)
        if seen.headers["content-type"].startswith("text/html"):
            assert "frame-ancestors 'none'" in seen.headers["content-security-policy"]
            assert "default-src 'none'" in seen.headers["content-security-policy"]
            assert "unsafe" not in seen.headers["content-security-policy"]
            assert seen.headers["x-frame-options"] == "DENY"
            assert seen.headers["cache-control"] == "no-store"
        assert seen.headers["x-content-type-options"] == "nosniff"


async def test_sensitive_changes_ask_for_a_fresh_proof(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    ids = await made(premises, owner)
    premises.clock.move(11 * 60)
    for one in (*PAGES, *ACTIONS):
        assert one.fresh == (one.path in policy.FRESH and not one.access.endswith(":read")), one.path
        if not one.fresh:
            continue
        method = "GET" if isinstance(one, Page) else "POST"
        data = None if method == "GET" else {"csrf": csrf_token(owner.cookies["kassa"])}
        seen = await owner.send(method, path_of(premises, one, ids), data=data, follow=False)
        if isinstance(one, Page):
            assert (seen.status, "/confirm?next=" in seen.headers["location"]) == (303, True), one.path
        else:
            assert (seen.status, "Confirm that it is you" in seen.words) == (403, True), one.path
    await owner.open(premises.at("keys/new"))
    assert owner.seen.url.startswith("/dashboard/confirm")
    wrong = await owner.submit("/confirm", password="not the password", code=owner.code(premises.clock.now()))
    assert wrong.status == 422
    await owner.submit("/confirm", password="correct horse battery staple", code=owner.code(premises.clock.now()))
    assert owner.seen.url == premises.at("keys/new")
    assert [name for name, _ in Forms(owner.seen.text).found]
