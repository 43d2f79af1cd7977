"""`kassa backup`: database, settings and what stands beside them, in one file that only its owner's key opens."""

import asyncio
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import kassa.wallets.seal_store as seals
from kassa import __version__
from kassa.audit.anchor import FILE as ANCHOR_FILE
from kassa.backup import archive, programs, store
from kassa.backup.archive import Tell
from kassa.backup.reach import told_counter
from kassa.backup.rules import PARTIAL, outdated, unfinished
from kassa.core.clock import SystemClock, rfc3339
from kassa.core.disks import rooms
from kassa.core.errors import BackupError, SettingsError
from kassa.core.files import usable
from kassa.db import embedded
from kassa.main import open_books
from kassa.settings import Settings
from kassa.settings.read import is_setting
from kassa.wallets.mark import FILE as MARKS_FILE
from kassa.wallets.seal import FILE as KEY_FILE
from kassa.wallets.seal import is_key_of

FORMAT = 2
SETTINGS = "kassa.toml"
ENVIRONMENT = "kassa.env"
BESIDE = "data/"
_NEEDED = (KEY_FILE, MARKS_FILE, ANCHOR_FILE)
_NOT_KEPT = (".lock", ".users", ".new", ".age", ".partial")
_EXCLUDED = f"--exclude-schema={store.OLD_SCHEMA}*"


async def backup(
    settings: Settings, file: Path | None, to: Path, given: Sequence[str], tell: Tell, keep: int | None = None
) -> dict[str, Any]:  # JSON
    """Write a backup to a path, or under a name of its own into a folder, and verify it.

    `given` are public keys of age beside those of the settings. The file appears under its name only when it is whole
    and verified: it was decrypted again and its dump unpacked to the end. Then all but the newest `keep` of its
    folder go, if so many are named. Raises `BackupError`, `SettingsError`, `DatabaseError`.
    """
    recipients = [archive.recipient(text) for text in (*settings.backup.recipients, *given)]
    if not recipients:
        raise SettingsError("a backup is encrypted to a public key: name one by --recipient or backup.recipients")
    if both := {*settings.backup.key_recipients} & {*settings.backup.recipients, *given}:
        raise SettingsError(f"{min(both)[:20]}… is in backup.key_recipients and opens the backup too: name another key")
    keyed = [archive.recipient(text) for text in settings.backup.key_recipients]
    now = SystemClock().now()
    path = _path(to, now)
    async with open_books(settings) as database:
        async with database.pool.acquire() as connection:
            about = dict(await store.manifest(connection))
            counters = await store.counters(connection, about["at"])
            sealed_by = await seals.fingerprint(connection)
            server = connection.get_server_version().major
        told = {
            "format": FORMAT, "kassa": __version__, "at": rfc3339(about.pop("at")), **about,
            "counters": [told_counter(each) for each in counters],
        }  # fmt: skip
        beside, left_out = _beside(settings.data_dir, keyed, sealed_by)
        members = {"manifest.json": json.dumps(told).encode(), **beside, **_settings(file)}
        left = _remove_left(path.parent) if to.is_dir() else []
        partial = path.with_name(path.name + PARTIAL)
        with _removed_by_sigterm(partial):
            digest = await asyncio.to_thread(_write, settings, path, partial, recipients, members, server, tell)
        size = path.stat().st_size
        removed = left + ([] if keep is None else _remove(path, keep))
        # On the volume of data_dir it goes by that folder, which every process looks at: what is left is known later.
        host, room = socket.gethostname(), rooms([settings.data_dir, path.parent])[-1]
        await database.run(lambda tx: store.note_backup(tx, now, size, digest, host, room))
    return {
        "file": str(path), "bytes": size, "database_bytes": about["bytes"], "sha256": digest,
        "removed": removed,
        "left_out": left_out,
        "same_disk": path.stat().st_dev == settings.data_dir.stat().st_dev,
    }  # fmt: skip


def _path(to: Path, now: datetime) -> Path:
    path = to / f"kassa-{now:%Y%m%dT%H%M%SZ}.age" if to.is_dir() else to
    if path.suffix != ".age" or not path.parent.is_dir():
        raise BackupError(f"there is no folder {to}: make it (mkdir -m 0700), or name a file in one that ends in .age")
    if path.exists():
        raise BackupError(f"{path} is there already: nothing is overwritten")
    return path


def _remove(made: Path, keep: int) -> list[str]:
    old = outdated([path.name for path in made.parent.iterdir()], keep, made.name)
    for name in old:
        made.with_name(name).unlink(missing_ok=True)
    return old


def _remove_left(folder: Path) -> list[str]:
    """Remove what backups that were killed left of theirs; one that is being written is held locked."""
    return [name for name in unfinished(path.name for path in folder.iterdir()) if _remove_unheld(folder / name)]


def _remove_unheld(path: Path) -> bool:
    with suppress(OSError), path.open("r+b") as file:  # held, gone by now, or somebody else's
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False


@contextmanager
def _removed_by_sigterm(partial: Path) -> Iterator[None]:
    """Leave no part of a backup where SIGTERM ends the process; what SIGKILL leaves, the next backup removes."""

    def end(number: int, _frame: object) -> None:
        partial.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(file: Path | None) -> dict[str, bytes]:
    """Return the file of the settings, and those of the environment, which win: together they are what is in force."""
    given = sorted(f"{name}={value}\n" for name, value in os.environ.items() if is_setting(name))
    return ({} if file is None else {SETTINGS: file.read_bytes()}) | (
        {ENVIRONMENT: "".join(given).encode()} if given else {}
    )


def _beside(data_dir: Path, keyed: Sequence[Any], sealed_by: bytes | None) -> tuple[dict[str, bytes], list[str]]:
    """Return the small files of the data folder, and the names of those that are too large.

    Marks, keys, anchors; no locks, and not the server's own folder. The keys that seal addresses are encrypted to
    recipients of their own, where there are any. Raises `BackupError` where one is too large that a restore needs, or
    the key is not among them by which the database is sealed.
    """
    there = sorted(data_dir.iterdir()) if data_dir.is_dir() else []
    kept = [path for path in there if path.is_file() and path.suffix not in _NOT_KEPT]
    left_out = [path.name for path in kept if path.stat().st_size > archive.SMALL]
    if needed := set(left_out).intersection(_NEEDED):
        raise BackupError(f"{data_dir / min(needed)} is over {archive.SMALL} bytes, more than a backup takes of it")
    with usable(data_dir):
        found = {path.name: path.read_bytes() for path in kept if path.name not in left_out}
    keys = [name for name in found if KEY_FILE in name]
    if sealed_by is not None and not any(is_key_of(sealed_by, found[name]) for name in keys):
        raise BackupError(
            f"{data_dir / KEY_FILE} is not the key that sealed this database, or is not there: no machine would work"
            " from such a backup; copy it from a machine where Kassa runs, or make the backup there"
        )
    for name in keys if keyed else ():
        found[f"{name}.age"] = archive.locked(found.pop(name), keyed)
    return {BESIDE + name: content for name, content in found.items()}, left_out


def _write(
    settings: Settings,
    path: Path,
    partial: Path,
    recipients: Sequence[Any],
    members: Mapping[str, bytes],
    server: int,
    tell: Tell,
) -> str:
    try:
        with _held(partial) as file, url_of(settings) as url:
            if path.exists():
                raise BackupError(f"{path} was made by another backup meanwhile: nothing is overwritten")
            dump = programs.start(programs.find("pg_dump", server), url, "--format=custom", "--no-owner", _EXCLUDED)
            if dump.stdout is None:
                raise AssertionError("pg_dump was started without a pipe")
            try:
                digest, moment = archive.write(file, recipients, members, dump.stdout, tell)
            except BaseException:
                programs.abandon(dump)
                raise
            programs.finish(dump, "pg_dump")
            _verify(partial, moment, server)
            partial.rename(path)
    except OSError as fault:
        raise BackupError(f"{path} cannot be written: {fault.strerror or fault}") from fault
    _sync(path.parent)
    return digest


@contextmanager
def _held(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its owner alone, and hold it locked; it is gone again when the block fails.

    Raises `BackupError` where another backup holds it: two that begin in one second have one name.
    """
    _remove_unheld(path)
    taken = BackupError(f"{path} is there: another backup writes it, or it is to be removed by hand")
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise taken from None
    with open(opened, "wb") as file:
        with suppress(OSError):  # some shares cannot lock; what a killed backup leaves there stays, for nobody can tell
            fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise taken  # before it was locked, another one took it for left
        try:
            yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _verify(path: Path, moment: Any, server: int) -> None:  # the identity that dies with this process
    reader = programs.check(programs.find("pg_restore", server))
    if reader.stdin is None:
        raise AssertionError("pg_restore was started without a pipe")
    try:
        with suppress(BrokenPipeError):  # then it says why
            archive.read(path, [moment], reader.stdin.write, lambda _done: None)
    except BaseException:
        programs.abandon(reader)
        raise
    programs.finish(reader, "reading the backup back")


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def url_of(settings: Settings) -> Iterator[str]:
    """Yield the database's URL, the embedded server running."""
    if not settings.embedded:
        yield settings.database_url.reveal()
        return
    server = embedded.start(settings.data_dir)
    try:
        yield server.url
    finally:
        server.close()
