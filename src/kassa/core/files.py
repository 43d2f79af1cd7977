"""Small files that must never be half written."""

import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from kassa.core.errors import DatabaseError, SettingsError


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole, for its owner alone: after a crash of the machine it holds the old content or the new.

    For one process at a time: whoever may not be alone holds `locked` meanwhile.
    """
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Return when the names in a folder outlive a crash of the machine, as they are now."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def others_may(path: Path, *, group: bool = False) -> str:
    """Say what others than a file's owner, and with `group` also its group, may do: "change", "read", or nothing.

    In a folder that is sticky, others can replace nothing of ours.
    """
    mode = path.stat().st_mode
    asked = mode | mode >> 3 if group else mode
    if asked & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return "change"
    return "read" if asked & stat.S_IROTH else ""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one, of all processes, between reading a file and replacing it."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def refuse_root(folder: Path) -> None:
    """Raise `SettingsError` where root would leave files in a folder, or make it, whose user could not use them then.

    Every file here is replaced as a whole, and so belongs to whoever changed it last.
    """
    if os.geteuid() != 0:
        return
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if owner := there.stat().st_uid:
        raise SettingsError(
            f"{there} belongs to {_user(owner)}, who could not use what root writes in data_dir: {_as_user(owner)}"
        )


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Raise `DatabaseError` for a file in a folder that this user may not use: whose it is, and how that is mended."""
    try:
        yield
    except PermissionError as fault:
        if fault.filename is None:  # ours, which says all this by itself
            raise
        told = f"{_user(os.geteuid())} may not use {fault.filename} ({fault.strerror})"
        raise DatabaseError(f"{told}: {_remedy(folder)}") from fault


def _remedy(folder: Path) -> str:
    me, name = os.geteuid(), quote(_user(os.geteuid()))
    try:
        owner = folder.stat().st_uid
    except OSError:
        owner = me
    if owner == 0 != me:
        return f"{folder} belongs to root: if it is Kassa's alone, give it to this user by `chown -R {name} {folder}`"
    if owner != me:
        return f"{folder} belongs to {_user(owner)}: {_as_user(owner)}"
    others = " ".join(str(path) for path in _files(folder) if path.lstat().st_uid != me)
    if not others:
        return "let this user read and write data_dir and all that is in it"
    return (
        f"a command was run here as another user; give its files back by `chown {name} {others}` as root, and"
        f" {_as_user(me)} from now on"
    )


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _as_user(uid: int) -> str:
    return f"run commands as that user (sudo -u {quote(_user(uid))} kassa …)"
