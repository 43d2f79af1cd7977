"""Seals over keys, members, invitations and sessions, made when Kassa makes them: a row typed in has none."""

from datetime import datetime
from enum import Enum
from typing import Any

from asyncpg import Record

from kassa.db.pool import Tx
from kassa.wallets.seal import Seal, fits


class Sealed(Enum):
    """What is sealed: its table; how a row of some names is read, and given its seal; what the seal covers."""

    KEY = (
        "api_keys",
        "select * from api_keys where id = $1",
        "update api_keys set seal = $1 where id = $2",
        ("id", "store_id", "hash", "scopes", "created_at", "allowed_from"),
    )
    MEMBER = (
        "members",
        "select * from members where store_id = $1 and person_id = $2",
        "update members set seal = $1 where store_id = $2 and person_id = $3",
        ("store_id", "person_id", "role", "added_at"),
    )
    INVITATION = (
        "invitations",
        "select * from invitations where id = $1",
        "update invitations set seal = $1 where id = $2",
        ("id", "hash", "email", "store_id", "role", "made_by", "created_at", "expires_at", "voids"),
    )
    SESSION = (
        "sessions",
        "select * from sessions where id = $1",
        "update sessions set seal = $1 where id = $2",
        ("id", "hash", "person_id", "stage", "created_at", "expires_at"),
    )

    def __init__(self, table: str, reading: str, sealing: str, covered: tuple[str, ...]) -> None:
        self.table, self.reading, self.sealing, self.covered = table, reading, sealing, covered


# No sessions: with another key, people sign in again.
_EVERYTHING = (
    (Sealed.KEY, "select id as name, null as more from api_keys"),
    (Sealed.MEMBER, "select store_id as name, person_id as more from members"),
    (Sealed.INVITATION, "select id as name, null as more from invitations"),
)


async def put_seal(tx: Tx, seal: Seal, what: Sealed, *names: str) -> None:
    """Seal a row that was written in this transaction."""
    row = await tx.fetchrow(what.reading, *names)
    await tx.execute(what.sealing, _made(seal, what, row), *names)


async def is_sealed(tx: Tx, seal: Seal, what: Sealed, *names: str) -> bool:
    """Tell whether there is such a row, and it is as Kassa wrote it."""
    row = await tx.fetchrow(what.reading, *names)
    return row is not None and fits(row["seal"], _made(seal, what, row))


async def seal_all_anew(tx: Tx, former: Seal | None, seal: Seal) -> None:
    """Seal with a new key what the former one sealed; where that is lost, everything."""
    for what, names_of in _EVERYTHING:
        for names in await tx.fetch(names_of):
            named = [each for each in names if each is not None]
            if former is None or await is_sealed(tx, former, what, *named):
                await put_seal(tx, seal, what, *named)


def _made(seal: Seal, what: Sealed, row: Record) -> bytes:
    # Empty lists are left out: a key that is bound to nothing has the seal that it had before keys could be bound.
    return seal.of_row(what.table, *[_text(row[name]) for name in what.covered if row[name] != []])


def _text(value: Any) -> str:  # of a column: text, bytes, a moment, a list, true or false, nothing
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return " ".join(sorted(value)) if isinstance(value, list) else str(value)
