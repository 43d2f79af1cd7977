"""A form that comes again (pressed twice, or sent again after a lost answer) is carried out once, whatever it does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from kassa.api.app import create_app
from kassa.dashboard import app as dashboard
from kassa.dashboard.pages import ACTIONS
from kassa.db.pool import Database
from kassa.people.model import Role
from kassa.people.rules import csrf_token
from tests.api.served import listening
from tests.conftest import _database, _execute
from tests.dashboard.furnished import bodies
from tests.dashboard.test_bodies import NEEDS_A_DEVICE, set_up, snapshot
from tests.dashboard.test_roles import path_of
from tests.dashboard.visitor import Forms, Premises, Visitor, open_premises
from tests.house import BITCOIN

TIMES = 20
SHOWS_ALREADY = {"account/app", "account/codes", "keys/new", "members/new", "members/{id}/remove", "members/{id}/role",
    "webhooks/{id}/secret"}  # fmt: skip
"""What cannot show again what it showed, and says so."""


@pytest.fixture
async def twin(postgres_url: str, template: str, tmp_path: Path) -> AsyncIterator[Premises]:
    """Another dashboard, on a database of its own: there, each form is sent once."""
    name = f"kassa_test_{uuid4().hex[:12]}"
    await _execute(postgres_url, f"create database {name} template {template} strategy file_copy")
    database = await Database.open(_database(postgres_url, name))
    async with open_premises(database, tmp_path / "twin") as opened:
        yield opened
    await database.close()
    await _execute(postgres_url, f"drop database {name} with (force)")


async def rows(premises: Premises) -> dict[str, int]:
    pool = premises.house.database.pool
    tables = [row[0] for row in await pool.fetch("select tablename from pg_tables where schemaname = 'public'")]
    return {table: await pool.fetchval(f"select count(*) from {table}") for table in tables}


def growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {table: after[table] - before[table] for table in before if after[table] != before[table]}


async def make_room(premises: Premises, path: str) -> None:
    """Take away what keeps a form from being carried out: a change that is under way, the one wallet of a network."""
    if path in ("webhooks/{id}", "wallets/new"):
        await premises.house.database.pool.execute("delete from wallet_changes")
    if path == "wallets/new":
        await premises.house.database.pool.execute("delete from wallets")


async def test_every_form_that_comes_twenty_times_at_once_and_then_again_is_carried_out_once(
    premises: Premises, twin: Premises
) -> None:
    owner, ids = await set_up(premises, Role.OWNER)
    other, their_ids = await set_up(twin, Role.OWNER)
    filled, theirs = bodies(premises, ids), bodies(twin, their_ids)
    by_path = {action.path: action for action in ACTIONS}
    assert by_path.keys() == filled.keys() | NEEDS_A_DEVICE  # a new form without a body fails
    said: set[str] = set()
    wrong: dict[str, object] = {}
    async with AsyncExitStack() as stack:
        # As of two processes, which know of each other by the database alone.
        ports = [
            await stack.enter_async_context(listening(create_app(premises.house, dashboard.handlers(premises.house))))
            for _ in range(2)
        ]
        for number, (path, data) in enumerate(filled.items()):
            if path == "account/passkey/ask":  # asks for something else each time
                continue
            token = {"once": path, "csrf": csrf_token(owner.cookies["kassa"])}
            their_token = token | {"csrf": csrf_token(other.cookies["kassa"])}
            address = {"x-forwarded-for": f"203.0.113.{number}"}
            await make_room(premises, path)
            await make_room(twin, path)

            was = await rows(twin)
            where = path_of(twin, by_path[path], their_ids)
            sent = await other.send("POST", where, data=their_token | theirs[path], headers=address, follow=False)
            assert sent.status in (200, 303), (path, sent.words[-600:])
            once = growth(was, await rows(twin))

            where, was = path_of(premises, by_path[path], ids), await rows(premises)
            at = [Visitor(owner.session, f"http://127.0.0.1:{ports[each % 2]}") for each in range(TIMES)]
            await asyncio.gather(
                *(each.send("POST", where, data=token | data, headers=address, follow=False) for each in at)
            )
            grown = growth(was, await rows(premises))
            if grown != once or {each.seen.status for each in at} - {200, 303}:
                wrong[path] = (grown, once, {each.seen.status for each in at})
            before = await snapshot(premises)
            await owner.send("POST", where, data=token | data, headers=address, follow=False)
            if await snapshot(premises) != before:
                wrong[path] = "changed something again"
            if "This was done already" in owner.seen.words:
                said.add(path)
            elif owner.seen.status == 303:
                places = {each.seen.headers.get("location") for each in at}
                if places != {owner.seen.headers["location"]}:
                    wrong[path] = places
    assert wrong == {}
    assert said == SHOWS_ALREADY


async def test_a_key_is_shown_once_and_the_second_press_says_that_it_was_made(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    form = await owner.open(premises.at("keys/new"))
    made = await owner.submit("keys/new", label="shop", scopes="invoices:read")
    key = made.text.partition('class="once">')[2].partition("<")[0]
    owner.seen = form
    again = await owner.submit("keys/new", label="shop", scopes="invoices:read")
    assert (again.status, "This was done already" in again.words) == (200, True)
    assert key not in again.text
    assert f'href="{premises.at("keys")}"' in again.text
    kept = await premises.house.database.pool.fetch("select body from idempotency_keys")
    assert [row["body"] for row in kept] == [b""]


async def test_another_text_in_a_form_that_was_sent_before_is_another_deed(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    form = await owner.open(premises.at("invoices/new"))
    for amount in ("5", "5", "6"):  # with the browser's way back
        owner.seen = form
        await owner.submit("invoices/new", amount=amount)
        assert owner.seen.status == 200
    assert await premises.house.database.pool.fetchval("select count(*) from invoices") == 2


async def test_the_same_text_from_somebody_else_or_in_another_form_is_another_deed(premises: Premises) -> None:
    pool, count = premises.house.database.pool, "select count(*) from invoices"
    owner, other = await premises.member(Role.OWNER), await premises.member(Role.OWNER, "two@shop.example")

    async def send(visitor: Visitor, path: str, **fields: str) -> None:
        token = {"csrf": csrf_token(visitor.cookies["kassa"]), "once": "the same"}
        assert (await visitor.send("POST", premises.at(path), data=token | fields)).status == 200, visitor.seen.words

    for visitor in (owner, other, owner):
        await send(visitor, "invoices/new", amount="5", expires_in="900", payment_options=f"BTC@{BITCOIN}")
    assert await pool.fetchval(count) == 2
    for email in ("a@shop.example", "b@shop.example"):
        await premises.invited(email, Role.VIEWER)
    invited = await pool.fetch("select id from invitations where used_at is null and revoked_at is null")
    for row in invited:
        await send(owner, f"members/invited/{row['id']}")
    ended = "select count(*) from invitations where revoked_at is not null"
    assert (len(invited), await pool.fetchval(ended)) == (2, 2)
    await send(owner, "account/sessions/end")
    was = await pool.fetch("select * from recovery_codes")
    await send(owner, "account/codes")
    assert await pool.fetch("select * from recovery_codes") != was


async def test_a_form_that_was_refused_is_sent_again_and_carried_out(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("invoices/new"))
    first = Forms(owner.seen.text).found[1][1]["once"]
    wrong = await owner.submit("invoices/new", amount="nothing")
    assert (wrong.status, Forms(wrong.text).found[1][1]["once"]) == (422, first)
    assert "The invoice was created." in (await owner.submit("invoices/new", amount="5")).words


async def test_a_form_that_no_page_of_ours_made_now_is_not_carried_out(premises: Premises) -> None:
    owner = await premises.member(Role.OWNER)
    await owner.open(premises.at("invoices/new"))
    seen = await owner.submit("invoices/new", amount="5", once=None)
    assert (seen.status, "load the page again" in seen.words) == (422, True)
    assert await premises.house.database.pool.fetchval("select count(*) from invoices") == 0
