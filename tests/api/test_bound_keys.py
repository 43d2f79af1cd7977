"""E9: a key that is bound to networks opens nothing from anywhere else, on every path that takes a key."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

import kassa.alerts.record_store as records
import kassa.audit.store as audit
from kassa import flow
from kassa.api.auth import Uses, authenticate
from kassa.api.routes import ENDPOINTS
from kassa.checkout.pages import handlers
from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import KeyId
from kassa.house import House
from kassa.limits.limiter import Limiter
from kassa.limits.model import Kind, Limit
from kassa.people.seal_store import Sealed, is_sealed
from kassa.stores.model import Store
from tests.api.served import OPERATOR, ORDER, Answer, Caller, Served, Slow, serve, until
from tests.api.test_matrix import OPERATIONS, send
from tests.house import SetClock, add_store

HERE, THERE = "203.0.113.7", "198.51.100.9"
SIX = "2001:db8:1::7"
_WAITS = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.fixture
async def store(house: House) -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house)


@pytest.fixture
async def behind(house: House, store: Store) -> AsyncIterator[Served]:
    """The house behind a proxy that it knows."""
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    known = replace(house, settings=replace(house.settings, http=http))
    async with serve(known, store, handlers(known)) as served:
        yield served


async def make(served: Served, *networks: str, store: Store | None = None) -> tuple[KeyId, Caller]:
    house = served.house
    async with house.database.transaction() as tx:
        now = house.clock.now()
        key_id, text = await flow.create_key(tx, house, OPERATOR, store or served.store, now, allowed_from=networks)
    return key_id, served.caller(text)


async def bind(served: Served, key_id: KeyId, *networks: str, store_id: str | None = None) -> None:
    house = served.house
    async with house.database.transaction() as tx:
        await flow.bind_key(tx, house, OPERATOR, key_id, networks, house.clock.now(), store_id=store_id)


def by(*addresses: str) -> dict[str, str]:
    return {"x-forwarded-for": ", ".join(addresses)}


async def ask(caller: Caller, *addresses: str) -> int:
    return (await caller.get("/v1/store", headers=by(*addresses))).status


async def order(caller: Caller, address: str, **headers: str) -> Answer:
    return await caller.post("/v1/invoices", ORDER, headers=by(address) | headers)


async def acts(served: Served, kind: str) -> list[tuple[Any, ...]]:
    rows = await served.house.database.pool.fetch(
        "select actor, address, subject, store_id, before, after from acts where kind = $1 order by number", kind
    )
    return [tuple(row) for row in rows]


async def test_e9_a_bound_key_is_known_by_the_address_that_our_own_proxy_wrote(behind: Served) -> None:
    _, caller = await make(behind, f"{HERE}/32", "2001:db8:1::/48")
    for allowed in ([HERE], [THERE, HERE], [SIX], [f"[{SIX}]:4711"], [f"::ffff:{HERE}"], [f"{HERE}:4711"]):
        assert await ask(caller, *allowed) == 200, allowed
    for refused in (
        [THERE],
        [HERE, THERE],
        ["2001:db8:2::7"],
        [f"::ffff:{THERE}"],
        ["garbage"],
        [HERE, "garbage"],
        [""],
    ):
        assert await ask(caller, *refused) == 403, refused
    assert (await caller.get("/v1/store")).status == 403  # of the proxy itself


async def test_e9_a_header_of_the_caller_lets_nobody_in(house: House, store: Store) -> None:
    async with serve(house, store, handlers(house)) as served:  # behind a proxy that nobody named, or none
        _, elsewhere = await make(served, HERE)
        _, here = await make(served, "127.0.0.0/8")
        _, mapped = await make(served, "::ffff:127.0.0.1")
        assert (await ask(elsewhere, HERE), await ask(here, THERE), await ask(mapped, THERE)) == (403, 200, 200)
        assert "127.0.0.1" in (await elsewhere.get("/v1/store", headers=by(HERE))).json["detail"]


async def test_e9_e10_no_endpoint_opens_to_a_key_from_where_it_is_not_to_be_used(behind: Served) -> None:
    _, caller = await make(behind, HERE)
    bodies = set()
    for method, path, one in [*OPERATIONS, ("GET", "/v1/openapi.json", {"operationId": "", "parameters": []})]:
        answer = await send(caller, method, path, one)
        assert (answer.status, answer.code) == (403, "address_not_allowed"), path
        assert "www-authenticate" not in answer.headers  # type: ignore[operator]
        bodies.add(answer.body)
    for headers in ({}, {"idempotency-key": "a"}):
        answer = await order(caller, THERE, **headers)
        assert (answer.status, answer.code) == (403, "address_not_allowed")
        bodies.add(answer.body.replace(THERE.encode(), b"127.0.0.1"))
    [told] = bodies  # nobody learns more than where they came from, and not what would be allowed
    assert b"127.0.0.1" in told
    assert HERE.encode() not in told
    assert await behind.house.database.pool.fetchval("select count(*) from invoices") == 0


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "order-2"}])
async def test_e9_a_key_that_was_bound_a_moment_ago_makes_nothing_from_elsewhere(
    behind: Served, headers: dict[str, str]
) -> None:
    key_id, caller = await make(behind)
    assert (await order(caller, THERE)).status == 201
    await bind(behind, key_id, HERE)
    refused = await order(caller, THERE, **headers)
    assert (refused.status, refused.code) == (403, "address_not_allowed")
    assert (await order(caller, HERE, **headers)).status == 201
    assert (await order(caller, THERE)).status == 403  # also after what was read was read for another address
    await bind(behind, key_id, HERE, THERE)
    assert (await order(caller, THERE, **headers)).status == 201
    assert await behind.house.database.pool.fetchval("select count(*) from invoices") == (3 if not headers else 2)


async def test_e9_whoever_was_let_in_a_moment_ago_is_not_refused_by_what_held_before(behind: Served) -> None:
    key_id, caller = await make(behind, HERE)
    assert (await order(caller, HERE)).status == 201
    await bind(behind, key_id, HERE, THERE)
    assert (await order(caller, THERE)).status == 201
    used = "select count(*) = 1 from api_keys where id = $1 and last_used_at is not null"
    await until(lambda: behind.house.database.pool.fetchval(used, key_id))
    assert await acts(behind, "api_key.refused") == []


async def test_e9_a_key_that_is_bound_while_its_order_runs_gets_nothing_for_it(behind: Served) -> None:
    pool = behind.house.database.pool
    key_id, caller = await make(behind)
    for _ in range(2):
        assert (await order(caller, THERE)).status == 201
    async with behind.house.database.transaction() as tx:
        await tx.execute("lock table invoices in access exclusive mode")
        running = asyncio.create_task(order(caller, THERE))
        await until(lambda: pool.fetchval(_WAITS))
        await bind(behind, key_id, HERE)
        assert await ask(caller, THERE) == 403
    assert (await running).code == "address_not_allowed"
    assert await pool.fetchval("select count(*) from invoices") == 2


@pytest.mark.parametrize("warm", [False, True])
async def test_e9_a_key_that_is_bound_while_a_body_comes_does_nothing_by_it(behind: Served, warm: bool) -> None:
    key_id, caller = await make(behind)
    if warm:  # then who makes the next invoice is not asked for first
        assert (await order(caller, THERE)).status == 201
    key = {"authorization": f"Bearer {caller.key}", "content-type": "application/json"} | by(THERE)
    slow = {}
    for one in ENDPOINTS:
        if one.writes:
            path = one.path.replace("{id}", f"{one.id_of}_{'1' * 29}")
            body = json.dumps(ORDER).encode() if one.receiving else b'{"a": 1}'
            for more in ({}, {"idempotency-key": one.name}):
                slow[one.name, len(more)] = await Slow.begin(behind.port, one.method, path, key | more, body)
    await bind(behind, key_id, HERE)
    ended = await asyncio.gather(*(each.end(pieces=2) for each in slow.values()))
    answered = dict(zip(slow, (status for status, *_ in ended), strict=True))
    assert answered == dict.fromkeys(slow, 403)
    assert await behind.house.database.pool.fetchval("select count(*) from invoices") == int(warm)


async def test_e9_each_key_of_each_store_has_networks_of_its_own(behind: Served, house: House) -> None:
    async with house.database.transaction() as tx:
        other = await add_store(tx, house)
    (mine, bound), (_, free) = await make(behind, HERE), await make(behind)
    theirs, foreign = await make(behind, THERE, store=other)
    assert [await ask(each, HERE) for each in (bound, free, foreign)] == [200, 200, 403]
    assert [await ask(each, THERE) for each in (bound, free, foreign)] == [403, 200, 200]
    with pytest.raises(NotFound):
        await bind(behind, theirs, HERE, store_id=behind.store.id)
    async with house.database.transaction() as tx:
        await flow.revoke_key(tx, OPERATOR, mine, house.clock.now())
    with pytest.raises(Conflict):
        await bind(behind, mine, THERE)
    assert [await ask(each, HERE) for each in (bound, foreign)] == [401, 403]


async def test_e9_a_refusal_is_no_use_takes_nothing_of_the_keys_limit_and_ends_in_a_wait(
    house: House, store: Store
) -> None:
    http = replace(house.settings.http, trusted_proxies=(ip_network("127.0.0.1"),))
    limits = Limiter({Kind.KEY: Limit(3, 3600), Kind.STORE: Limit(3, 3600), Kind.REFUSED: Limit(4, 3600)})
    one = replace(house, settings=replace(house.settings, http=http), limits=limits)
    async with serve(one, store, handlers(one)) as served:
        _, caller = await make(served, HERE)
        _, free = await make(served)
        assert [await ask(caller, THERE) for _ in range(6)] == [403] * 4 + [429] * 2
        assert await ask(caller, "192.0.2.1") == 403
        await until(
            lambda: house.database.pool.fetchval("select count(*) = 1 from acts where kind = 'api_key.refused'")
        )
        assert await house.database.pool.fetchval("select count(*) from api_keys where last_used_at is not null") == 0
        assert await ask(free, THERE) == 200  # a good key is let in from there
        assert [await ask(caller, HERE) for _ in range(3)] == [200, 200, 429]


async def test_a_call_whose_body_comes_slowly_is_counted_once(house: House, store: Store) -> None:
    one = replace(house, limits=Limiter({Kind.KEY: Limit(3, 3600), Kind.STORE: Limit(3, 3600)}))
    async with serve(one, store, handlers(one)) as served:
        async with house.database.transaction() as tx:
            _, text = await flow.create_key(tx, house, OPERATOR, store, house.clock.now())
        headers = {"authorization": f"Bearer {text}", "content-type": "application/json"}
        for path, body in (("/v1/invoices", ORDER), ("/v1/webhooks", {"url": "https://shop.example/hook"})):
            slow = await Slow.begin(served.port, "POST", path, headers, json.dumps(body).encode())
            assert (await slow.end(pieces=2))[0] == 201
        assert [await ask(served.caller(text)) for _ in range(2)] == [200, 429]


async def test_e9_what_a_key_is_bound_to_and_where_it_was_refused_is_in_the_audit_log(behind: Served) -> None:
    key_id, caller = await make(behind, HERE)
    key = (key_id, behind.store.id)
    for networks in ([f"{HERE}/32", SIX], [SIX, HERE], [], []):
        await bind(behind, key_id, *networks)
    [created] = await acts(behind, "api_key.created")
    assert json.loads(created[-1])["allowed_from"] == [HERE]
    assert [(act[2:4], json.loads(act[4]), json.loads(act[5])) for act in await acts(behind, "api_key.changed")] == [
        (key, {"allowed_from": [HERE]}, {"allowed_from": [HERE, SIX]}),
        (key, {"allowed_from": [HERE, SIX]}, {"allowed_from": [SIX, HERE]}),
        (key, {"allowed_from": [SIX, HERE]}, {"allowed_from": []}),
    ]
    await bind(behind, key_id, HERE)
    for address in (THERE, "192.0.2.1"):
        assert await ask(caller, address) == 403
    seen = "select count(*) = 1 from acts where kind = 'api_key.refused'"
    await until(lambda: behind.house.database.pool.fetchval(seen))
    assert [act[:4] for act in await acts(behind, "api_key.refused")] == [(key_id, THERE, *key)]


@pytest.mark.parametrize("kind", ["api_key.created", "api_key.changed"])
async def test_e9_an_act_whose_networks_are_no_list_hides_no_key(behind: Served, kind: str) -> None:
    house = behind.house
    recorded, _ = await make(behind)
    forged, _ = await make(behind, HERE)
    async with house.database.transaction() as tx:
        now, store_id = house.clock.now(), behind.store.id
        await audit.record(tx, OPERATOR, kind, forged, now, store_id=store_id, after={"allowed_from": 1})
        if kind == "api_key.changed":
            await tx.execute("update api_keys set allowed_from = '{}' where id = $1", forged)
    found = {each.id for each in await house.database.run(records.unrecorded)}
    assert forged in found
    assert recorded not in found


async def test_e9_a_refused_key_is_told_of_once_an_hour(behind: Served) -> None:
    house, uses = behind.house, Uses(behind.house.database)
    (mine, caller), (other, another) = await make(behind, HERE), await make(behind, HERE)

    async def refuse(seconds: int, *callers: Caller) -> list[str]:
        assert isinstance(house.clock, SetClock)
        now = house.clock.move(seconds)
        for each in callers:
            uses.note_refusal(await authenticate(house.database, f"Bearer {each.key}".encode(), now), THERE, now)
        await uses.write()
        return [act[2] for act in await acts(behind, "api_key.refused")]

    assert await refuse(0, caller, caller) == [mine]
    assert await refuse(3_599, caller, another) == [mine, other]
    assert await refuse(2, caller, another) == [mine, other, mine]


async def test_e9_a_change_keeps_the_seal_of_a_key_and_gives_none(behind: Served) -> None:
    house, pool = behind.house, behind.house.database.pool

    async def sealed(key_id: KeyId) -> bool:
        async with house.database.transaction() as tx:
            return await is_sealed(tx, house.seal, Sealed.KEY, key_id)

    key_id, _ = await make(behind)
    before = await pool.fetchval("select seal from api_keys where id = $1", key_id)
    await bind(behind, key_id, HERE)
    assert await sealed(key_id)
    await pool.execute("update api_keys set allowed_from = '{}' where id = $1", key_id)
    assert not await sealed(key_id)  # as it was typed into the database
    await bind(behind, key_id, THERE)
    assert not await sealed(key_id)
    other, _ = await make(behind, HERE)
    assert await sealed(other)
    await bind(behind, other)
    assert await sealed(other)
    former = house.seal.of_row("api_keys", *await _parts(house, key_id))
    assert before == former  # a key that is bound to nothing has the seal of the version before


async def _parts(house: House, key_id: KeyId) -> list[str]:
    row = await house.database.pool.fetchrow("select * from api_keys where id = $1", key_id)
    assert row is not None
    scopes = " ".join(sorted(row["scopes"]))
    return [row["id"], row["store_id"], row["hash"].hex(), scopes, row["created_at"].isoformat()]
