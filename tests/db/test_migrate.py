"""Migrations on a real PostgreSQL."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from kassa.core.errors import DatabaseError
from kassa.db.migrate import migrate
from kassa.db.pool import Database


async def test_a_second_run_applies_nothing(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await migrate(connection) == []
    await connection.close()


async def test_a_migration_waits_for_another_however_impatient_its_connection(database_url: str) -> None:
    first = await asyncpg.connect(database_url)
    await first.execute("select pg_advisory_lock($1)", 0x6B61737361)
    second = await asyncpg.connect(database_url, command_timeout=0.1)
    waiting = asyncio.create_task(migrate(second))
    done, _ = await asyncio.wait([waiting], timeout=0.4)
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


async def test_the_books_refuse_change(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("alter table entries drop constraint entries_payment_id_fkey")
        await tx.execute("insert into entries (payment_id, reason, booked_at) values ('pay_x', 'test', now())")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        async with database.transaction() as tx:
            await tx.execute("update entries set reason = 'other'")
