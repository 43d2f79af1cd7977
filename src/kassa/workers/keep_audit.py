"""The watch over the audit log: what is added is checked at once, all of it every hour; its end is kept outside."""

import asyncio
from collections.abc import Awaitable, Callable

import kassa.audit.store as audit
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.anchor import advance, places, read_start
from kassa.audit.model import Break, Head
from kassa.house import House

ROUND_SECONDS = 5
"""An act that is cut off the log within this time after it was done is missed only by a head kept elsewhere."""
WHOLE_SECONDS = 3_600
"""Rest between two looks at the whole log: so long may an edit of an old act go unseen."""
BROKEN_SECONDS = 60
"""The same while the log is broken, and may have been accepted as it is."""
REST_SECONDS = 0.05
"""Rest after each part of the whole log: a fraction of a core is used, however long the log is."""
_NAMED = 8


async def keep_audit(house: House) -> None:
    """Follow the log until cancelled; any number of processes may do it, each with its own data folder."""

    async def look() -> Head | Break:
        return await advance(house.database.pool, house.settings.data_dir)

    await _watch(house, "audit log", flow.AUDIT_LOG, look, ROUND_SECONDS, ROUND_SECONDS)


async def prove_audit(house: House) -> None:
    """Check the log from its start, over and over, until cancelled: old acts are edited behind the anchor."""

    async def look() -> Head | Break:
        start = await asyncio.to_thread(read_start, house.settings.data_dir)
        return await audit.verify(house.database.pool, start=start, rest_seconds=REST_SECONDS)

    await _watch(house, "whole audit log", flow.WHOLE_AUDIT_LOG, look, WHOLE_SECONDS, BROKEN_SECONDS)


async def _watch(
    house: House,
    what: str,
    loop: str,
    look: Callable[[], Awaitable[Head | Break]],
    rest: float,
    rest_broken: float,
) -> None:
    broken = True  # as far as this process knows, an alert may be open
    # Each folder has an anchor of its own: what one machine misses, others find whole, or have accepted.
    name, where = await asyncio.to_thread(places, house.settings.data_dir)
    subject = f"{what} {name[:_NAMED]}"
    while True:
        found = await look()
        await house.database.run(lambda tx: flow.note_round(tx, house, loop, house.clock.now()))
        was, broken = broken, isinstance(found, Break)
        if was or broken:
            reason = f"{found.words}, says {where}; see `kassa audit verify` there" if isinstance(found, Break) else ""
            told = [Finding(Kind.AUDIT_LOG_BROKEN, subject, Severity.CRITICAL, reason)] if broken else []
            await house.database.run(
                lambda tx, told=told: flow.on_findings(  # type: ignore[misc]
                    tx, house, (Kind.AUDIT_LOG_BROKEN,), told, house.clock.now(), among=(subject,)
                )
            )
        await asyncio.sleep(rest_broken if broken else rest)
