"""How what an operator does is carried out: as whom, in one transaction, with the end of the audit log noted."""

import getpass
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from kassa.audit import anchor
from kassa.audit.model import Actor
from kassa.core.clock import SystemClock
from kassa.core.errors import DatabaseError
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.main import open_books, open_house
from kassa.settings import Settings

Told = dict[str, Any]  # JSON for programs, lines for people
T = TypeVar("T")


def operator() -> Actor:
    """Return who sits at the command line, as far as the system says: a hint, for whoever can run this is trusted."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(f"operator {name}", os.environ.get("SSH_CONNECTION", "").partition(" ")[0] or None)


async def in_transaction(settings: Settings, work: Callable[[Tx, datetime], Awaitable[T]]) -> T:
    """Do something in one transaction, and note where the audit log ends; raises `DatabaseError`."""
    clock = SystemClock()
    async with open_books(settings) as database:
        return await _done(settings, database, lambda tx: work(tx, clock.now()))


async def in_house(settings: Settings, work: Callable[[Tx, House, datetime], Awaitable[T]]) -> T:
    """Do something in one transaction that needs the whole house; else as `in_transaction`."""
    async with open_house(settings) as house:
        return await _done(settings, house.database, lambda tx: work(tx, house, house.clock.now()))


async def _done(settings: Settings, database: Database, work: Callable[[Tx], Awaitable[T]]) -> T:
    try:
        told = await database.run(work)
        await anchor.advance(database.pool, settings.data_dir)
        return told
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        raise DatabaseError(f"the database refused: {fault}; see `kassa doctor`") from fault
