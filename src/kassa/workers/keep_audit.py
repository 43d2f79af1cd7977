"""The watch over the audit log: what is added is checked at once, all of it every hour; its end is kept outside."""

import asyncio
from collections.abc import Awaitable, Callable

import kassa.alerts.store as alerts
import kassa.audit.store as audit
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.anchor import advance, read_start
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
    subject: str,
    name: str,
    look: Callable[[], Awaitable[Head | Break]],
    rest: float,
    rest_broken: float,
) -> None:
    broken = True  # as far as this process knows, an alert may be open
    while True:
        found = await look()
        await house.database.run(lambda tx: flow.note_round(tx, house, name, house.clock.now()))
        if isinstance(found, Break):
            reason = f"{found.words}; see `kassa audit verify`"
            told = Finding(Kind.AUDIT_LOG_BROKEN, subject, Severity.CRITICAL, reason)
            await house.database.run(lambda tx, told=told: alerts.open_alert(tx, told, house.clock.now()))  # type: ignore[misc]
        elif broken:
            ended = "the log is whole, or was accepted as it is"
            await house.database.run(
                lambda tx: alerts.close_alert(tx, Kind.AUDIT_LOG_BROKEN, subject, ended, house.clock.now())  # noqa: B023
            )
        broken = isinstance(found, Break)
        await asyncio.sleep(rest_broken if broken else rest)
