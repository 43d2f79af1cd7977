"""How much room is left on the volumes where files are kept."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST_FREE, LITTLE_FREE = 1 * 2**30, 5 * 2**30
"""Bytes: below the one somebody has to make room now, below the other today."""


@dataclass(frozen=True, slots=True)
class Room:
    """The volume of a folder: bytes that its user may still write, and its size in bytes."""

    folder: Path
    free_bytes: int
    size_bytes: int


def rooms(folders: Iterable[Path]) -> list[Room]:
    """Return the room of the volumes that folders lie on, each volume once, by the first of its folders.

    Of a folder that is not there yet its nearest parent is asked; one that cannot be asked is left out.
    """
    found: dict[int, Room] = {}
    for folder in folders:
        try:
            there = next(path for path in (folder, *folder.parents) if path.exists())
            used = shutil.disk_usage(there)
            found.setdefault(os.stat(there).st_dev, Room(there.resolve(), used.free, used.total))
        except OSError:
            continue
    return list(found.values())


def said(free_bytes: int, size_bytes: int) -> str:
    """Say in words how much of a volume is left."""
    return f"{free_bytes / 2**30:.1f} of {size_bytes / 2**30:.1f} GiB are left"
