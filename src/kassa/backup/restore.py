"""`kassa restore`: make the database that of a backup, and see to it that nothing of its lost future happens twice."""

import asyncio
import errno
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.people.session_store as sessions
import kassa.people.store as people
import kassa.wallets.replacement_store as changes
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.backup import archive, programs, store
from kassa.backup.archive import Tell
from kassa.backup.make import BESIDE, ENVIRONMENT, FORMAT, SETTINGS, url_of
from kassa.backup.reach import Reach, cover, pass_over, read_counters
from kassa.core.clock import SystemClock, rfc3339
from kassa.core.errors import BackupError, DatabaseError
from kassa.core.files import usable, write_whole
from kassa.core.ids import StoreId
from kassa.db.migrate import is_half_restored, known_names, migrate
from kassa.db.server import refuse_running
from kassa.operations.acting import operator
from kassa.settings import Settings
from kassa.wallets.mark import FILE as MARKS
from kassa.wallets.mark import parse_marks, read_marks
from kassa.wallets.seal import FILE as KEY_FILE

Json = dict[str, Any]
RESTORED_KEY = f"restored-{KEY_FILE}"
LOCKED_KEY = f"{RESTORED_KEY}.age"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants: `skip` so many addresses of each wallet; `replace` a database that is in use."""

    file: Path
    identity: Path
    replace: bool = False
    skip: int | None = None


async def restore(settings: Settings, wish: Wish, tell: Tell) -> Json:
    """Restore a backup whole or not at all, and tell what became of it.

    A database that is in use is put aside under another name, not deleted. Counters are moved past every address that
    may have been issued since; marks stay raised where the restore fails. Raises `BackupError`, `DatabaseError`.
    """
    keys = archive.identities(wish.identity)
    members: Mapping[str, bytes] = await asyncio.to_thread(archive.read, wish.file, keys, None, _silent)
    about = _manifest(members)
    written: list[Path] = []
    with url_of(settings) as url, _told_when_full(settings.data_dir):
        connection = await asyncpg.connect(url, server_settings={"application_name": "kassa restore"})
        try:
            now = SystemClock().now()
            reach = _reach(settings.data_dir, about, members, wish, now)
            aside = await _make_room(connection, wish, now)
            try:
                await refuse_running(connection, "restore")  # who came meanwhile saw nothing of it
                # Before anything is loaded: whatever becomes of this, no address below what was issued comes again.
                cover(settings.data_dir, reach, read_counters(about))
                server = connection.get_server_version().major
                members = await _load(wish.file, keys, url, server, tell)
                added = await migrate(connection)
                await store.analyze(connection)
                with usable(settings.data_dir):
                    _put_beside(settings.data_dir, members, written)
                async with connection.transaction():
                    await store.note_restore(connection, now, reach.backup_at)
                    counters = await store.counters(connection, reach.backup_at)
                    passed = await pass_over(connection, settings.data_dir, reach, counters)
                    told = {"backup_at": about["at"], "put_aside": aside, **await _disarm(connection, now)}
                    active = await _tell_wallets(connection, about["at"], now)
                    await store.finish(connection)
                    await audit.record(connection, operator(), "database.restored", wish.file.name, now, after=told)
            except BaseException:
                for path in written:
                    path.unlink(missing_ok=True)
                await _undo(connection, aside, now)
                raise
        finally:
            await connection.close()
    return {
        "backup_at": about["at"], "restored_at": rfc3339(now), "migrated": added, "put_aside": aside,
        "files": [str(path) for path in written],
        "passed_over": passed,
        "active_wallets": active,
        "key_differs": any(path.name == RESTORED_KEY for path in written),
        "key_locked": any(path.name == LOCKED_KEY for path in written),
    }  # fmt: skip


@contextmanager
def _told_when_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        told = f"nothing can be written to {folder} ({fault.strerror}), and what was there is back"
        remedy = "mount it for writing" if fault.errno == errno.EROFS else "make room"
        raise BackupError(f"{told}: {remedy}, and restore again") from fault


def _manifest(members: Mapping[str, bytes]) -> Json:
    try:
        about: Json = json.loads(members["manifest.json"])
        unknown = sorted(set(about["migrations"]) - set(known_names()))
    except (KeyError, ValueError, TypeError) as fault:
        raise BackupError(f"this is no backup of Kassa ({type(fault).__name__})") from fault
    if about["format"] not in (1, FORMAT) or unknown:
        raise BackupError(f"the backup was made by a newer Kassa ({about['kassa']}): restore it with that version")
    return about


def _reach(data_dir: Path, about: Json, members: Mapping[str, bytes], wish: Wish, now: datetime) -> Reach:
    there = parse_marks(members.get(BESIDE + MARKS, b"{}"))
    reach = Reach(read_marks(data_dir), there, wish.skip, datetime.fromisoformat(about["at"]), now)
    for counter in read_counters(about):
        reach.of(counter)  # refused before anything is touched
    return reach


async def _make_room(connection: Any, wish: Wish, now: datetime) -> str | None:
    await refuse_running(connection, "restore")
    if await store.is_empty(connection) and not await is_half_restored(connection):
        await store.begin(connection)
        return None
    if not wish.replace:
        raise DatabaseError("the database is in use: --replace puts what it holds aside, under another name")
    return await store.put_aside(connection, now)


async def _undo(connection: Any, aside: str | None, now: datetime) -> None:
    """Bring back what was there. Where that was nothing, what was loaded is put aside: nothing is deleted unasked."""
    await store.end_loading(connection, _loading())
    if aside is not None:
        await store.bring_back(connection, aside)
        return
    if not await store.is_empty(connection):
        await store.put_aside(connection, now)
    await store.finish(connection)


def _loading() -> str:
    """Return what the connections of our own pg_restore are called: an operator may run another one beside it."""
    return f"kassa restore of {os.getpid()}"


async def _load(file: Path, keys: Sequence[Any], url: str, server: int, tell: Tell) -> Mapping[str, bytes]:
    """Load a backup in a thread. Whoever is cancelled ends pg_restore first: nothing is undone beside one that runs."""
    # What a database administrator added (extensions, publications) is in a dump too, and not ours to drop or to make.
    ours = ("--schema=public", "--no-owner", "--no-privileges", "--clean", "--if-exists")
    options = ("--single-transaction", "--exit-on-error", *ours)
    program = programs.start(programs.find("pg_restore", server), url, *options, reads=True, called=_loading())
    work = asyncio.ensure_future(asyncio.to_thread(_feed, program, file, keys, tell))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        program.kill()
        await asyncio.wait([work])  # its pipe is broken now: the thread ends with that
        work.exception()  # it was ended by us: what it says is of no interest
        raise


def _feed(program: "subprocess.Popen[bytes]", file: Path, keys: Sequence[Any], tell: Tell) -> Mapping[str, bytes]:
    if program.stdin is None:
        raise AssertionError("pg_restore was started without a pipe")
    try:
        members = archive.read(file, keys, program.stdin.write, tell)
    except BrokenPipeError:
        members = {}  # it says why
    except BaseException:
        programs.abandon(program)  # what came so far was one transaction, which is undone
        raise
    programs.finish(program, "pg_restore")
    return members


def _put_beside(data_dir: Path, members: Mapping[str, bytes], written: list[Path]) -> None:
    """Write the files of the data folder, and the settings, where none of that name is there; add their paths."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {name.removeprefix(BESIDE): content for name, content in members.items() if name.startswith(BESIDE)}
    found |= {f"restored-{name}": members[name] for name in (SETTINGS, ENVIRONMENT) if name in members}
    here, key = data_dir / KEY_FILE, found.get(KEY_FILE)
    if key is not None and here.exists() and here.read_bytes() != key:
        # The one here was renewed since: it is kept, and what the backup's key sealed needs that one.
        found[RESTORED_KEY] = key
        _make_way(data_dir / RESTORED_KEY, key)
    if (locked := found.pop(f"{KEY_FILE}.age", None)) is not None:
        found[LOCKED_KEY] = locked
        _make_way(data_dir / LOCKED_KEY, locked)
    for name, content in found.items():
        path = data_dir / Path(name).name
        if name == MARKS or path.exists():
            continue
        written.append(path)
        # One that was begun and not ended would stand in the way of the next restore, which replaces nothing.
        write_whole(path, content)


def _make_way(path: Path, key: bytes) -> None:
    """Put the key of an earlier restore under a name of its own; the same one is written again."""
    if not path.exists():
        return
    old = path.read_bytes()
    if old == key:
        path.unlink()
    else:
        path.replace(path.with_name(f"{path.name}.{sha256(old).hexdigest()[:16]}"))


async def _disarm(connection: Any, now: datetime) -> dict[str, int]:
    """End what somebody may have ended since the backup; return how many of each."""
    under_way = await changes.under_way(connection)
    for change_id in under_way:
        await flow.cancel_wallet_change(connection, operator(), None, change_id, now)
    return {
        "wallet_changes_cancelled": len(under_way),
        "sessions_ended": await sessions.end_all(connection),
        "invitations_voided": await people.void_invitations(connection, now),
    }


async def _tell_wallets(connection: Any, backup_at: str, now: datetime) -> list[Json]:
    """Open an alert for each store that names its active wallets: one that was replaced since the backup is back."""
    active: dict[str, list[Json]] = {}
    for row in await store.active_wallets(connection):
        told = {"wallet_id": row["id"], "network": row["network"], "fingerprint": row["fingerprint"]}
        active.setdefault(row["store_id"], []).append(told)
    for store_id, told_all in active.items():
        named = ", ".join(f"{each['network']} {each['fingerprint']}" for each in told_all)
        reason = (
            f"the database was restored from {backup_at}, and these wallets with it: {named}; compare each with your"
            " signing device, for one that you replaced since then is back"
        )
        found = Finding(
            Kind.WALLETS_RESTORED, store_id, Severity.CRITICAL, reason, store_id=StoreId(store_id),
            about={"wallets": told_all}, lasting=True,
        )  # fmt: skip
        await alerts.open_alert(connection, found, now)
    return [{"store_id": store_id, **each} for store_id, told_all in active.items() for each in told_all]


def _silent(_done: int) -> None:
    pass
