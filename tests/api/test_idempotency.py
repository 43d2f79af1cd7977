"""The same request twice: one piece of work, one answer."""

import asyncio

import pytest

from kassa.stores import store as stores
from tests.api.served import ORDER, Answer, Served, serve, until
from tests.house import add_store
from tests.locks import WAITING

KEY = {"idempotency-key": "order-1001"}


async def _count(served: Served, table: str = "invoices") -> int:
    return int(await served.house.database.pool.fetchval(f"select count(*) from {table}"))


async def test_the_same_request_gets_the_first_answer_byte_for_byte(served: Served) -> None:
    first = await served.all.post("/v1/invoices", ORDER, headers=KEY)
    served.house.clock.move(3600)  # type: ignore[attr-defined]
    second = await served.all.post("/v1/invoices", ORDER, headers=KEY)

    assert (first.status, second.status) == (201, 201)
    assert second.body == first.body
    assert second.headers["idempotent-replayed"] == "true"
    assert await _count(served) == 1
    assert await served.house.database.pool.fetchval("select next_index from keychains") == 1


@pytest.mark.parametrize(
    "change", [{"amount": "49.91"}, {"currency": "USD"}, {"reference": "other"}, {"expires_in": 901}, {"metadata": {}}]
)
async def test_d13_the_same_key_for_another_body_is_refused(served: Served, change: dict[str, object]) -> None:
    await served.all.post("/v1/invoices", ORDER, headers=KEY)

    answer = await served.all.post("/v1/invoices", ORDER | change, headers=KEY)

    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert await _count(served) == 1


async def test_d13_the_same_key_for_another_endpoint_is_refused(served: Served) -> None:
    invoice = (await served.all.post("/v1/invoices", ORDER, headers=KEY)).json

    answer = await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"}, headers=KEY)

    assert (answer.status, answer.code) == (422, "idempotency_key_reused")


async def test_d13_stores_do_not_share_keys(served: Served) -> None:
    async with served.house.database.transaction() as tx:
        store = await add_store(tx, served.house)
    other = await served.key(store=store)

    mine = await served.all.post("/v1/invoices", ORDER, headers=KEY)
    theirs = await other.post("/v1/invoices", ORDER, headers=KEY)

    assert mine.json["id"] != theirs.json["id"]
    assert mine.json["store_id"] != theirs.json["store_id"]


async def test_a_refusal_is_not_kept(served: Served) -> None:
    refused = await served.all.post("/v1/invoices", ORDER | {"amount": "x"}, headers=KEY)
    mended = await served.all.post("/v1/invoices", ORDER, headers=KEY)

    assert (refused.status, mended.status) == (422, 201)
    assert await _count(served) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
async def test_a_key_that_cannot_be_one_is_refused(served: Served, key: str) -> None:
    answer = await served.all.post("/v1/invoices", ORDER, headers={"idempotency-key": key})

    assert (answer.status, answer.fields) == (422, ["Idempotency-Key"])


async def test_d12_a_hundred_equal_requests_at_two_servers_make_one_invoice(served: Served) -> None:
    async with serve(served.house, served.store) as second:
        callers = [served.all, second.caller(served.all.key)]
        answers = await asyncio.gather(*(callers[n % 2].post("/v1/invoices", ORDER, headers=KEY) for n in range(100)))
        # Who was told that it is still running asks again, as the answer says.
        settled = [
            answer if answer.status == 201 else await served.all.post("/v1/invoices", ORDER, headers=KEY)
            for answer in answers
        ]

    assert {answer.status for answer in answers} <= {201, 409}
    assert {answer.code for answer in answers if answer.status == 409} <= {"idempotency_in_progress"}
    assert len({(answer.status, answer.body) for answer in settled}) == 1
    assert await _count(served) == 1
    assert await _count(served, "events") == 1
    # The second of two equal requests in one process waits before it takes an index.
    assert await served.house.database.pool.fetchval("select next_index from keychains") <= 2


async def _orders(served: Served, keys: list[str]) -> list[Answer]:
    asked = [served.all.post("/v1/invoices", ORDER, headers={"idempotency-key": key}) for key in keys]
    return await asyncio.gather(*asked)


async def test_orders_of_one_moment_are_committed_with_their_answers(served: Served) -> None:
    keys = [f"order-{n}" for n in range(40)]
    first = await _orders(served, keys)
    commits = await served.house.database.pool.fetch(
        "select array_agg(key) as keys, (select count(*) from invoices i where i.xmin = k.xmin) as invoices"
        " from idempotency_keys k group by xmin"
    )
    assert {answer.status for answer in first} == {201}
    assert [row["invoices"] for row in commits] == [len(row["keys"]) for row in commits]
    assert len(commits) <= 20
    assert [answer.body for answer in await _orders(served, keys)] == [answer.body for answer in first]


async def test_d12_an_answer_given_elsewhere_meanwhile_spoils_no_order_beside_it(served: Served) -> None:
    pool = served.house.database.pool
    async with served.house.database.transaction() as tx:
        # Another process answers another request with this key, and has not committed yet.
        await tx.execute(
            "insert into idempotency_keys (store_id, key, request_hash, status, body, created_at)"
            " values ($1, 'key-2', '', 201, '', now())",
            served.store.id,
        )
        asked = asyncio.create_task(_orders(served, [f"key-{n}" for n in range(6)]))
        await until(lambda: pool.fetchval(WAITING))
    answers = await asked
    assert [answer.status for answer in answers] == [201, 201, 422, 201, 201, 201]
    assert answers[2].code == "idempotency_key_reused"
    indexes = await pool.fetchval("select array_agg(index order by index) from addresses")
    assert indexes == [*range(await pool.fetchval("select next_index from keychains"))] == [*range(5)]


async def test_a_request_whose_first_never_ends_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.idempotency.WAIT_SECONDS", 0.2)
    async with served.house.database.transaction() as tx:
        await tx.execute("lock table invoices in exclusive mode")
        first = asyncio.create_task(served.all.post("/v1/invoices", ORDER, headers=KEY))
        await until(lambda: served.house.database.pool.fetchval(WAITING))
        second = await served.all.post("/v1/invoices", ORDER, headers=KEY)

    assert (second.status, second.code) == (409, "idempotency_in_progress")
    assert (await first).status == 201
    assert (await served.all.post("/v1/invoices", ORDER, headers=KEY)).body == (await first).body


async def test_kept_answers_are_forgotten_only_when_old(served: Served) -> None:
    await served.all.post("/v1/invoices", ORDER, headers=KEY)

    async with served.house.database.transaction() as tx:
        assert await stores.forget_answers(tx, served.house.clock.now(), 100) == 0
