"""The audit log: the SQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record
from asyncpg.pool import Pool

from kassa.audit.model import START, Act, ActId, Actor, Break, Course, Head, Link, Shown
from kassa.audit.rules import body, checked_kind, compare, follow, line, shown_text
from kassa.core.ids import new_id
from kassa.db.pool import Tx

PAGE = 500

_LOCK = 0x6B6173736175  # "kassau": one act at a time joins the chain
_COLUMNS = "number, id, at, store_id, actor, address, kind, subject, before, after, hash"
_APPEND = """
insert into acts (number, id, at, store_id, actor, address, kind, subject, before, after, hash)
select coalesce(last.number, 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, sha256(coalesce(last.hash, $10) || $11)
from (values (1)) as one left join lateral (select number, hash from acts order by number desc limit 1) last on true
"""

_MAKERS = """
with recursive made(name) as (
    select $2::text
    union
    select coalesce(i.actor, m.actor) from made
    join acts m on m.store_id = $1 and m.subject = made.name and m.kind in ('api_key.created', 'member.joined')
    left join acts i on m.kind = 'member.joined' and i.store_id = $1 and i.kind = 'invitation.made'
        and i.subject = m.after::json ->> 'invitation'
)
select name from made where name ~ '^(key|per)_'
"""
_RECORDED = """
select exists (
    select from acts m
    left join acts i on m.kind = 'member.joined' and i.store_id = $1 and i.kind = 'invitation.made'
        and i.subject = m.after::json ->> 'invitation' and i.number < m.number
    where m.store_id = $1 and m.subject = $2 and (m.kind = 'api_key.created' or i.number is not null)
        and m.kind in ('api_key.created', 'member.joined')
        and m.number < (select min(number) from acts where subject = $3 and kind = 'wallet.change_asked')
)
"""


async def record(
    tx: Tx,
    by: Actor,
    kind: str,
    subject: str,
    now: datetime,
    *,
    store_id: str | None = None,
    before: Shown | None = None,
    after: Shown | None = None,
) -> None:
    """Add an act to the log, in the transaction of what was done: `kind` as `thing.deed`, `subject` the thing's id.

    Take other locks first: until the end of the transaction no other act can be recorded. What `before` and `after`
    name like a secret is not kept.
    """
    actor = Actor(line(by.name), None if by.address is None else line(by.address))
    id_, told = ActId(new_id("act", now)), (shown_text(before), shown_text(after))
    act = Act(id_, now, store_id, actor, checked_kind(kind), line(subject), *told)
    await tx.execute("select pg_advisory_xact_lock($1)", _LOCK)
    await tx.execute(
        _APPEND, act.id, now, store_id, actor.name, actor.address, kind, act.subject, *told, START.hash, body(act)
    )  # fmt: skip


async def page(tx: Tx, store_id: str, kind: str | None, before: str | None, limit: int) -> list[Act]:
    """Return a store's acts, newest first, those before an id; all of them, or those of one kind."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from acts a where store_id = $1 and ($2::text is null or kind = $2)"
        " and ($3::text is null or number < (select number from acts b where b.id = $3 and b.store_id = $1))"
        " order by number desc limit $4",
        store_id, kind, before, limit,
    )  # fmt: skip
    return [_link(row).act for row in rows]


async def newest(tx: "Tx | Pool[Any]", before: int | None, limit: int) -> list[Link]:
    """Return acts of the whole installation, newest first, those before a number: for the operator alone."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from acts where $1::bigint is null or number < $1 order by number desc limit $2",
        before,
        limit,
    )
    return [_link(row) for row in rows]


async def links(tx: "Tx | Pool[Any]", after: int = 0, store_id: str | None = None) -> AsyncIterator[Sequence[Link]]:
    """Yield the log in parts, oldest first, from after a number: all of it, or the acts of one store."""
    while True:
        rows = await tx.fetch(
            f"select {_COLUMNS} from acts where number > $1 and ($3::text is null or store_id = $3)"
            " order by number limit $2",
            after, PAGE, store_id,
        )  # fmt: skip
        if not rows:
            return
        yield [_link(row) for row in rows]
        after = rows[-1]["number"]


async def verify(
    tx: "Tx | Pool[Any]", anchor: Head = START, start: Head = START, *, rest_seconds: float = 0
) -> Head | Break:
    """Check the chain from a head on, with a rest after each part, and that the anchor is a part of it."""
    for kept in (anchor, start):
        if broken := compare(kept, await hash_at(tx, kept.number)):
            return broken
    head = start
    async for part in links(tx, head.number):
        found = follow(head, part)
        if isinstance(found, Break):
            return found
        head = found
        await asyncio.sleep(rest_seconds)
    return head


async def course(tx: Tx, change_id: str) -> Course | None:
    """Return what the log tells of the change of a wallet; None: not even that it was asked for."""
    rows = await tx.fetch(
        """select number, hash, kind from acts where subject = $1
               and kind in ('wallet.change_asked', 'wallet.change_cancelled', 'wallet.changed') order by number""",
        change_id,
    )
    if not rows or rows[0]["kind"] != "wallet.change_asked":
        return None
    return Course(Head(rows[0]["number"], rows[0]["hash"]), len(rows) > 1)


async def hash_at(tx: "Tx | Pool[Any]", number: int) -> bytes | None:
    """Return the stored hash of the act of a number."""
    found: bytes | None = await tx.fetchval("select hash from acts where number = $1", number)
    return found


async def anchored(tx: "Tx | Pool[Any]", place: str) -> int | None:
    """Return the number of the act that the anchor of a data folder was last seen to name; None: it never had one."""
    found: int | None = await tx.fetchval("select number from audit_anchors where place = $1", place)
    return found


async def note_anchor(tx: "Tx | Pool[Any]", place: str, number: int) -> None:
    """Remember that a data folder has an anchor, and the act that it names."""
    await tx.execute(
        "insert into audit_anchors (place, number) values ($1, $2)"
        " on conflict (place) do update set number = greatest(audit_anchors.number, $2)",
        place,
        number,
    )


async def last(tx: "Tx | Pool[Any]") -> Head:
    """Return the end of the log, as it is stored."""
    row = await tx.fetchrow("select number, hash from acts order by number desc limit 1")
    return START if row is None else Head(row["number"], row["hash"])


async def makers(tx: Tx, store_id: str, name: str) -> frozenset[str]:
    """Return a key or member of a store, who made the key or invited the member, who made those, and so on.

    The operator and Kassa are left out: whom they made stems from nobody.
    """
    return frozenset(row["name"] for row in await tx.fetch(_MAKERS, store_id, name))


async def is_recorded(tx: Tx, store_id: str, name: str, change_id: str) -> bool:
    """Tell whether the log says who made a key or let a member in, before it says that a change was asked for."""
    return bool(await tx.fetchval(_RECORDED, store_id, name, change_id))


async def keys_made_by(tx: Tx, store_id: str, name: str) -> frozenset[str]:
    """Return the keys of a store that somebody made, ended ones too."""
    rows = await tx.fetch(
        "select subject from acts where store_id = $1 and kind = 'api_key.created' and actor = $2", store_id, name
    )
    return frozenset(row["subject"] for row in rows)


def _link(row: Record) -> Link:
    act = Act(
        id=ActId(row["id"]),
        at=row["at"],
        store_id=row["store_id"],
        actor=Actor(row["actor"], row["address"]),
        kind=row["kind"],
        subject=row["subject"],
        before=row["before"],
        after=row["after"],
    )
    return Link(row["number"], row["hash"], act)
