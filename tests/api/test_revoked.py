"""E9: a key that is revoked, or expires, while a request of it runs."""

import asyncio
import json
from datetime import timedelta

import pytest

from kassa.api.routes import ENDPOINTS
from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.served import ORDER, Served, Slow, until
from tests.house import SetClock

_WAITS = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_e9_a_key_that_is_revoked_while_its_order_runs_gets_nothing_for_it(served: Served) -> None:
    house, pool = served.house, served.house.database.pool
    async with house.database.transaction() as tx:
        key_id, text = await stores.create_key(tx, served.store, house.clock.now(), scopes=SCOPES)
    caller = served.caller(text)
    for _ in range(2):
        await caller.invoice()

    async with house.database.transaction() as tx:
        await tx.execute("lock table invoices in access exclusive mode")
        running = asyncio.create_task(caller.post("/v1/invoices", ORDER))
        await until(lambda: pool.fetchval(_WAITS))
        async with house.database.transaction() as revoking:
            await stores.revoke_key(revoking, key_id, house.clock.now())
        refused = await caller.get("/v1/store")

    answer = await running
    assert (refused.status, answer.status) == (401, 401)
    assert (await caller.post("/v1/invoices", ORDER)).status == 401
    assert await pool.fetchval("select count(*) from invoices") == 2


_HOOK = b'{"url":"https://evil.example/x","events":["*"]}'
_BODIES = {"create_invoice": json.dumps(ORDER).encode(), "create_webhook": _HOOK}


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("expires", [False, True])
async def test_e9_who_sends_a_body_slowly_needs_the_key_until_its_end(
    served: Served, pieces: int, warm: bool, expires: bool
) -> None:
    house, clock, pool = served.house, served.house.clock, served.house.database.pool
    assert isinstance(clock, SetClock)
    until_then = clock.now() + timedelta(seconds=4)
    async with house.database.transaction() as tx:
        key_id, text = await stores.create_key(tx, served.store, clock.now(), scopes=SCOPES, expires_at=until_then)
    if warm:  # then who makes the next invoice is not asked for first
        await served.caller(text).invoice()
    key = {"authorization": f"Bearer {text}", "content-type": "application/json"}
    slow = {}
    for one in ENDPOINTS:
        if one.writes:
            path, body = one.path.replace("{id}", f"{one.id_of}_{'1' * 29}"), _BODIES.get(one.name, b'{"a": 1}')
            slow[one.name] = await Slow.begin(served.port, one.method, path, key, body)
            slow[one.name + ", repeatable"] = await Slow.begin(
                served.port, one.method, path, {**key, "idempotency-key": one.name}, body
            )

    if expires:
        clock.move(4)
    else:
        async with house.database.transaction() as tx:
            await stores.revoke_key(tx, key_id, clock.now())

    ended = await asyncio.gather(*(one.end(pieces=pieces) for one in slow.values()))
    answered = dict(zip(slow, (status for status, *_ in ended), strict=True))
    assert answered == dict.fromkeys(slow, 401)
    assert await pool.fetchval("select count(*) from webhooks") == 0
    assert await pool.fetchval("select count(*) from invoices") == int(warm)


async def test_e9_a_body_that_comes_slowly_does_what_it_says(served: Served) -> None:
    key = {"authorization": f"Bearer {served.all.key}", "content-type": "application/json"}
    for pieces in (1, 3):
        for more in ({}, {"idempotency-key": str(pieces)}):
            one = await Slow.begin(served.port, "POST", "/v1/invoices", key | more, _BODIES["create_invoice"])
            assert (await one.end(pieces=pieces))[0] == 201
    hook = await Slow.begin(served.port, "POST", "/v1/webhooks", key, _HOOK)
    assert (await hook.end(pieces=2))[0] == 201


async def test_e9_nothing_is_read_of_who_has_no_key(served: Served) -> None:
    for one in ENDPOINTS:
        if one.writes:
            path = one.path.replace("{id}", f"{one.id_of}_{'1' * 29}")
            head = f"{one.method} {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(head.encode())
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
            assert answer.startswith(b"HTTP/1.1 401 "), one.name
            writer.close()
