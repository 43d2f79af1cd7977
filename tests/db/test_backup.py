"""D26: a backup is whole or absent, opens for one key, and a restored database repeats nothing in silence."""

import asyncio
import fcntl
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pyrage
import pytest

from kassa.backup import archive, make, programs, store
from kassa.backup.reach import Reach
from kassa.backup.restore import Wish, restore
from kassa.backup.rules import Pace, chosen, outdated, skipped
from kassa.backup.store import Counter
from kassa.core.clock import SystemClock
from kassa.core.disks import rooms
from kassa.core.errors import BackupError, DatabaseError, SettingsError
from kassa.core.files import write_whole
from kassa.core.secret import Secret
from kassa.db.embedded import BINARIES
from kassa.db.life import Lives
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.main import open_books
from kassa.settings import Settings
from kassa.settings.model import Backup
from kassa.wallets.mark import Mark, raise_marks, read_marks
from kassa.wallets.seal import Seal
from tests.api.served import until
from tests.e2e.program import KASSA
from tests.house import SetClock, add_store, build_house

KEY = pyrage.x25519.Identity.generate()


def quiet(_done: int) -> None:
    pass


class Place:
    """An installation with one store, and a folder for its backups."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.settings = Settings(database_url=Secret(url), data_dir=folder / "data")
        self.identity = folder / "key.txt"
        self.identity.write_text(f"# made for a test\n{KEY}\n")

    async def backup(self, name: str = "kassa.age", key: object = KEY.to_public()) -> Path:
        told = await make.backup(self.settings, None, self.folder / name, [str(key)], quiet)
        return Path(told["file"])

    async def run(self, statements: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    async def holds(self, query: str) -> bool:
        return bool(await self.ask(query))

    async def meet(self, who: Callable[[Any], Awaitable[None]]) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await who(connection)
        finally:
            await connection.close()

    async def ask(self, query: str) -> object:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


@pytest.fixture
async def place(database_url: str, tmp_path: Path) -> Place:
    return await settled(database_url, tmp_path)


async def settled(url: str, folder: Path) -> Place:
    """Make an installation with one store in a database that is migrated."""
    database = await Database.open(url)
    try:
        house = await build_house(database, folder / "data")
        async with database.transaction() as tx:
            await add_store(tx, house)
        await house.marks.close()
    finally:
        await database.close()
    return Place(url, folder)


async def test_what_was_backed_up_comes_back_and_what_came_later_is_put_aside(place: Place) -> None:
    file = await place.backup()
    await place.ask("update stores set name = 'later' returning 1")
    told = await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    assert await place.ask("select name from stores") != "later"
    assert await place.ask(f"select name from {told['put_aside']}.stores") == "later"
    assert await place.ask("select count(*) from restores where caught_up_at is null") == 1
    assert await place.ask("select count(*) from acts where kind = 'database.restored'") == 1


async def test_a_backup_on_the_volume_of_data_dir_is_noted_by_that_folder_which_is_looked_at(place: Place) -> None:
    await place.backup()
    [looked_at] = rooms([place.settings.data_dir])
    assert await place.ask("select folder from backups") == str(looked_at.folder)


async def test_what_was_restored_has_statistics_before_anything_starts_on_it(place: Place) -> None:
    known = "select exists (select from pg_stats where schemaname = 'public' and tablename = 'migrations')"
    await place.run("alter table migrations set (autovacuum_enabled = false)")  # which looks through it within minutes
    backup = await place.backup()
    await restore(place.settings, Wish(backup, place.identity, replace=True), quiet)
    assert await place.holds(known)


@pytest.mark.parametrize("replaced", [True, False])
async def test_what_an_administrator_added_stops_no_restore(
    postgres_url: str, database_url: str, tmp_path: Path, replaced: bool
) -> None:
    # As an ordinary role, which may neither drop nor make extensions and publications of all tables.
    role = f"kassa_shop_{uuid4().hex[:12]}"
    names = [f"{role}_{n}" for n in range(1 if replaced else 2)]
    administrator = await asyncpg.connect(postgres_url)
    await administrator.execute(f"create role {role} login password 'p'")
    try:
        for name in names:
            await administrator.execute(f"create database {name} owner {role}")
        parts = urlsplit(database_url)
        user = f"{role}:p@{parts.netloc.rpartition('@')[2]}"
        urls = [urlunsplit(parts._replace(netloc=user, path=f"/{name}")) for name in names]
        theirs = await asyncpg.connect(urls[0])
        await migrate(theirs)
        await theirs.close()
        added = await asyncpg.connect(postgres_url, database=names[0])
        await added.execute("create extension vector")
        await added.execute("create publication reports for all tables")
        await added.close()
        first, other = await settled(urls[0], tmp_path), Place(urls[-1], tmp_path)
        file = await first.backup()

        await restore(other.settings, Wish(file, first.identity, replace=replaced), quiet)

        assert await other.ask("select count(*) from acts where kind = 'database.restored'") == 1
    finally:
        for name in names:
            await administrator.execute(f"drop database {name} with (force)")
        await administrator.execute(f"drop role {role}")
        await administrator.close()


async def test_a_backup_says_nothing_without_its_key_and_appears_only_whole(place: Place) -> None:
    file = await place.backup()
    assert file.stat().st_mode & 0o077 == 0
    assert b"wpkh" not in file.read_bytes()
    assert [path.name for path in place.folder.glob("*.partial")] == []
    with pytest.raises(BackupError, match="decrypted"):
        archive.read(file, [pyrage.x25519.Identity.generate()], None, quiet)
    with pytest.raises(BackupError, match="overwritten"):
        await place.backup()


async def test_a_dump_that_lost_its_end_is_no_backup(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worn = place.folder / "worn"
    worn.mkdir()
    (worn / "pg_restore").symlink_to(BINARIES / "pg_restore")
    real, dump = BINARIES / "pg_dump", worn / "pg_dump"
    dump.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {real} "$1"\n{real} "$@" | head -c -1000\n')
    dump.chmod(0o700)
    monkeypatch.setattr("kassa.backup.programs.BINARIES", worn)
    with pytest.raises(DatabaseError, match="reading the backup back failed"):
        await place.backup()
    assert list(place.folder.glob("*.age*")) == []
    assert await place.ask("select count(*) from backups") == 0


async def test_a_database_in_use_is_not_replaced_unasked(place: Place) -> None:
    file = await place.backup()
    with pytest.raises(DatabaseError, match="--replace"):
        await restore(place.settings, Wish(file, place.identity), quiet)
    running = await Database.open(place.url)
    try:
        with pytest.raises(DatabaseError, match="is running"):
            await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    finally:
        await running.close()


async def test_d26_a_restore_begins_another_life_of_the_database(place: Place) -> None:
    file = await place.backup()
    lives = [Lives(), Lives()]
    for held in lives:
        await place.meet(held.hold)
        await place.meet(held.check)
        await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
        with pytest.raises(ConnectionError, match="was restored"):
            await place.meet(held.check)
        assert held.over.is_set()


async def test_d26_nobody_gets_in_between_the_look_and_the_restore(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await place.backup()
    asked, late = store.is_empty, Database.open

    async def meanwhile(connection: object) -> bool:
        opened.append(await late(place.url))
        return await asked(connection)

    opened: list[Database] = []
    monkeypatch.setattr("kassa.backup.store.is_empty", meanwhile)
    with pytest.raises(DatabaseError, match="is running"):
        await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    assert await opened[0].pool.fetchval("select count(*) from stores") == 1  # all is as it was
    await opened[0].close()


@pytest.mark.parametrize("cut", [100, 5_000, 40_000])
async def test_a_damaged_backup_changes_nothing(place: Place, cut: int) -> None:
    file = await place.backup()
    whole = file.read_bytes()
    assert len(whole) > 50_000
    file.write_bytes(whole[:-cut])
    await place.ask("update stores set name = 'now' returning 1")
    with pytest.raises((BackupError, DatabaseError)):
        await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    assert await place.ask("select name from stores") == "now"


_REFUSE_TABLES = """
create function refuse() returns event_trigger language plpgsql as $$ begin
    if current_query() not like '%half_restored%' then raise exception 'no tables today'; end if;
end $$;
create event trigger refuse on ddl_command_start when tag in ('CREATE TABLE') execute function refuse();
"""
_REFUSE = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no restore today'; end $$;
create trigger refuse before insert on restores for each row execute function refuse();
"""


@pytest.mark.parametrize("replace", [True, False])
async def test_d26_a_restore_that_fails_at_its_very_end_leaves_what_was_there(place: Place, replace: bool) -> None:
    await place.run(_REFUSE)
    file = await place.backup()
    await place.run("update stores set name = 'now'" if replace else "drop schema public cascade; create schema public")
    elsewhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "elsewhere")
    foreign = await asyncpg.connect(place.url, server_settings={"application_name": "pg_restore"})
    with pytest.raises(asyncpg.RaiseError, match="no restore today"):
        await restore(elsewhere, Wish(file, place.identity, replace=replace), quiet)
    assert await foreign.fetchval("select true")  # nobody else's work is ended
    await foreign.close()
    if replace:
        assert await place.ask("select name from stores") == "now"
    else:
        assert await place.ask("select to_regclass('public.migrations')") is None
    assert {path.name for path in elsewhere.data_dir.iterdir()} <= {"address-marks.json", "address-marks.lock"}


async def test_d26_marks_are_raised_before_anything_is_loaded(place: Place) -> None:
    file = await place.backup()
    await place.run(_REFUSE_TABLES)
    elsewhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "elsewhere")
    with pytest.raises(DatabaseError, match="pg_restore failed"):
        await restore(elsewhere, Wish(file, place.identity, replace=True), quiet)
    assert [mark.index for mark in read_marks(elsewhere.data_dir).values()] == [20]


_WAIT = """
create function wait() returns trigger language plpgsql as $$ begin
    if to_regnamespace('let_through') is null then perform pg_sleep(60); end if;
    return new;
end $$;
create trigger wait before insert on restores for each row execute function wait();
"""
_WAITING = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"


async def test_d26_nothing_starts_on_a_restore_that_was_killed_and_it_can_be_made_again(place: Place) -> None:
    await place.run(_WAIT)
    file = await place.backup()
    await place.run("update stores set name = 'now'")
    elsewhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "elsewhere")
    named = {"KASSA_DATABASE_URL": place.url, "KASSA_DATA_DIR": str(elsewhere.data_dir), "PATH": os.environ["PATH"]}
    arguments = ("restore", str(file), "--identity", str(place.identity), "--replace")
    quiet_ = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(KASSA, *arguments, env=named, stdout=quiet_, stderr=quiet_)
    await until(lambda: place.holds(_WAITING), 60)
    process.kill()
    await process.wait()
    await place.run(_WAITING.replace("count(*)", "pg_terminate_backend(pid)"))

    assert [mark.index for mark in read_marks(elsewhere.data_dir).values()] == [20]
    with pytest.raises(DatabaseError, match="did not come to its end"):
        async with open_books(elsewhere):
            pass
    with pytest.raises(DatabaseError, match="--replace"):
        await restore(elsewhere, Wish(file, place.identity), quiet)
    await place.run("create schema let_through")
    await restore(elsewhere, Wish(file, place.identity, replace=True), quiet)
    async with open_books(elsewhere) as database:
        assert await database.pool.fetchval("select count(*) from restores") == 1
    before = await place.ask("select min(nspname) from pg_namespace where nspname like 'kassa_before_%'")
    assert await place.ask(f"select name from {before}.stores") == "now"


async def test_it_can_be_read_without_kassa(place: Place, tmp_path: Path) -> None:
    file = await place.backup()
    tar = pyrage.decrypt(file.read_bytes(), [KEY])
    await asyncio.to_thread(subprocess.run, ["tar", "x", "-C", str(tmp_path)], input=tar, check=True)
    assert (tmp_path / "database.000000").read_bytes().startswith(b"PGDMP")
    assert (tmp_path / "data" / "address-marks.json").exists()


async def test_d26_a_machine_that_lost_its_marks_passes_over_what_may_have_been_issued(place: Place) -> None:
    file = await place.backup()
    elsewhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "elsewhere")
    await restore(elsewhere, Wish(file, place.identity, replace=True), quiet)
    assert [mark.index for mark in read_marks(elsewhere.data_dir).values()] == [20]
    await restore(elsewhere, Wish(file, place.identity, replace=True, skip=500), quiet)
    assert [mark.index for mark in read_marks(elsewhere.data_dir).values()] == [500]


_ISSUED = """
with kept as (update keychains set next_index = 500 returning id)
insert into addresses (id, network, script, address, watch_key, keychain_id, index, created_at)
select 'adr_' || i, 'bitcoin-regtest', int4send(i), i::text, i, kept.id, i, now() from kept, generate_series(0, 499) i
"""


async def test_d26_counters_stand_above_what_was_issued_when_a_restore_is_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new shop: 500 addresses in its first day, and three days more of which the backup knows nothing."""
    await place.run("update keychains set created_at = now() - interval '1 day'")
    await place.run(_ISSUED)
    file = await place.backup()
    later = SetClock(SystemClock().now() + timedelta(days=3))
    monkeypatch.setattr("kassa.backup.restore.SystemClock", lambda: later)
    elsewhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "elsewhere")
    told = await restore(elsewhere, Wish(file, place.identity, replace=True), quiet)
    [passed] = told["passed_over"]
    assert (passed["from_index"], passed["by"], passed["mark_here"]) == (500, "estimate", False)
    assert await place.ask("select next_index from keychains") == passed["to_index"]
    assert 500 + 3 * 500 < passed["to_index"] < 500 + 7 * 500
    assert await place.ask("select count(*) from acts where kind = 'wallet.counter_jumped'") == 1

    later.move(1)
    told = await restore(elsewhere, Wish(file, place.identity, replace=True, skip=7), quiet)
    [again] = told["passed_over"]
    assert (again["to_index"], again["by"]) == (passed["to_index"], "mark")  # this machine knows better now


@pytest.mark.parametrize("days", [2_000, -1])  # the backup's own clock may have been ahead
async def test_d26_an_estimate_beyond_reason_is_asked_for_before_anything_is_touched(
    place: Place, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    await place.run(_ISSUED)
    file = await place.backup()
    later = SetClock(SystemClock().now() + timedelta(days=days))
    monkeypatch.setattr("kassa.backup.restore.SystemClock", lambda: later)
    with pytest.raises(BackupError, match="--skip"):
        await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    assert await place.ask("select count(*) from pg_namespace where nspname like 'kassa_before_%'") == 0
    told = await restore(place.settings, Wish(file, place.identity, replace=True, skip=9), quiet)
    assert [(each["to_index"], each["by"]) for each in told["passed_over"]] == [(509, "skip")]


async def test_d26_a_stale_mark_is_believed_no_more_than_none(place: Place) -> None:
    await place.ask("update keychains set next_index = 500 returning 1")
    file = await place.backup()
    nowhere = Settings(database_url=place.settings.database_url, data_dir=place.folder / "none")
    await restore(nowhere, Wish(file, place.identity, replace=True), quiet)
    [(name, none)] = read_marks(nowhere.data_dir).items()
    assert none.index == 520
    for folder, own, reached in (("stale", 100, 520), ("little", 501, 520), ("fresh", 900, 900)):
        settings = Settings(database_url=place.settings.database_url, data_dir=place.folder / folder)
        raise_marks(settings.data_dir, {name: Mark(own, "earlier")})
        await restore(settings, Wish(file, place.identity, replace=True), quiet)
        assert read_marks(settings.data_dir)[name].index == reached


async def test_e29_a_restore_ends_wallet_changes_sessions_and_invitations(place: Place) -> None:
    await place.ask(
        "insert into wallet_changes (id, store_id, wallet_id, network, space, descriptor, fingerprint, asked_at,"
        " asked_by, asked_seal) select 'wch_1', store_id, id, network, 's', 'd', 'f', now(), 'key_x', '' from wallets"
        " returning 1"
    )
    await place.ask(
        "insert into sessions (id, hash, stage, created_at, last_seen_at, expires_at, address, agent)"
        " values ('ses_1', 'x', 'passkey', now(), now(), now() + interval '1 day', '', '') returning 1"
    )
    await place.ask(
        "insert into invitations (id, hash, email, made_by, created_at, expires_at)"
        " values ('inv_1', 'x', 'a@b.example', 'x', now(), now() + interval '1 day') returning 1"
    )
    file = await place.backup()
    await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    assert await place.ask("select ended_as from wallet_changes") == "cancelled"
    assert await place.ask("select count(*) from acts where kind = 'wallet.change_cancelled'") == 1
    assert await place.ask("select count(*) from sessions") == 0
    assert await place.ask("select count(*) from invitations where revoked_at is null") == 0


async def test_a_restore_names_the_wallets_that_it_brought_back_until_a_person_has_looked(place: Place) -> None:
    file = await place.backup()
    told = await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    fingerprint = await place.ask("select fingerprint from keychains")
    assert [each["fingerprint"] for each in told["active_wallets"]] == [fingerprint]
    assert await place.holds(
        "select lasting and strpos(reason, fingerprint) > 0 from alerts, keychains where kind = 'wallets_restored'"
    )
    assert await place.ask("select count(*) from events where type = 'alert.opened'") == 1


async def test_a_key_that_was_renewed_since_the_backup_is_kept_and_the_backups_put_beside(place: Place) -> None:
    key = place.settings.data_dir / "address-key"
    key.write_text("a" * 64)
    file = await place.backup()
    key.write_text("b" * 64)
    told = await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    beside = place.settings.data_dir / "restored-address-key"
    assert told["key_differs"]
    assert (key.read_text(), beside.read_text()) == ("b" * 64, "a" * 64)
    assert beside.stat().st_mode & 0o777 == 0o600

    key.write_text("c" * 64)
    later = await place.backup("later.age")
    key.write_text("b" * 64)
    for _ in range(2):  # the second finds its own
        told = await restore(place.settings, Wish(later, place.identity, replace=True), quiet)
        assert (told["key_differs"], beside.read_text()) == (True, "c" * 64)
    assert [path.read_text() for path in place.settings.data_dir.glob("restored-address-key.*")] == ["a" * 64]


@pytest.mark.parametrize("left", ["no folder", "no key", "another key"])
async def test_a_backup_without_the_key_that_sealed_the_database_is_refused(place: Place, left: str) -> None:
    key = await sealed(place)
    if left == "no folder":
        place.settings = replace(place.settings, data_dir=place.folder / "elsewhere")
    elif left == "no key":
        key.unlink()
    else:
        write_whole(key, "cd" * 32)
    with pytest.raises(BackupError, match="not the key that sealed this database"):
        await place.backup()
    assert not list(place.folder.glob("*.age*"))


async def test_a_backup_while_a_renewal_of_the_key_is_broken_off_has_the_former_one(place: Place) -> None:
    key = await sealed(place)
    key.rename(key.with_name("address-key.former"))
    write_whole(key, "cd" * 32)
    assert (await place.backup()).exists()


async def sealed(place: Place) -> Path:
    """Let the database be sealed by a key in the data folder; return its path."""
    key = place.settings.data_dir / "address-key"
    write_whole(key, "ab" * 32)
    sealed_by = Seal(bytes.fromhex("ab" * 32)).fingerprint
    await place.run(f"insert into seal_keys (fingerprint) values ('\\x{sealed_by.hex()}')")
    return key


async def test_d26_the_files_of_a_restore_outlive_a_crash_of_the_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(place.settings.data_dir / "address-key", "ab" * 32)
    file, kept, fsync = await place.backup(), set[int](), os.fsync

    def notes(descriptor: int) -> None:
        kept.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", notes)
    new = replace(place.settings, data_dir=place.folder / "new")
    told = await restore(new, Wish(file, place.identity, replace=True), quiet)
    written = [Path(each) for each in told["files"]]
    assert new.data_dir / "address-key" in written
    assert {path.stat().st_ino for path in written} <= kept


async def test_the_address_key_in_a_backup_may_be_for_another_key_alone(place: Place) -> None:
    other = pyrage.x25519.Identity.generate()
    key = place.settings.data_dir / "address-key"
    key.write_text("a" * 64)
    place.settings = replace(place.settings, backup=Backup(key_recipients=(str(other.to_public()),)))
    file = await place.backup()
    assert b"a" * 64 not in pyrage.decrypt(await asyncio.to_thread(file.read_bytes), [KEY])
    new = replace(place.settings, data_dir=place.folder / "new")
    told = await restore(new, Wish(file, place.identity, replace=True), quiet)
    assert (told["key_locked"], (new.data_dir / "address-key").exists()) == (True, False)
    locked = new.data_dir / "restored-address-key.age"
    assert pyrage.decrypt(locked.read_bytes(), [other]) == b"a" * 64
    with pytest.raises(SettingsError, match="another key"):
        await place.backup("both.age", other.to_public())


async def test_settings_of_the_environment_are_in_the_backup(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KASSA_NETWORKS__BITCOIN__RPC_URL", "http://user:secret@node:8332")
    monkeypatch.setenv("KASSA_TEST_DATABASE_URL", "not a setting")
    file = await place.backup()
    await restore(place.settings, Wish(file, place.identity, replace=True), quiet)
    lines = (place.settings.data_dir / "restored-kassa.env").read_text().splitlines()
    assert "KASSA_NETWORKS__BITCOIN__RPC_URL=http://user:secret@node:8332" in lines
    assert not any("KASSA_TEST" in line for line in lines)


async def test_d26_marks_of_thousands_of_wallets_are_in_the_backup(place: Place) -> None:
    marks = place.settings.data_dir / "address-marks.json"
    marks.write_text(" " * 2 * 2**20 + marks.read_text())
    large = place.settings.data_dir / "core.1234"
    large.write_bytes(bytes(archive.SMALL + 1))

    told = await make.backup(place.settings, None, place.folder, [str(KEY.to_public())], quiet)

    assert told["left_out"] == ["core.1234"]
    held = archive.read(Path(told["file"]), [KEY], None, quiet)
    assert held["data/address-marks.json"] == marks.read_bytes()


async def test_d26_marks_too_large_for_a_backup_are_said_to_be(place: Place) -> None:
    (place.settings.data_dir / "address-marks.json").write_bytes(bytes(archive.SMALL + 1))
    with pytest.raises(BackupError, match=r"address-marks\.json is over"):
        await place.backup()
    assert not (place.folder / "kassa.age").exists()


@pytest.mark.parametrize(
    "form", ["?{}=hunter2", "?sslmode=prefer&{}=hunter2&connect_timeout=9", "?connect_timeout=9&{}=hunter2"]
)
@pytest.mark.parametrize("name", ["password", "p%61ssword"])
async def test_a_password_in_the_query_of_the_url_is_in_no_argument(tmp_path: Path, form: str, name: str) -> None:
    told = tmp_path / "told"
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$PGPASSWORD" "$@" > {told}\n')
    program.chmod(0o700)

    programs.finish(programs.start(str(program), f"postgresql://kassa@db/kassa{form.format(name)}", "--x"), "it")

    password, _, arguments = told.read_text().strip().partition(" ")
    assert (password, "hunter2" in arguments) == ("hunter2", False)
    rest = [part for part in form[1:].split("&") if "{}" not in part]
    assert arguments == "--dbname=postgresql://kassa@db/kassa" + ("?" if rest else "") + "&".join(rest) + " --x"


async def test_a_folder_that_is_missing_is_refused_and_nothing_written(place: Place) -> None:
    for name in ("missing", "missing/kassa.age"):
        with pytest.raises(BackupError, match="no folder"):
            await place.backup(name)
    assert not (place.folder / "missing").exists()


_LOCKED = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_a_backup_that_is_ended_leaves_nothing_and_one_that_is_killed_until_the_next(place: Place) -> None:
    folder = place.folder / "backups"
    folder.mkdir()
    named = os.environ | {"KASSA_DATABASE_URL": place.url, "KASSA_DATA_DIR": str(place.settings.data_dir)}
    arguments = ("backup", "--to", str(folder), "--recipient", str(KEY.to_public()))
    holder = await asyncpg.connect(place.url)
    try:
        for how, left in ((signal.SIGTERM, 0), (signal.SIGKILL, 1)):
            async with holder.transaction():
                await holder.execute("lock table stores in access exclusive mode")
                process = await asyncio.create_subprocess_exec(KASSA, *arguments, env=named)
                await until(lambda: place.holds(_LOCKED), 60)
                assert len(list(folder.glob("*.partial"))) == 1
                process.send_signal(how)
                assert await process.wait() == -how
            assert len(list(folder.iterdir())) == left
    finally:
        await holder.close()

    told = await make.backup(place.settings, None, folder, [str(KEY.to_public())], quiet)

    assert [name.endswith(".partial") for name in told["removed"]] == [True]
    assert list(folder.iterdir()) == [Path(told["file"])]


async def test_of_two_backups_of_one_name_the_first_is_made(place: Place) -> None:
    file, key = place.folder / "kassa.age", str(KEY.to_public())
    named = os.environ | {"KASSA_DATABASE_URL": place.url, "KASSA_DATA_DIR": str(place.settings.data_dir)}
    holder = await asyncio.wait_for(asyncpg.connect(place.url), 60)
    try:
        async with holder.transaction():
            await holder.execute("lock table stores in access exclusive mode")
            first = asyncio.create_task(make.backup(place.settings, None, file, [key], quiet))
            await until(lambda: place.holds(_LOCKED), 60)
            other = await asyncio.create_subprocess_exec(
                KASSA, "backup", "--to", str(file), "--recipient", key, env=named, stderr=asyncio.subprocess.PIPE
            )

            async def it_ended_or_waits() -> bool:
                return other.returncode is not None or await place.ask(_LOCKED) == 2

            await until(it_ended_or_waits, 60)
        told = await first
        _, words = await other.communicate()
    finally:
        await holder.close()
    assert (Path(told["file"]), told["bytes"]) == (file, file.stat().st_size)
    assert (other.returncode, b"another backup writes it" in words) == (1, True)
    assert [path.name for path in place.folder.glob("*.age*")] == [file.name]


async def test_a_folder_keeps_so_many_and_no_backup_is_in_another(place: Place) -> None:
    folder = place.settings.data_dir
    old = [folder / f"kassa-2026010{day}T000000Z.age" for day in (1, 2, 3)]
    mine = [folder / "kassa-before-the-move.age", folder / "kassa-29990101T000000Z.age.partial"]
    left = folder / "kassa-20260104T000000Z.age.partial"
    for path in (*old, *mine, left):
        path.write_text("old")
    with mine[1].open() as written:
        fcntl.flock(written, fcntl.LOCK_EX)  # as by a backup that is being made
        told = await make.backup(place.settings, None, folder, [str(KEY.to_public())], quiet, 2)
    assert told["removed"] == [left.name, *(path.name for path in old[:2])]
    assert sorted(folder.glob("kassa-*")) == sorted([old[2], *mine, Path(told["file"])])
    held = archive.read(Path(told["file"]), [KEY], None, quiet)
    assert [name for name in held if name.startswith("data/")] == ["data/address-marks.json"]


def test_the_backup_just_made_is_kept_by_a_clock_that_was_put_back() -> None:
    names = [f"kassa-2026010{day}T000000Z.age" for day in (1, 2, 3)]
    assert outdated(names, 1, names[0]) == names[1:]
    assert outdated(names, 3, names[0]) == []


async def test_without_a_public_key_there_is_no_backup(place: Place) -> None:
    with pytest.raises(SettingsError, match="recipient"):
        await make.backup(place.settings, None, place.folder / "x.age", [], quiet)
    with pytest.raises(BackupError, match="public key"):
        await place.backup(key=str(KEY))


LONG = timedelta(days=400)


def test_the_skipped_grow_with_pace_and_age() -> None:
    assert skipped(Pace(0, 0, LONG), timedelta(days=30)) == 20
    assert skipped(Pace(700, 100, LONG), timedelta(days=1)) == 220
    assert skipped(Pace(1, 0, LONG), timedelta(seconds=1)) == 21
    assert skipped(Pace(700, 100, LONG), timedelta(days=-1)) == 20


@pytest.mark.parametrize(("seconds", "believed"), [(0, True), (60, True), (61, False)])
def test_a_backup_of_a_clock_a_little_ahead_of_ours_is_one_of_now(seconds: int, believed: bool) -> None:
    counter = Counter("bitcoin", "wpkh(tpub/0/*)", 500, 0, 0, datetime(2025, 1, 1, tzinfo=UTC))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    reach = Reach({}, {}, None, now + timedelta(seconds=seconds), now)
    with nullcontext() if believed else pytest.raises(BackupError, match="which is yet to come"):
        assert reach.of(counter) == (520, "estimate")


@pytest.mark.parametrize(
    ("pace", "age", "issued"),
    [
        (Pace(50_000, 7_143, LONG), timedelta(days=7), 50_000),  # more than any bound
        (Pace(700, 700, timedelta(days=1)), timedelta(days=3), 2_100),  # a new shop
        (Pace(700, 700, LONG), timedelta(days=3), 2_100),  # or an old wallet that a shop opened with yesterday
        (Pace(60, 60, timedelta(hours=2)), timedelta(days=1), 720),
    ],
)
def test_d26_no_fewer_are_passed_over_than_a_steady_pace_issues(pace: Pace, age: timedelta, issued: int) -> None:
    assert issued <= skipped(pace, age) <= 3 * issued


@pytest.mark.parametrize(
    ("server", "path"), [(15, "/fifteen"), (16, "/eighteen"), (18, "/eighteen"), (19, None), (14, "/fifteen")]
)
def test_the_program_is_the_servers_own_or_the_next_newer(server: int, path: str | None) -> None:
    assert chosen(server, {"/eighteen": 18, "/fifteen": 15}) == path
