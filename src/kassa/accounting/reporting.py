"""A store's reports on the command line."""

from collections.abc import Iterator, Mapping
from typing import Any

import kassa.stores.store as stores
from kassa import flow
from kassa.ledger.verify_store import only_read
from kassa.main import open_house
from kassa.settings import Settings


async def report(
    settings: Settings, store_id: str, name: str, days: tuple[str | None, str | None]
) -> dict[str, Any]:  # JSON
    """Return a report as the API does; raises `KassaError`."""
    async with open_house(settings) as house, house.database.transaction() as tx:
        await only_read(tx)
        store = await stores.get_store(tx, store_id)
        return {"data": await flow.report(tx, house, store, name, days, house.clock.now())}


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
