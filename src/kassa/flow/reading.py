"""Read what many are judged by, so that one that cannot be read keeps none of the others from being judged."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.errors import KassaError
from kassa.db.pool import Tx

Id = TypeVar("Id", bound=str)
Read = TypeVar("Read")

# What reading a row that is not as we write rows can raise. A fault of the database itself is none of these: it ends
# the transaction for all.
FAULTS = (KassaError, ValueError, LookupError, TypeError, ArithmeticError, AssertionError)


async def read_each(
    take: Callable[[Sequence[Id]], Awaitable[list[Read]]], ids: Sequence[Id]
) -> tuple[list[Read], dict[Id, str]]:
    """Return what `take` reads of some ids, and why others cannot be read: they are then read one by one."""
    try:
        return await take(ids), {}
    except FAULTS as fault:
        if len(ids) == 1:
            return [], {ids[0]: f"{type(fault).__name__}: {fault}"}
    read: list[Read] = []
    faults: dict[Id, str] = {}
    for id_ in ids:
        found, failed = await read_each(take, [id_])
        read += found
        faults |= failed
    return read, faults


async def tell_unreadable(tx: Tx, faults: Mapping[Id, str], now: datetime) -> None:
    """Open an alert for each record that cannot be read; while it is open, the clock leaves an invoice alone."""
    for id_, reason in faults.items():
        told = f"{id_} cannot be read in the database: nothing is announced or booked of it any more"
        found = Finding(Kind.RECORD_UNREADABLE, id_, Severity.CRITICAL, told, detail=reason, about={"id": id_})
        await alerts.open_alert(tx, found, now)
