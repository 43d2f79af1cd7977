"""What needs no longer be kept is deleted in bites: however much there is of it, the clock's gate stays open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import kassa.people.session_store as sessions
import kassa.stores.store as stores
from kassa.db.pool import Database
from kassa.house import House
from kassa.people.rules import FORGOTTEN
from kassa.workers.tick import FORGOTTEN_AT_ONCE, KEEP_ANSWERS, tick
from tests.api.conftest import follow
from tests.house import SetClock, add_store, build_house
from tests.tools.sending import until

OLD = 2 * FORGOTTEN_AT_ONCE + 1
TABLES = ("idempotency_keys", "sessions", "sign_in_tries", "sign_in_places")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def house(database: Database, tmp_path: Path, clock: SetClock) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path, clock=clock)
    await follow(built)
    yield built
    await built.marks.close()


async def fill(house: House, count: int) -> None:
    """Keep so many rows of each table that are old, and one that is not."""
    now, pool = house.clock.now(), house.database.pool
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    ages = """(select n::text as name, $1::timestamptz - least(n, 1) * interval '31 days' as at
               from generate_series(0, $2::int) as n) as kept"""
    await pool.execute(
        f"insert into idempotency_keys select $3, name, 'x', 201, 'x', at from {ages}", now, count, store.id
    )
    await pool.execute(
        f"""insert into sessions (id, hash, stage, created_at, last_seen_at, expires_at, address, agent)
            select name, name::bytea, 'passkey', at, at, at + interval '1 hour', '', '' from {ages}""",
        now, count,
    )  # fmt: skip
    await pool.execute(f"insert into sign_in_tries select name, 1, at, at from {ages}", now, count)
    await pool.execute(f"insert into sign_in_places select name, at from {ages}", now, count)


async def counts(house: House) -> dict[str, int]:
    return {table: await house.database.pool.fetchval(f"select count(*) from {table}") for table in TABLES}


async def test_each_bite_is_bounded_and_takes_only_what_is_old(house: House, clock: SetClock) -> None:
    await fill(house, 5)
    now = clock.now()
    taken = [await house.database.run(lambda tx: stores.forget_answers(tx, now - KEEP_ANSWERS, 3)) for _ in range(3)]
    assert taken == [3, 2, 0]
    assert [await house.database.run(lambda tx: sessions.forget(tx, now, 3)) for _ in range(3)] == [3, 2, 0]
    assert await counts(house) == dict.fromkeys(TABLES, 1)


async def test_a_try_that_somebody_takes_meanwhile_is_not_forgotten_as_an_old_one(
    house: House, clock: SetClock
) -> None:
    mine = {"person": "a@b.example"}
    await house.database.run(lambda tx: sessions.take_try(tx, mine, clock.now()))
    clock.move(FORGOTTEN.total_seconds() + 1)
    async with house.database.transaction() as held:
        await sessions.take_try(held, mine, clock.now())
        async with asyncio.timeout(10):  # nor is it waited for
            assert await house.database.run(lambda tx: sessions.forget(tx, clock.now(), 10)) == 0
    assert await house.database.pool.fetchval("select count(*) from sign_in_tries") == 1


async def test_deadlines_are_noted_before_and_between_the_bites(house: House, clock: SetClock) -> None:
    """By triggers: how many rows one transaction deletes, and what was noted when the first is deleted."""
    await fill(house, OLD)
    pool = house.database.pool
    await pool.execute(
        """create table bites (rows bigint, noted timestamptz, caught_up boolean);
           create function bite() returns trigger language plpgsql as $$ begin
               insert into bites select (select count(*) from gone),
                   (select ended_at from detectors where name = 'deadlines'),
                   not exists (select from restores where caught_up_at is null);
               return null;
           end $$;
           create trigger bite after delete on idempotency_keys
               referencing old table as gone for each statement execute function bite()"""
    )
    looking = asyncio.create_task(tick(house))
    try:
        await until(lambda: pool.fetchval("select exists (select from detectors where name = 'deadlines')"))
        await pool.execute("insert into restores (restored_at, backup_at) values ($1, $1)", clock.now())
        clock.move(601)
        await until(lambda: _only_new(house), 30)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    bites = await pool.fetch("select * from bites where rows > 0")
    assert [row["rows"] for row in bites] == [FORGOTTEN_AT_ONCE, FORGOTTEN_AT_ONCE, 1]
    assert {(row["noted"], row["caught_up"]) for row in bites} == {(clock.now(), True)}


async def _only_new(house: House) -> bool:
    return await counts(house) == dict.fromkeys(TABLES, 1)
