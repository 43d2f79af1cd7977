"""Verify the audit log, accept it as it is, and bring it out."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import kassa.audit.store as audit
from kassa import flow
from kassa.audit.anchor import accept as put_anchor
from kassa.audit.anchor import prove, read_anchor, read_start
from kassa.audit.model import START, Actor, Break, Head
from kassa.audit.resource import link_resource
from kassa.audit.rules import compare, read_head
from kassa.core.clock import SystemClock
from kassa.core.errors import KassaError
from kassa.db.server import refuse_running
from kassa.house import derived_text
from kassa.invoices import seal_store as invoice_seals
from kassa.main import build_chains, former_chains, open_books
from kassa.people import seal_store as people_seals
from kassa.settings import Settings
from kassa.stores.store import get_store
from kassa.wallets import seal_store as seals
from kassa.wallets.seal import forget_former, make_another

Told = dict[str, Any]  # JSON for programs, lines for people


async def verify(settings: Settings, kept: str | None) -> Told:
    """Check the whole chain against the anchor in data_dir, if there ever was one, and a head that somebody kept."""
    anchor, start = read_anchor(settings.data_dir), read_start(settings.data_dir)
    wanted = START if kept is None else read_head(kept)
    async with open_books(settings) as database:
        found = await prove(database.pool, settings.data_dir)
        if isinstance(found, Head):
            found = compare(wanted, await audit.hash_at(database.pool, wanted.number)) or found
    told: Told = {
        "anchor": None if anchor == START else str(anchor),
        "since": start.number,
        "head": None,
        "broken_at": None,
        "reason": None,
    }
    if isinstance(found, Break):
        return told | {"broken_at": found.number, "reason": found.words}
    return told | {"head": str(found)}


async def accept(settings: Settings, by: Actor, reason: str) -> Told:
    """Take the log as it is from now on: after a backup was restored, or its loss was looked into. Recorded in it.

    Only where its chain is broken does it start anew before this act: what is whole stays watched.
    """
    anchor, start = read_anchor(settings.data_dir), read_start(settings.data_dir)
    async with open_books(settings) as database:
        found = await audit.verify(database.pool, start=start)
        async with database.transaction() as tx:
            was = await audit.last(tx)
            told = {"anchor": str(anchor)}, {"head": str(was), "reason": reason}
            now = SystemClock().now()
            await audit.record(tx, by, "audit_log.accepted", "audit log", now, before=told[0], after=told[1])
        head = await audit.last(database.pool)
    put_anchor(settings.data_dir, head, was if isinstance(found, Break) else start)
    return {"head": str(head)}


async def renew_key(settings: Settings, by: Actor, reason: str) -> Told:
    """Seal every wallet and address anew with a new key: for when the old one is lost. Recorded in the log.

    Where the former key is there, and is the one that sealed the database, only what it sealed is sealed anew. Else
    what the wallets derive is taken for good, whoever wrote it: compare the wallets' fingerprints first. Raises
    `DatabaseError` while another Kassa runs, which would take what is sealed anew for changed.
    """
    chains = build_chains(settings)
    async with open_books(settings, connections=1) as database:  # all others are somebody else's
        await refuse_running(database.pool, "renew the key")
        everything = {**await former_chains(settings, database), **chains}
        fingerprint = await seals.fingerprint(database.pool)
        former, seal = await make_another(settings.data_dir, fingerprint)
        # Who came meanwhile may have read the former key; who comes from now on is refused, for this one seals nothing.
        await refuse_running(database.pool, "renew the key")
        told_by = former if former is not None and former.fingerprint == fingerprint else None
        async with database.transaction() as tx:
            await seals.adopt_key(tx, seal, renew=True)
            done = await seals.seal_all(tx, seal, partial(derived_text, everything), told_by)
            if former is not None:
                await flow.lock_anew(tx, former, seal)
            await people_seals.seal_all_anew(tx, former, seal)
            await invoice_seals.seal_all_anew(tx, former, seal)
            told: Told = asdict(done) | {"fingerprint": seal.fingerprint.hex(), "reason": reason}
            await audit.record(tx, by, "address_key.renewed", "address key", SystemClock().now(), after=told)
    await forget_former(settings.data_dir)
    return told


async def export(settings: Settings, after: int, store_id: str | None, output: Path | None) -> None:
    """Write acts as JSON lines, oldest first, from after a number; to standard output if to no file.

    A file is for its owner alone, and never takes the place of another: an older one is evidence. Raises `KassaError`
    where it cannot be written, `NotFound` where there is no such store.
    """
    async with open_books(settings) as database:
        if store_id is not None:
            async with database.transaction() as tx:
                await get_store(tx, store_id)
        with _opened(output) as file:
            async for part in audit.links(database.pool, after, store_id):
                for link in part:
                    file.write(json.dumps(link_resource(link)) + "\n")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        made = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as fault:
        raise KassaError(f"{output} is there already: name another, since an older export is evidence") from fault
    except OSError as fault:
        raise KassaError(f"{output} cannot be written: {fault.strerror}; choose another with -o") from fault
    try:
        with open(made, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        output.unlink(missing_ok=True)
        raise
