"""Real parts for every test: one PostgreSQL for the whole run, and a database of its own for each test."""

import asyncio
import ctypes
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4
from zlib import crc32

import asyncpg
import pytest
import wallycore  # noqa: F401  # loaded here, for what is done to it below
from hypothesis import HealthCheck, Phase, settings

from kassa.command import forget_what_is_not_for_us
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from tests.examples import TIMES
from tests.sizes import FULL

pytest_plugins = ["tests.nodes"]

# A busy machine draws examples slowly; that says nothing about the code.
settings.register_profile(
    "kassa", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100 * TIMES
)
settings.load_profile("kassa")
# A hundred times as many, for a night: `pytest tests/rules/test_money.py --hypothesis-profile thorough`.
settings.register_profile("thorough", parent=settings.get_profile("kassa"), max_examples=10_000)
# Few examples, the same for every mutant: what only a hundred random ones can tell is not told by an example yet.
settings.register_profile(
    "mutants",
    parent=settings.get_profile("kassa"),
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the thorough profile all the time it takes, and much to what is played in the catalogue's own size.

    A test that is ended by its limit while an example is drawn looks like one whose examples depend on something else
    (`FlakyStrategyDefinition`): Hypothesis tries the same choices again and gets further.
    """
    if config.getoption("--hypothesis-profile") == "thorough":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
    for item in items:
        if FULL and item.get_closest_marker("catalogue") is not None:
            item.add_marker(pytest.mark.timeout(3 * 3600), append=False)


def pytest_collection_finish() -> None:
    """Nest no deeper than the program does: a library of the tests raises the limit beyond what the stack holds."""
    sys.setrecursionlimit(1_000)


ROOT = Path(__file__).parent.parent
forget_what_is_not_for_us(os.environ)  # as the program does
# A proxy that the machine needs for its downloads is not asked for what a test serves.
os.environ |= {name: f"{os.environ.get(name, '')},127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")}
_OURS = f"{os.getuid()}-{crc32(str(ROOT).encode()):08x}"

# A pytest that starts closes the folder of all temporary ones to everybody else: also to an embedded PostgreSQL that
# another run has below it, and that works under an account of its own. Every working copy has a folder for itself.
_temporary = Path(tempfile.gettempdir()) / f"kassa-tests-{_OURS}"
_temporary.mkdir(exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_temporary))

# What wallycore keeps for its types is freed late in the interpreter's end, when freeing it crashes the interpreter and
# turns a run in which every test passed into exit status 139. A reference of our own keeps it from being freed.
for _module in [module for name, module in sys.modules.items() if name.startswith("swig_runtime_data")]:
    for _value in vars(_module).values():
        if type(_value).__name__ == "PyCapsule":
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(_value))


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
    """The URL of a real PostgreSQL: KASSA_TEST_DATABASE_URL if set, else the embedded server, in memory if possible."""
    url = os.environ.get("KASSA_TEST_DATABASE_URL")
    if url is None:
        memory = Path("/dev/shm")
        # A database for each test: on a disk that is half a second of copying, in memory 15 ms.
        parent = memory if memory.is_dir() else ROOT / ".cache"
        data = parent / f"kassa-test-{_OURS}"
        data.mkdir(parents=True, exist_ok=True)
        server = embedded.start(data)
        # No test pulls the plug of this server; that the embedded one is durable is tested on a server of its own.
        asyncio.run(_execute(server.url, "alter system set fsync = off"))
        asyncio.run(_execute(server.url, "alter system set full_page_writes = off"))
        asyncio.run(_execute(server.url, "select pg_reload_conf()"))
        yield server.url
        server.close()
        return
    yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """A migrated database, copied for each test (15 ms instead of a whole migration)."""
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
    asyncio.run(_execute(postgres_url, f"create database {name} template {template} strategy file_copy"))
    yield _database(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, opened."""
    opened = await Database.open(database_url, name="tests of kassa")  # not a Kassa that runs, and stops no renewal
    yield opened
    await opened.close()
