"""What needs no longer be kept is deleted in bites: however much there is of it, the clock's gate stays open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import kassa.files.store as files
import kassa.limits.store as requests
import kassa.people.session_store as sessions
import kassa.stores.store as stores
from kassa.db.pool import Database
from kassa.files import shelf
from kassa.files.model import make_file
from kassa.house import House
from kassa.limits import limiter
from kassa.people.rules import FORGOTTEN
from kassa.workers.tick import FORGOTTEN_AT_ONCE, KEEP_ANSWERS, tick
from tests.api.conftest import follow
from tests.house import SEAL, SetClock, add_store, build_house
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


BITES = """
create table bites (rows bigint);
create function bite() returns trigger language plpgsql as $$ begin
    insert into bites select count(*) from gone having count(*) > 0;
    return null;
end $$;
create trigger bite after delete on {table} referencing old table as gone for each statement execute function bite()
"""


async def test_request_counts_are_forgotten_in_bites_until_only_new_ones_are_left(
    house: House, clock: SetClock
) -> None:
    pool, now = house.database.pool, clock.now()
    await pool.execute(
        """insert into request_counts select 'key', n::text, $1::timestamptz - least(n, 1) * interval '1 day', 1
           from generate_series(0, $2::int) as n""",
        now, 2 * limiter.FORGOTTEN_AT_ONCE + 1,
    )  # fmt: skip
    await pool.execute(BITES.format(table="request_counts"))
    assert await requests.forget(pool, now, 1) == 1
    async with limiter.Limiter().keeping(house.database, clock):
        await until(lambda: pool.fetchval("select count(*) = 1 from request_counts"), 30)
    bites = [row["rows"] for row in await pool.fetch("select rows from bites")]
    assert bites == [1, limiter.FORGOTTEN_AT_ONCE, limiter.FORGOTTEN_AT_ONCE]


async def test_files_of_pages_are_forgotten_in_bites_until_only_new_ones_are_left(
    house: House, clock: SetClock
) -> None:
    pool, now = house.database.pool, clock.now()
    await pool.execute(
        """insert into page_files select n || '.css', '', '', $1::timestamptz - least(n, 1) * interval '31 days'
           from generate_series(0, $2::int) as n""",
        now, 2 * shelf.FORGOTTEN_AT_ONCE + 1,
    )  # fmt: skip
    await pool.execute(BITES.format(table="page_files"))
    assert await house.database.run(lambda tx: files.forget(tx, now - shelf.KEPT, 1)) == 1
    await shelf.share(house.database, SEAL, [make_file("checkout", "css", b"a{}")], now)
    assert await pool.fetchval("select count(*) from page_files") == 2
    bites = [row["rows"] for row in await pool.fetch("select rows from bites")]
    assert bites == [1, shelf.FORGOTTEN_AT_ONCE, shelf.FORGOTTEN_AT_ONCE]


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
