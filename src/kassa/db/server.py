"""Can the books be trusted to this PostgreSQL: reached, new enough, and not told to forget what it committed?"""

import ssl
from typing import Any

import asyncpg

from kassa.core.errors import DatabaseError
from kassa.db.pool import Database

MIN_VERSION = 14
_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_STRONGER = {"synchronous_commit": ("on", "remote_write", "remote_apply", "local")}
_REFUSALS = (
    OSError,  # includes TimeoutError and every "connection refused"
    ssl.SSLError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def open_database(url: str, *, connections: int = 10, name: str = "kassa") -> Database:
    """Open a pool on a server of a supported version; raises `DatabaseError` with the remedy without the password."""
    try:
        database = await Database.open(url, connections=connections, name=name)
    except _REFUSALS as fault:
        raise DatabaseError(f"the database cannot be reached: {_reason(fault)}; check database_url") from None
    except (ValueError, OverflowError) as fault:
        # Its message may quote the URL.
        raise DatabaseError(f"database_url is not a PostgreSQL URL ({type(fault).__name__})") from None
    try:
        async with database.pool.acquire() as connection:
            check_version(connection.get_server_version().major)
    except BaseException:
        await database.close()
        raise
    return database


def check_version(major: int) -> None:
    """Raise `DatabaseError` when the server is older than what the migrations are written for."""
    if major < MIN_VERSION:
        raise DatabaseError(
            f"the database is PostgreSQL {major} and {MIN_VERSION} or newer is needed: upgrade the server"
        )


async def refuse_running(connection: Any, then: str) -> None:  # a connection
    """Raise `DatabaseError`, which says to stop all and `then` do what was asked for, while another Kassa is connected.

    Whoever connects after the look is not seen: look again once such a one would be refused by what it finds.
    """
    others = await connection.fetchval(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and application_name = 'kassa' and pid <> pg_backend_pid()"
    )
    if others:
        raise DatabaseError(
            f"Kassa is running ({others} connections): stop every process of it, on every machine, then {then}"
        )


async def weak_settings(connection: "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]") -> list[str]:
    """Return the settings, as "fsync = off", with which a commit may be lost or torn by a crash of the machine."""
    rows = await connection.fetch("select name, setting from pg_settings where name = any($1)", list(_DURABLE))
    return [
        f"{row['name']} = {row['setting']}"
        for row in rows
        if row["setting"] not in _STRONGER.get(row["name"], (_DURABLE[row["name"]],))
    ]


def _reason(fault: BaseException) -> str:
    if isinstance(fault, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return "the user or password was refused"
    if isinstance(fault, asyncpg.InvalidCatalogNameError):
        return "it has no database of that name (create it with createdb)"
    return str(fault) or type(fault).__name__
