"""Migrations on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import kassa.db.migrate as migrations
from kassa.core.errors import DatabaseError
from kassa.db.migrate import migrate
from kassa.db.pool import Database

Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]
LATE = "0165_node_words.sql"


async def test_a_second_run_applies_nothing(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await migrate(connection) == []
    await connection.close()


async def test_a_migration_waits_for_another_however_impatient_its_connection(database_url: str) -> None:
    first = await asyncpg.connect(database_url)
    await first.execute("select pg_advisory_lock($1)", 0x6B61737361)
    second = await asyncpg.connect(database_url, command_timeout=1)  # of which each statement of its own takes little
    waiting = asyncio.create_task(migrate(second))
    done, _ = await asyncio.wait([waiting], timeout=2)
    await first.close()

    assert not done
    assert await waiting == []
    await second.close()


async def test_a_user_who_may_not_make_tables_is_told_what_to_do(postgres_url: str) -> None:
    # As PostgreSQL 15 and newer are by default: nobody but the owner makes tables in a database.
    name = f"kassa_poor_{uuid4().hex[:12]}"
    owner = await asyncpg.connect(postgres_url)
    await owner.execute(f"create role {name}")
    await owner.execute(f"create database {name}")
    poor = await asyncpg.connect(postgres_url, database=name)
    await poor.execute(f"set role {name}")
    try:
        with pytest.raises(DatabaseError, match="grant create on schema public"):
            await migrate(poor)
    finally:
        await poor.close()
        await owner.execute(f"drop database {name}")
        await owner.execute(f"drop role {name}")
        await owner.close()


async def test_a_changed_migration_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update migrations set sha256 = 'other'")
    with pytest.raises(DatabaseError, match="0001_foundation"):
        await migrate(connection)
    await connection.close()


async def test_a_newer_database_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("insert into migrations (name, sha256) values ('9999_later.sql', '')")
    with pytest.raises(DatabaseError, match=r"9999_later"):
        await migrate(connection)
    await connection.close()


@pytest.fixture
async def behind(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """A database that lacks a migration of the table `networks`, and whoever connects to it."""
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    monkeypatch.setattr(migrations, "PAUSE_SECONDS", 1)
    opened = []

    async def connect() -> "asyncpg.Connection[Any]":
        opened.append(await asyncpg.connect(database_url))
        return opened[-1]

    first = await connect()
    await first.execute("alter table networks drop column node_warning, drop column node_outdated")
    await first.execute("delete from migrations where name = $1", LATE)
    yield connect
    for each in opened:
        await each.close()


async def test_a_migration_behind_a_backup_lets_everybody_else_through(behind: Connect) -> None:
    backup, migrating, serving = await behind(), await behind(), await behind()
    reading = backup.transaction()
    await reading.start()
    await backup.fetch("select * from networks")  # as pg_dump does, for as long as it runs
    work = asyncio.create_task(migrate(migrating))
    for _ in range(2):
        await until_waiting(serving, migrating)
        # As long as the backup runs, if nobody is let through before it ends.
        await serving.fetch("select * from networks", timeout=20)
    assert not work.done()
    await reading.rollback()
    assert await work == [LATE]


async def test_a_migration_that_gets_no_lock_says_who_has_it(behind: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "TRIES_SECONDS", 0)
    backup, migrating, other = await behind(), await behind(), await behind()
    await migrating.execute("select pg_advisory_lock($1)", migrations._LOCK)
    waiting = asyncio.create_task(migrate(other))  # as every role does that starts beside it
    asking = f"select query like '%try_advisory%' from pg_stat_activity where pid = {other.get_server_pid()}"
    async with asyncio.timeout(20):
        while not await migrating.fetchval(asking):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await backup.execute("set application_name = 'pg_dump'")
    async with backup.transaction():
        await backup.fetch("select * from networks")
        with pytest.raises(DatabaseError, match=rf"{LATE} .*process {backup.get_server_pid()} .*\(pg_dump"):
            await migrate(migrating)
    assert await migrate(migrating) == [LATE]
    await migrating.execute("select pg_advisory_unlock($1)", migrations._LOCK)
    assert await waiting == []


async def test_a_migration_that_waits_in_a_ring_lets_go_and_tries_again(
    behind: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 30)
    known = migrations._migrations() | {"9000_two_tables.sql": "lock table networks; lock table stores"}
    monkeypatch.setattr(migrations, "_migrations", lambda: known)
    serving, migrating, seeing = await behind(), await behind(), await behind()
    # Who has waited for so long looks for a ring, once, and is the one that lets go.
    await migrating.execute("set deadlock_timeout = '3s'")
    await serving.execute("set deadlock_timeout = '60s'")
    async with serving.transaction():
        await serving.fetch("select * from stores")
        work = asyncio.create_task(migrate(migrating))
        await until_waiting(seeing, migrating)
        await serving.fetch("select * from networks")  # in the other order
    assert await work == [LATE, "9000_two_tables.sql"]


async def until_waiting(seeing: "asyncpg.Connection[Any]", who: "asyncpg.Connection[Any]") -> None:
    async with asyncio.timeout(20):
        while not await seeing.fetchval("select cardinality(pg_blocking_pids($1))", who.get_server_pid()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


INDEXES = "0216_payments_found.sql"
_BUILDING = """select pid from pg_stat_progress_create_index
    where datname = current_database() and phase = 'waiting for writers before build'"""
"""Who has made an index known and waits with its build; one that is only about to leaves nothing behind."""


@pytest.fixture
async def without_indexes(database_url: str) -> AsyncIterator[Connect]:
    """Connect to a database that lacks a migration of indexes alone."""
    made: list[asyncpg.Connection[Any]] = []

    async def connect() -> "asyncpg.Connection[Any]":
        made.append(await asyncpg.connect(database_url))
        return made[-1]

    first = await connect()
    await first.execute(
        f"drop index payments_status, payments_asset, payments_seen; delete from migrations where name = '{INDEXES}'"
    )
    yield connect
    for connection in made:
        connection.terminate()


async def until_building(seeing: "asyncpg.Connection[Any]") -> int:
    async with asyncio.timeout(30):
        while not (pid := await seeing.fetchval(_BUILDING)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return int(pid)


async def of_indexes(seeing: "asyncpg.Connection[Any]") -> list[tuple[str, bool]]:
    return [tuple(row) for row in await seeing.fetch(
        "select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where c.relname in ('payments_asset', 'payments_seen', 'payments_status') order by 1"
    )]  # fmt: skip


WHOLE = [("payments_asset", True), ("payments_seen", True), ("payments_status", True)]


async def test_an_index_is_built_beside_writers_and_what_a_kill_left_of_it_is_built_again(
    without_indexes: Connect,
) -> None:
    writing, seeing, killed = [await without_indexes() for _ in range(3)]
    async with writing.transaction():
        await writing.execute("update payments set units = units")  # the build waits for who began before it
        migrating = asyncio.create_task(migrate(killed))
        pid = await until_building(seeing)
        # Others write meanwhile.
        await seeing.execute("update payments set units = units", timeout=5)
        await seeing.execute("select pg_terminate_backend($1)", pid)
        await asyncio.wait([migrating])
        assert migrating.exception() is not None
        assert await of_indexes(seeing) == [("payments_status", False)]

    assert await migrate(await without_indexes()) == [INDEXES]
    assert await of_indexes(seeing) == WHOLE
    assert await migrate(await without_indexes()) == []


async def test_two_that_start_at_once_build_indexes_once(without_indexes: Connect) -> None:
    writing, seeing, one, two = [await without_indexes() for _ in range(4)]
    async with writing.transaction():
        await writing.execute("update payments set units = units")
        both = [asyncio.create_task(migrate(connection)) for connection in (one, two)]
        await until_building(seeing)
        await asyncio.sleep(1.5)  # longer than a deadlock takes to be found

    assert sorted([await each for each in both]) == [[], [INDEXES]]
    assert await of_indexes(seeing) == WHOLE
    assert await seeing.fetchval("select deadlocks from pg_stat_database where datname = current_database()") == 0


async def test_the_books_refuse_change(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("alter table entries drop constraint entries_payment_id_fkey")
        await tx.execute("insert into entries (payment_id, reason, booked_at) values ('pay_x', 'test', now())")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        async with database.transaction() as tx:
            await tx.execute("update entries set reason = 'other'")
