"""E9: whose session or role ended while a form of theirs came, or was being done, does nothing by it any more."""

import asyncio
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from kassa.audit.model import KASSA
from kassa.dashboard.page import Action
from kassa.dashboard.pages import ACTIONS
from kassa.people import membership
from kassa.people import session_store as sessions
from kassa.people.model import Role
from kassa.people.rules import csrf_token
from tests.api.served import Slow, until
from tests.dashboard.furnished import Ids, bodies
from tests.dashboard.test_bodies import set_up, snapshot
from tests.dashboard.test_roles import path_of
from tests.dashboard.visitor import Premises, Visitor

_WAITS = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def _begin(premises: Premises, visitor: Visitor, path: str, data: dict[str, Any]) -> Slow:
    cookies = dict(visitor.cookies)
    headers = {
        "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "content-type": "application/x-www-form-urlencoded",
    }
    token = {"csrf": csrf_token(cookies["kassa"]), "once": token_hex(8)}
    port = urlsplit(premises.base).port
    assert port is not None
    return await Slow.begin(port, "POST", path, headers, urlencode(token | data, doseq=True).encode())


async def _begin_all(premises: Premises, visitor: Visitor, ids: Ids) -> dict[str, Slow]:
    filled, begun = bodies(premises, ids), {}
    for action in ACTIONS:
        begun[action.path] = await _begin(
            premises, visitor, path_of(premises, action, ids), filled.get(action.path, {})
        )
    return begun


@pytest.mark.parametrize("pieces", [1, 3])
async def test_e9_no_form_of_who_was_removed_while_it_came_does_anything(
    premises: Premises, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("incoming", "server"):  # the first of so many forms waits until the last one has begun
        monkeypatch.setattr(f"kassa.api.{place}.BODY_SECONDS", 300)
    await premises.member(Role.OWNER)
    visitor, ids = await set_up(premises, Role.OWNER)
    house, now = premises.house, premises.clock.now()
    person = await house.database.pool.fetchval("select id from people where email = 'tested@shop.example'")
    slow = await _begin_all(premises, visitor, ids)

    async with house.database.transaction() as tx:
        await membership.change(tx, house.seal, KASSA, premises.store.id, person, None, now)
    before = await snapshot(premises)

    for path, one in slow.items():
        status, head = await one.end(pieces=pieces)
        assert (status, b"/dashboard/sign-in?" in head) == (303, True), path
    assert await snapshot(premises) == before


@pytest.mark.parametrize("role", [None, Role.VIEWER])
async def test_e9_a_form_of_whose_role_changed_while_it_came_is_judged_by_the_new_one(
    premises: Premises, role: Role | None
) -> None:
    visitor, _ = await set_up(premises, Role.ADMIN)
    path = premises.at("keys/new")
    slow = await _begin(premises, visitor, path, {"label": "till", "life": "", "scopes": "webhooks:write"})
    before = await snapshot(premises)

    # By a statement, as the session stays: by Kassa it would end.
    if role is None:
        await premises.house.database.pool.execute("delete from members where role = 'admin'")
    else:
        await premises.house.database.pool.execute("update members set role = $1 where role = 'admin'", role)

    assert (await slow.end())[0] == (404 if role is None else 403)
    after = await snapshot(premises)
    assert {name for name in before if before[name] != after[name]} == {"members"}


async def test_e9_who_is_not_fresh_when_the_form_is_there_proves_themselves(premises: Premises) -> None:
    visitor, _ = await set_up(premises, Role.OWNER)
    slow = await _begin(premises, visitor, premises.at("account/password"), {"password": "the thief chose this one"})
    before = await premises.house.database.pool.fetchval("select password_hash from people where email like 'tested%'")

    premises.clock.move(3_000)

    assert (await slow.end())[0] == 403
    assert (
        await premises.house.database.pool.fetchval("select password_hash from people where email like 'tested%'")
        == before
    )


async def test_e9_a_form_that_comes_slowly_does_what_it_says(premises: Premises) -> None:
    visitor, _ = await set_up(premises, Role.OWNER)
    wanted = {"label": "till", "life": "", "scopes": "webhooks:write"}
    for pieces in (1, 3):
        slow = await _begin(premises, visitor, premises.at("keys/new"), wanted)
        assert (await slow.end(pieces=pieces))[0] == 200


async def test_e9_nothing_is_read_of_a_form_of_who_has_no_session(premises: Premises) -> None:
    visitor = premises.visitor()
    await visitor.open("/dashboard/sign-in")
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    for action in ACTIONS:
        host = urlsplit(premises.base)
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        head = f"POST {path_of(premises, action, {})} HTTP/1.1\r\nhost: {host.netloc}\r\ncookie: {cookie}\r\n"
        more = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n"
        writer.write((head + more).encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 303 "), action.path
        writer.close()


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("keys/new", {"label": "till", "life": "", "scopes": "webhooks:write"}),
        ("account/password", {}),
        ("account/app", {}),
        ("members/{id}/role", {}),
        ("wallet-changes/{id}/confirm", {}),
    ],
)
async def test_e9_what_is_done_when_the_session_ends_is_not_done(
    premises: Premises, path: str, more: dict[str, str]
) -> None:
    visitor, ids = await set_up(premises, Role.OWNER)
    database = premises.house.database
    action: Action = next(one for one in ACTIONS if one.path == path)
    data = {"csrf": csrf_token(visitor.cookies["kassa"]), "once": token_hex(8)} | bodies(premises, ids)[path] | more

    before = await snapshot(premises)

    async with database.transaction() as tx:
        # The form was let in, and is about to be looked up.
        await tx.execute("lock table idempotency_keys in access exclusive mode")
        sent = asyncio.create_task(visitor.send("POST", path_of(premises, action, ids), data=data, follow=False))
        await until(lambda: database.pool.fetchval(_WAITS))
        async with database.transaction() as other:
            person = await other.fetchval("select id from people where email = 'tested@shop.example'")
            await sessions.end_others(other, person)

    seen = await sent
    assert (seen.status, "has just changed" in seen.words) == (403, True), seen.words
    assert await snapshot(premises) == before
