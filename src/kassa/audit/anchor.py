"""The anchor: the end of the audit log as it was last seen whole, kept outside the database.

Whoever can write to the database can make a new chain whose hashes are right. It will not contain the act that the
anchor names, unless they can write to the data folder as well. A second line in its file is the head from which on this
machine checks the log: the one that an operator accepted when the chain before it was broken for good.
"""

import asyncio
import socket
from pathlib import Path
from secrets import token_hex
from typing import Any

from asyncpg.pool import Pool

import kassa.audit.store as audit
from kassa.audit.model import START, Break, Head
from kassa.audit.rules import read_head
from kassa.core.errors import DatabaseError, Invalid
from kassa.core.files import locked, usable, write_whole

FILE = "audit-anchor.txt"
PLACE = "audit-place.txt"


async def advance(pool: "Pool[Any]", data_dir: Path) -> Head | Break:
    """Check what was added since the anchor and move it there; return the end of the log, or where it is broken.

    A broken log leaves the anchor where it is, and so does an anchor that was here and is gone: the database remembers
    that there was one. Raises `DatabaseError` when the file cannot be used.
    """
    anchor = await asyncio.to_thread(read_anchor, data_dir)
    known_as = await asyncio.to_thread(places, data_dir)
    if gone := await _gone(pool, data_dir, anchor, known_as):
        return gone
    found = await audit.verify(pool, anchor, anchor)
    if isinstance(found, Head) and found.number > anchor.number:
        await asyncio.to_thread(_raise, data_dir / FILE, found)
        for place in known_as:
            await audit.note_anchor(pool, place, found.number)
    return found


async def prove(pool: "Pool[Any]", data_dir: Path) -> Head | Break:
    """Check the whole log against the anchor, which is not moved; one that was here and is gone is a broken log.

    On a machine that never had one (`read_anchor` is the start then) a cut end is not found. Raises `DatabaseError`.
    """
    anchor, start = await asyncio.to_thread(_read, data_dir)
    known_as = await asyncio.to_thread(places, data_dir, make=False)
    return await _gone(pool, data_dir, anchor, known_as) or await audit.verify(pool, anchor, start)


async def _gone(pool: "Pool[Any]", data_dir: Path, anchor: Head, known_as: tuple[str, ...]) -> Break | None:
    for place in known_as if anchor == START else ():
        # It is on disk before the database knows of it: another process may have made the first one since we looked.
        if (known := await audit.anchored(pool, place)) and await asyncio.to_thread(read_anchor, data_dir) == START:
            return Break(known, f"{data_dir / FILE}, which named act {known}, is gone")
    return None


def places(data_dir: Path, *, make: bool = True) -> tuple[str, ...]:
    """Return what a data folder is known by: a name of its own, made if there is none, and where it is (HOST:PATH).

    A container has another host name after each start, so where it is tells little; but who deletes the anchor may
    delete the name beside it as well. Without `make`, only the latter where there is no name. Raises `DatabaseError`.
    """
    path, where = data_dir / PLACE, f"{socket.gethostname()}:{data_dir.resolve()}"
    with usable(data_dir):
        name = _named(path)
    if not name:
        if not make:
            return (where,)
        try:
            with usable(data_dir):
                data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                with locked(path):  # others may be about to name it, too
                    name = _named(path) or token_hex(16)
                    write_whole(path, f"{name}\n")
        except OSError as fault:
            raise DatabaseError(f"{path} cannot be written ({fault.strerror}): let this user write to it") from fault
    return name, where


def read_anchor(data_dir: Path) -> Head:
    """Return the anchor; the start of the log when there is none yet. Raises `DatabaseError`."""
    return _read(data_dir)[0]


def read_start(data_dir: Path) -> Head:
    """Return the head from which the log has to be whole. Raises `DatabaseError`."""
    return _read(data_dir)[1]


def _read(data_dir: Path) -> tuple[Head, Head]:
    path = data_dir / FILE
    try:
        with usable(data_dir):
            anchor, _, start = path.read_text("utf-8").partition("\n")
        return read_head(anchor), read_head(start) if start.strip() else START
    except FileNotFoundError:
        return START, START
    except (OSError, ValueError, Invalid) as fault:
        raise DatabaseError(
            f"{path} cannot be read ({fault}): look who changed it; put back the line NUMBER:HASH that you kept"
        ) from fault


def _named(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (FileNotFoundError, ValueError):
        return ""


def accept(data_dir: Path, head: Head, start: Head) -> None:
    """Put the anchor at a head whatever it was: an operator has decided that the log, as it is now, is the log."""
    path = data_dir / FILE
    with usable(data_dir), locked(path):
        _write(path, head, start)


def _write(path: Path, anchor: Head, start: Head) -> None:
    write_whole(path, "".join(f"{head}\n" for head in (anchor, start) if head.number > 0))


def _raise(path: Path, head: Head) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with usable(path.parent), locked(path):
            anchor, start = _read(path.parent)
            if anchor.number < head.number:
                _write(path, head, start)
    except OSError as fault:
        raise DatabaseError(f"{path} cannot be written ({fault.strerror}): let this user write to data_dir") from fault
