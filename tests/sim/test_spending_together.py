"""Spends of one moment share a transaction, and nothing else: each is decided by itself, and none waits for another."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.api.endpoint import Call
from kassa.api.routes.invoices import ENDPOINTS
from kassa.api.serving import Asked, Desk, body_decoder
from kassa.core.errors import Conflict, NotFound, Rejected
from kassa.db.pool import Database
from tests.locks import WAITING
from tests.sim.accounts import silent
from tests.sim.test_credit import buying, deposit, purse
from tests.sim.toychain import ASSET
from tests.sim.world import World, new_world

ALL = {"asset": ASSET}
PAY = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "pay_from_credit")
UNKNOWN = "inv_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """A customer of the first store has settled credit of 250,000 units."""
    async with new_world(database, tmp_path / "house") as made:
        await deposit(made, 250_000)
        for _ in range(5):
            made.chain.mine()
        await made.step()
        yield made


async def spend(world: World, invoice: str, amount: str | None = None, store: int = 0) -> dict[str, Any]:
    now = world.clock.now()
    return await flow.pay_from_credit(None, world.house, world.stores[store], invoice, ASSET, amount, "sim", now)


async def ask(
    world: World, desk: Desk, invoice: str, key: str, body: Mapping[str, str], taker: str = "key"
) -> dict[str, Any]:
    """Spend as a caller of the API does who sends an `Idempotency-Key`."""

    async def read() -> bytes:
        return json.dumps(body).encode()

    path, types = PAY.path.replace("{id}", invoice), {b"content-type": b"application/json"}
    call = Call(world.house, world.stores[0], taker, world.clock.now(), id=invoice)
    reply = await desk.ask(Asked(PAY, body_decoder(PAY), path, b"", types, read, key), call, frozenset({PAY.access}))
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


async def made(world: World) -> tuple[int, int]:
    """Return how many spends there are, and how many transactions wrote them."""
    row = await world.house.database.pool.fetchrow("select count(*), count(distinct xmin::text) from spends")
    return row[0], row[1]


def said(outcome: dict[str, Any] | BaseException) -> str:
    if isinstance(outcome, Rejected):
        return outcome.code
    assert isinstance(outcome, dict), outcome
    return str(outcome["status"])


async def test_spends_of_one_moment_are_decided_each_by_itself_and_written_together(world: World) -> None:
    ids = [(await buying(world))["id"] for _ in range(4)]
    nobodys = await world.invoice("50.00", 0, 900, None)
    assert nobodys is not None
    asked = [(ids[0], None), (nobodys["id"], None), (ids[1], None), (UNKNOWN, None), (ids[2], None), (ids[3], "0.0004")]
    outcomes = await asyncio.gather(
        *(spend(world, *each) for each in asked), spend(world, ids[0]), return_exceptions=True
    )
    assert [said(each) for each in outcomes] == [
        "settled", "no_customer", "settled", "not_found", "insufficient_credit", "new", "invoice_not_payable",
    ]  # fmt: skip
    assert await purse(world) == (10_000, 0)
    assert await made(world) == (3, 1)
    assert not any(check.failures for check in (await flow.verify(world.house, silent)).checks)
    assert isinstance(outcomes[0], dict)
    assert outcomes[0] == await world.shown(outcomes[0])


async def test_an_invoice_that_somebody_is_busy_with_keeps_no_other_waiting(world: World) -> None:
    busy, other = [(await buying(world))["id"] for _ in range(2)]
    async with world.house.database.transaction() as tx:
        await tx.execute("select from invoices where id = $1 for no key update", busy)
        waiting = asyncio.create_task(spend(world, busy))
        async with asyncio.timeout(10):
            assert said(await spend(world, other)) == "settled"
        assert not waiting.done()
    assert said(await waiting) == "settled"


async def test_a_customer_whose_credit_somebody_holds_keeps_no_other_waiting(world: World) -> None:
    await deposit(world, 250_000, store=1)
    for _ in range(5):
        world.chain.mine()
    await world.step()
    busy, other = (await buying(world))["id"], (await buying(world, store=1))["id"]
    async with world.house.database.transaction() as tx:
        await tx.execute("select from customer_balances where customer_id = $1 for update", world.customers[0][0][0])
        waiting = asyncio.create_task(spend(world, busy))
        async with asyncio.timeout(20):
            while not await world.house.database.pool.fetchval(WAITING):  # noqa: ASYNC110 rows tell nobody
                await asyncio.sleep(0.01)
            assert said(await spend(world, other, store=1)) == "settled"
        assert not waiting.done()
    assert said(await waiting) == "settled"


async def test_d12_a_key_that_another_process_is_using_keeps_no_other_waiting(world: World) -> None:
    busy, other = [(await buying(world))["id"] for _ in range(2)]
    desk, elsewhere = Desk(world.house), await world.house.database.pool.acquire()
    part = ALL | {"amount": "0.0002"}
    try:
        transaction = elsewhere.transaction()
        await transaction.start()
        await elsewhere.execute(
            "insert into idempotency_keys select * from jsonb_populate_record(null::idempotency_keys, $1)",
            json.dumps(await _kept_of(world, desk, "other", "busy")),
        )
        asked = [asyncio.create_task(ask(world, desk, *each)) for each in [(busy, "busy", part), (other, "own", part)]]
        async with asyncio.timeout(20):
            assert said(await asked[1]) == "new"
        assert not asked[0].done()
        await transaction.rollback()
    finally:
        await world.house.database.pool.release(elsewhere)
    assert said(await asked[0]) == "new"


async def _kept_of(world: World, desk: Desk, key: str, name: str) -> dict[str, Any]:
    """Return the row that an answer under a key leaves, as it would be under another name."""
    invoice = (await buying(world))["id"]
    await ask(world, desk, invoice, key, ALL | {"amount": "0.0001"})
    row = await world.house.database.pool.fetchval("select to_jsonb(k) from idempotency_keys k where key = $1", key)
    return json.loads(row) | {"key": name}


async def test_d21_credit_that_others_take_meanwhile_is_spent_as_far_as_it_goes(world: World) -> None:
    ids = [(await buying(world))["id"] for _ in range(2)]
    pool = world.house.database.pool
    async with world.house.database.transaction() as tx:
        await tx.execute("update customer_balances set units = units - 130000")
        together = [asyncio.create_task(spend(world, id_)) for id_ in ids]
        async with asyncio.timeout(10):
            while not await pool.fetchval(WAITING):  # noqa: ASYNC110 rows tell nobody
                await asyncio.sleep(0.01)
    outcomes = await asyncio.gather(*together, return_exceptions=True)
    assert sorted(said(each) for each in outcomes) == ["insufficient_credit", "settled"]
    assert await purse(world) == (20_000, 0)


async def test_one_that_cannot_be_read_is_refused_alone(world: World) -> None:
    whole, broken = [(await buying(world))["id"] for _ in range(2)]
    pool = world.house.database.pool
    await pool.execute("update payment_options set rate = 'nothing' where invoice_id = $1", broken)
    told, fault = await asyncio.gather(spend(world, whole), spend(world, broken), return_exceptions=True)
    assert said(told) == "settled"
    assert isinstance(fault, ValueError)
    assert not isinstance(fault, Conflict | NotFound)


async def test_d12_spends_with_keys_are_written_together_with_their_answers(world: World) -> None:
    ids = [(await buying(world))["id"] for _ in range(3)]
    desk = Desk(world.house)
    part = ALL | {"amount": "0.0004"}
    asked = [(ids[0], "a", ALL), (UNKNOWN, "b", ALL), (ids[1], "c", part), (ids[2], "d", ALL)]
    outcomes = await asyncio.gather(*(ask(world, desk, *each) for each in asked), return_exceptions=True)
    assert [said(each) for each in outcomes] == ["settled", "not_found", "new", "settled"]
    assert await made(world) == (3, 1)
    wrote = (
        "select count(distinct xmin::text) from (select xmin from spends union all select xmin from idempotency_keys) s"
    )
    assert await world.house.database.pool.fetchval(wrote) == 1

    again = await asyncio.gather(*(ask(world, desk, *each) for each in asked), return_exceptions=True)
    assert [again[0], again[2], again[3]] == [outcomes[0], outcomes[2], outcomes[3]]
    assert said(again[1]) == "not_found"
    assert await made(world) == (3, 1)
    assert await purse(world) == (10_000, 0)


async def test_d12_one_key_at_two_servers_pays_once_and_both_get_its_answer(world: World) -> None:
    ids = [(await buying(world))["id"] for _ in range(2)]
    desks = [Desk(world.house) for _ in range(2)]
    part = ALL | {"amount": "0.0002"}
    outcomes = await asyncio.gather(
        *(ask(world, desk, ids[0], "whole", ALL) for desk in desks),
        *(ask(world, desk, ids[1], "part", part) for desk in desks),
    )
    assert [each["status"] for each in outcomes] == ["settled", "settled", "new", "new"]
    assert outcomes[0] == outcomes[1]
    assert outcomes[2] == outcomes[3]
    assert await made(world) == (2, 1)
    assert await purse(world) == (130_000, 0)


async def test_d13_a_key_that_names_two_bodies_at_two_servers_does_one_of_them_and_keeps_no_other(world: World) -> None:
    ids = [(await buying(world))["id"] for _ in range(3)]
    desks = [Desk(world.house) for _ in range(2)]
    outcomes = await asyncio.gather(
        ask(world, desks[0], ids[0], "same", ALL),
        ask(world, desks[1], ids[1], "same", ALL),
        ask(world, desks[0], ids[2], "own", ALL | {"amount": "0.0004"}),
        return_exceptions=True,
    )
    assert sorted(said(each) for each in outcomes[:2]) == ["idempotency_key_reused", "settled"]
    assert said(outcomes[2]) == "new"
    assert (await made(world))[0] == 2
    assert await purse(world) == (110_000, 0)
    assert not any(check.failures for check in (await flow.verify(world.house, silent)).checks)
