"""Small files that must never be half written."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file as a whole, for its owner alone: after a crash of the machine it holds the old text or the new."""
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
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
