"""Migrations on a real PostgreSQL."""

import asyncpg
import pytest

from kassa.core.errors import DatabaseError
from kassa.db.migrate import migrate
from kassa.db.pool import Database


async def test_a_second_run_applies_nothing(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await migrate(connection) == []
    await connection.close()


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
