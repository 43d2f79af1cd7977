"""A store's reports on the command line."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import kassa.stores.store as stores
from kassa import flow
from kassa.flow.exporting import Report
from kassa.ledger.verify_store import only_read
from kassa.main import open_house
from kassa.settings import Settings

Result = TypeVar("Result")


async def report(
    settings: Settings, store_id: str, name: str, days: tuple[str | None, str | None], tell: Report
) -> dict[str, Any]:  # JSON
    """Return a report as the API does, telling how long it takes; raises `KassaError`."""
    async with open_house(settings) as house, house.database.transaction() as tx:
        await only_read(tx)
        store = await stores.get_store(tx, store_id)
        return {"data": await telling(flow.report(tx, house, store, name, days, house.clock.now()), name, tell)}


async def telling(work: Coroutine[Any, Any, Result], name: str, tell: Report) -> Result:
    """Do one piece of work that cannot say how far it is (a sum over the books), and tell its seconds so far."""
    task, seconds = asyncio.create_task(work), 0
    try:
        while not (await asyncio.wait([task], timeout=1))[0]:
            seconds += 1
            tell(f"{name}, seconds so far", seconds, None)
        return task.result()
    finally:
        # Whoever is interrupted gives the connection back: not before its question has ended.
        task.cancel()
        await asyncio.wait([task])


def report_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Say a report as a table."""
    if not told["data"]:
        yield "nothing"
        return
    columns = [name for name in told["data"][0] if name != "object"]
    rows = [columns, *[["-" if line[name] is None else str(line[name]) for name in columns] for line in told["data"]]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
