"""Verify the audit log, accept it as it is, and bring it out."""

import json
from collections.abc import Callable
from typing import Any

import kassa.audit.store as audit
from kassa.audit.anchor import accept as put_anchor
from kassa.audit.anchor import read_anchor
from kassa.audit.model import START, Actor, Break, Head
from kassa.audit.resource import link_resource
from kassa.audit.rules import compare, read_head
from kassa.core.clock import SystemClock
from kassa.main import open_books
from kassa.settings import Settings

Told = dict[str, Any]  # JSON for programs, lines for people


async def verify(settings: Settings, kept: str | None) -> Told:
    """Check the whole chain against the anchor in data_dir, and against a head that somebody kept."""
    anchor = read_anchor(settings.data_dir)
    wanted = START if kept is None else read_head(kept)
    async with open_books(settings) as database:
        found = await audit.verify(database.pool, anchor)
        if isinstance(found, Head):
            found = compare(wanted, await audit.hash_at(database.pool, wanted.number)) or found
    told: Told = {"anchor": str(anchor), "head": None, "broken_at": None, "reason": None}
    if isinstance(found, Break):
        return told | {"broken_at": found.number, "reason": found.words}
    return told | {"head": str(found)}


async def accept(settings: Settings, by: Actor, reason: str) -> Told:
    """Take the log as it is from now on: after a backup was restored, or its loss was looked into. Recorded in it."""
    anchor = read_anchor(settings.data_dir)
    async with open_books(settings) as database:
        async with database.transaction() as tx:
            was = await audit.last(tx)
            told = {"anchor": str(anchor)}, {"head": str(was), "reason": reason}
            now = SystemClock().now()
            await audit.record(tx, by, "audit_log.accepted", "audit log", now, before=told[0], after=told[1])
        head = await audit.last(database.pool)
    put_anchor(settings.data_dir, head)
    return {"head": str(head)}


async def export(settings: Settings, after: int, store_id: str | None, write: Callable[[str], object]) -> None:
    """Write acts as JSON lines, oldest first, from after a number."""
    async with open_books(settings) as database:
        async for part in audit.links(database.pool, after, store_id):
            for link in part:
                write(json.dumps(link_resource(link)) + "\n")
