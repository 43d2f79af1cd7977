"""The watch over the audit log: what is added is checked, and its end is kept outside the database."""

import asyncio

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.anchor import advance
from kassa.audit.model import Break
from kassa.house import House

ROUND_SECONDS = 5
"""An act that is cut off the log within this time after it was done is missed only by a head kept elsewhere."""

_SUBJECT = "audit log"


async def keep_audit(house: House) -> None:
    """Follow the log until cancelled; any number of processes may do it, each with its own data folder."""
    broken = True  # as far as this process knows, an alert may be open
    while True:
        found = await advance(house.database.pool, house.settings.data_dir)
        if isinstance(found, Break):
            reason = f"{found.words}; see `kassa audit verify`"
            told = Finding(Kind.AUDIT_LOG_BROKEN, _SUBJECT, Severity.CRITICAL, reason)
            await house.database.run(lambda tx, told=told: alerts.open_alert(tx, told, house.clock.now()))  # type: ignore[misc]
        elif broken:
            ended = "the log is whole, or was accepted as it is"
            await house.database.run(
                lambda tx: alerts.close_alert(tx, Kind.AUDIT_LOG_BROKEN, _SUBJECT, ended, house.clock.now())  # noqa: B023
            )
        broken = isinstance(found, Break)
        await asyncio.sleep(ROUND_SECONDS)
