"""What a backup tells of itself, and what is noted about backups and restores."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kassa.core.disks import Room
from kassa.db.migrate import HALF_RESTORED
from kassa.db.pool import Tx

OLD_SCHEMA = "kassa_before_"


@dataclass(frozen=True, slots=True)
class Counter:
    """A keychain: where its counter stood, what it had issued in the week and the day before, and when it was made."""

    space: str
    descriptor: str
    next_index: int
    issued_in_week: int
    issued_in_day: int
    created_at: datetime


async def manifest(connection: Any) -> Mapping[str, Any]:  # a connection; JSON
    """Return what a backup should say of the database: its server, its migrations, its size in bytes, its moment."""
    row = await connection.fetchrow(
        "select current_setting('server_version') as server, pg_database_size(current_database()) as bytes,"
        " clock_timestamp() as at, array(select name from migrations order by name) as migrations"
    )
    return dict(row)


async def counters(connection: Any, at: datetime) -> list[Counter]:  # a connection
    """Return every keychain's counter, with its pace before a moment."""
    rows = await connection.fetch(
        """select k.space, k.descriptor, k.next_index, count(distinct a.index) as week,
               count(distinct a.index) filter (where a.created_at > $1::timestamptz - interval '1 day') as day,
               k.created_at
           from keychains k
           left join addresses a on a.keychain_id = k.id and a.created_at > $1::timestamptz - interval '7 days'
           group by k.id order by k.id""",
        at,
    )
    return [Counter(*row.values()) for row in rows]


async def active_wallets(connection: Any) -> list[Mapping[str, Any]]:  # a connection
    """Return every wallet that issues addresses: its id, store, network and fingerprint."""
    found: list[Mapping[str, Any]] = await connection.fetch(
        "select w.id, w.store_id, w.network, k.fingerprint from wallets w join keychains k on k.id = w.keychain_id"
        " where w.retired_at is null order by w.store_id, w.id"
    )
    return found


async def note_backup(tx: Tx, at: datetime, size: int, digest: str, host: str, room: Room) -> None:
    """Note that a backup was made and verified, and what room there is left for the next one."""
    await tx.execute(
        """insert into backups (made_at, bytes, sha256, host, folder, free_bytes) values ($1, $2, $3, $4, $5, $6)""",
        at,
        size,
        digest,
        host,
        str(room.folder),
        room.free_bytes,
    )


async def note_restore(tx: Tx, at: datetime, backup_at: datetime) -> None:
    """Note that the database became that of a backup: what it sends from now on may have been sent before."""
    await tx.execute("insert into restores (restored_at, backup_at) values ($1, $2)", at, backup_at)


async def is_empty(connection: Any) -> bool:  # a connection
    """Tell whether no Kassa ever used the database."""
    return await connection.fetchval("select to_regclass('public.migrations')") is None


async def put_aside(connection: Any, at: datetime) -> str:  # a connection
    """Give everything that is there another name, and return it; the database is empty then, and half restored."""
    name = f"{OLD_SCHEMA}{at:%Y%m%d_%H%M%S_%f}"
    async with connection.transaction():
        await connection.execute(f"alter schema public rename to {name}")
        await connection.execute("create schema public")
        await begin(connection)
    return name


async def begin(connection: Any) -> None:  # a connection
    """Note that a restore is under way: until it is finished, nothing starts on what is there."""
    await connection.execute(f"create table if not exists {HALF_RESTORED} ()")


async def finish(connection: Any) -> None:  # a connection
    """Note that a restore came to its end."""
    await connection.execute(f"drop table if exists {HALF_RESTORED}")


async def analyze(connection: Any) -> None:  # a connection
    """Let PostgreSQL look through what was loaded: until it has, it guesses how to find anything in it."""
    tables = await connection.fetchval(
        "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables where schemaname = 'public'"
    )
    await connection.execute(f"analyze {tables}")


async def end_loading(connection: Any, called: str) -> None:  # a connection
    """End what a pg_restore that is gone left at work: until the server notices, it holds locks on what it made."""
    await connection.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where datname = current_database() and application_name = $1",
        called,
    )


async def bring_back(connection: Any, name: str) -> None:  # a connection
    """Undo `put_aside`."""
    async with connection.transaction():
        await connection.execute("drop schema if exists public cascade")
        await connection.execute(f"alter schema {name} rename to public")
