"""Each role at a browser: it signs in, is led to and offered what the table allows, and can do no more by hand."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kassa.dashboard.page import MEMBER
from kassa.dashboard.pages import ACTIONS, PAGES
from kassa.db.pool import Database
from kassa.people.model import Role
from tests.browser.conftest import DESKTOP, Faults, OpenPage
from tests.dashboard import policy
from tests.dashboard.furnished import Ids, bodies, furnish
from tests.dashboard.visitor import PASSWORD, Premises, Visitor, open_premises

FILES = ("books/export", "reports/file")
OFFERED_ELSEWHERE = {
    "wallets/new",  # after its addresses were compared
    "customers/{id}/write-off",  # after what it means was shown
    "members/{id}/revoke-keys",  # where the person made keys
    "account/passkey",  # by the script, after the next
    "account/passkey/ask",
}
ID_OF = {page.path: page.id_of for page in PAGES} | {action.path: action.id_of for action in ACTIONS}


@dataclass(frozen=True)
class Office:
    """A furnished store and the five who work there."""

    premises: Premises
    ids: Ids
    people: dict[Role, Visitor]

    def path(self, pattern: str) -> str:
        return self.premises.at(pattern.replace("{id}", self.ids.get(ID_OF[pattern] or "", "")))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    database = await Database.open(shared_database_url)
    async with open_premises(database, tmp_path_factory.mktemp("roles")) as premises:
        people = {role: await premises.member(role) for role in Role}
        owner = await database.pool.fetchval("select id from people where email = 'owner@shop.example'")
        ids = await furnish(premises, owner)
        ids["evt"] = await database.pool.fetchval(
            "update events set sequence = position where id = (select max(id) from events) returning id"
        )
        # One that an invoice was paid by, beside the one without an owner.
        ids["pay"] = await database.pool.fetchval(
            "insert into payments select (json_populate_record(p, json_build_object('id', 'pay_' || repeat('2', 29),"
            " 'txid', 'cd', 'store_id', a.store_id, 'invoice_id', a.invoice_id))).*"
            " from payments p join addresses a on a.id = p.address_id where p.id = $1 returning id",
            ids["pay"],
        )
        await database.pool.execute("update deliveries set invoice_id = $1 where id = $2", ids["inv"], ids["dlv"])
        await database.pool.execute(
            "insert into passkeys select (json_populate_record(k, json_build_object('id', 'psk_' || p.id,"
            " 'person_id', p.id, 'credential', p.id))).* from passkeys k, people p where p.id <> k.person_id"
        )
        yield Office(premises, ids, people)
    await database.close()


async def sign_in(office: Office, page: Page, role: Role) -> None:
    """Sign somebody in by password and code, as the pages ask for it."""
    office.premises.clock.move(60)  # the last code is used up
    await page.goto(f"{office.premises.base}/dashboard/sign-in")
    await page.get_by_label("E-mail").fill(f"{role}@shop.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    code = office.people[role].code(office.premises.clock.now())
    await page.get_by_role("textbox", name="Code").fill(code)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def allowed(role: Role, table: dict[str, tuple[str, ...]]) -> set[str]:
    """Return the paths of a table that a role may see or send, by the table of rights alone."""
    [letter] = [letter for letter, name in policy.ROLES.items() if name == role.value]
    mine = {right for right, letters in policy.RIGHTS.items() if letter in letters} | {MEMBER}
    return {path for right, paths in table.items() if right in mine for path in paths}


async def offered(office: Office, page: Page) -> set[str]:
    """Return the patterns of the forms that a page offers to send."""
    sent = await page.evaluate(
        "[...document.querySelectorAll('form[method=post]')].map((form) => new URL(form.action).pathname)"
    )
    found = set()
    for action in ACTIONS:
        pattern = re.escape(office.premises.at(action.path)).replace(re.escape("{id}"), "[^/]+")
        found |= {action.path for path in sent if re.fullmatch(pattern, path)}
    return found


@pytest.mark.parametrize("role", list(Role))
async def test_g9_a_role_is_shown_what_it_may_do_and_can_do_nothing_else(
    office: Office, open_page: OpenPage, faults: Faults, role: Role
) -> None:
    page = await open_page(viewport=DESKTOP)
    await sign_in(office, page, role)
    base, seen = office.premises.base, allowed(role, policy.PAGES)
    led = await page.locator("nav a").evaluate_all("(all) => all.map((one) => one.pathname)")
    expected = {office.path(one.path) for one in PAGES if one.nav and one.path in seen}
    assert {path for path in led if path.startswith(office.premises.at(""))} == expected

    forms: set[str] = set()
    for path in sorted({one.path for one in PAGES} - set(FILES)):
        answer = await page.goto(base + office.path(path), wait_until="domcontentloaded")
        assert answer is not None
        assert answer.status == (200 if path in seen else 403), path
        forms |= await offered(office, page)
    assert forms == allowed(role, policy.ACTIONS) - OFFERED_ELSEWHERE

    # What is not shown, sent by hand from a page of ours, with a full body and the token of this session.
    await page.goto(base + office.premises.at("account"))
    token = await page.locator("input[name=csrf]").first.input_value()
    filled: dict[str, dict[str, Any]] = bodies(office.premises, office.ids)
    for path in sorted(filled.keys() - allowed(role, policy.ACTIONS)):
        async with page.expect_navigation(wait_until="domcontentloaded") as going:
            await page.evaluate(SEND, [office.path(path), filled[path] | {"csrf": token}])
        answer = await going.value
        assert answer is not None
        assert (answer.request.method, answer.status) == ("POST", 403), path
        assert await page.locator("h1").inner_text() == "You may not do this"
    faults.seen.clear()  # the refusals themselves


SEND = """([action, fields]) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = action;
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name, value });
    form.append(field);
  }
  document.body.append(form);
  form.submit();
}"""
