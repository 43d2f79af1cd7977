"""Forward migrations in plain SQL, each applied once, in the order of their numbers.

Each is one transaction, but for those that only make and drop indexes: these let everybody write meanwhile.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from time import monotonic
from typing import Any

import asyncpg
import structlog

from kassa.core.errors import DatabaseError

_LOCK = 0x6B61737361  # "kassa": one migration at a time, whoever starts first
HALF_RESTORED = "public.half_restored"
"""A table that stands while a restore is under way: what is there may be of any age, and nothing was told of it yet."""
_PATIENCE_SECONDS = 86_400  # a big table takes its time, and so does whoever migrates before us
LOCK_SECONDS = 2
"""For so long a migration waits for a lock of a table: behind it everybody else who wants the table has to wait too."""
PAUSE_SECONDS = 5
TRIES_SECONDS = 900
"""For so long it is tried again, with everybody let through in between, while somebody holds what it needs."""

_ASK_SECONDS = 0.2
_INDEX = re.compile(r"(create index|drop index) (\w+)\b")

log = structlog.get_logger()


async def migrate(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Apply what is missing under an advisory lock and return the names applied.

    Raises `DatabaseError` when an applied migration differs from the file of its name, or is unknown here (the database
    is newer than this program), when the database's user may not make tables, or when somebody else does not let go of
    one: then those before it were applied, and running it again goes on.
    """
    # Asked again and again: whoever waits in the database is waited for by one who builds an index beside writers.
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110  # for a reason
            await asyncio.sleep(_ASK_SECONDS)
    try:
        return await _apply_missing(connection)
    except asyncpg.InsufficientPrivilegeError as fault:
        raise DatabaseError(
            f"the database cannot be migrated: {fault.args[0]}; let its user own the database, or run"
            " `grant create on schema public to <user>` as its owner"
        ) from fault
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK)


async def is_half_restored(connection: "asyncpg.Connection[Any]") -> bool:
    """Tell whether a restore was cut off, or is under way."""
    return await connection.fetchval("select to_regclass($1)", HALF_RESTORED) is not None


async def refuse_half_restored(connection: "asyncpg.Connection[Any]") -> None:
    """Raise `DatabaseError` where a restore was cut off, or is under way."""
    if await is_half_restored(connection):
        raise DatabaseError(
            "a restore did not come to its end here: run it again, with --replace; what was there before is in the"
            " schema kassa_before_…"
        )


async def missing(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Return the names of migrations that this program knows and the database lacks: all of them in an empty one."""
    if await connection.fetchval("select to_regclass('migrations')") is None:
        return list(_migrations())
    applied = set(await applied_names(connection))
    return [name for name in _migrations() if name not in applied]


async def newer(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Return the names of migrations that were applied and that this program does not know."""
    if await connection.fetchval("select to_regclass('migrations')") is None:
        return []
    return [name for name in await applied_names(connection) if name not in _migrations()]


def known_names() -> list[str]:
    """Return the names of the migrations of this program, in their order."""
    return list(_migrations())


async def applied_names(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Return the names of the migrations that were applied, in their order."""
    return [row["name"] for row in await connection.fetch("select name from migrations order by name")]


async def _apply_missing(connection: "asyncpg.Connection[Any]") -> list[str]:
    await connection.execute(
        "create table if not exists migrations"
        " (name text primary key, sha256 text not null, applied_at timestamptz not null default now())"
    )
    applied = {row["name"]: row["sha256"] for row in await connection.fetch("select name, sha256 from migrations")}
    known = _migrations()
    if newer := sorted(applied.keys() - known.keys()):
        raise DatabaseError(f"the database was migrated by a newer Kassa ({newer[-1]}): start that version instead")
    done = []
    for name, text in known.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name in applied:
            if applied[name] != digest:
                raise DatabaseError(f"migration {name} is not the one that was applied: restore the original file")
            continue
        await _apply(connection, name, text, digest)
        done.append(name)
    return done


async def _apply(connection: "asyncpg.Connection[Any]", name: str, text: str, digest: str) -> None:
    began = monotonic()
    while True:
        try:
            if statements := index_statements(text):
                await _apply_beside_writers(connection, name, statements, digest)
                return
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
                await connection.execute(text, timeout=_PATIENCE_SECONDS)
                await connection.execute("insert into migrations (name, sha256) values ($1, $2)", name, digest)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as refused:
            holder = await _holder(connection)
            if monotonic() - began > TRIES_SECONDS:
                raise DatabaseError(
                    f"migration {name} could not get the locks it needs within {TRIES_SECONDS} s: {holder} holds one;"
                    " let it finish (a backup?) or end it, then run `kassa migrate` again; nothing of it was applied"
                ) from refused
            log.warning("a migration waits for a lock and tries again", migration=name, holder=holder)
            await asyncio.sleep(PAUSE_SECONDS)


def index_statements(text: str) -> list[str]:
    """Return the statements of a migration that does nothing but make and drop indexes; nothing of any other."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = [statement.strip() for statement in code.split(";") if statement.strip()]
    return statements if all(map(_INDEX.match, statements)) else []


async def _apply_beside_writers(
    connection: "asyncpg.Connection[Any]", name: str, statements: Sequence[str], digest: str
) -> None:
    """Build and drop indexes one by one: what a kill left done is found done, what it left half done is redone."""
    for statement in statements:
        verb, index = statement.split()[0], statement.split()[2]
        whole = await connection.fetchval(
            "select indisvalid and indisready from pg_index where indexrelid = to_regclass($1)", index
        )
        if verb == "drop" or whole is False:
            await connection.execute(f"drop index concurrently if exists {index}", timeout=_PATIENCE_SECONDS)
        if verb == "create" and not whole:
            built = statement.replace("create index", "create index concurrently", 1)
            await connection.execute(built, timeout=_PATIENCE_SECONDS)
    await connection.execute("insert into migrations (name, sha256) values ($1, $2)", name, digest)


async def _holder(connection: "asyncpg.Connection[Any]") -> str:
    """Name the oldest transaction of others in this database: it is hardly ever another one that is waited for.

    Nobody waits for a program that waits to migrate.
    """
    oldest = await connection.fetchrow(
        "select pid, application_name as name, extract(epoch from now() - xact_start)::int as age from pg_stat_activity"
        " where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()"
        " and wait_event is distinct from 'advisory' order by xact_start limit 1"
    )
    if oldest is None:
        return "a transaction that is over by now"
    return f"process {oldest['pid']} of the database ({oldest['name'] or 'nameless'}, for {oldest['age']} s)"


def _migrations() -> dict[str, str]:
    folder = files("kassa.db") / "migrations"
    found = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    return {item.name: item.read_text("utf-8") for item in sorted(found, key=lambda item: item.name)}
