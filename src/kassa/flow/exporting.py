"""A store's books of some days as a text, for whoever keeps them elsewhere: CSV, lines of JSON, beancount."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TextIO

import kassa.ledger.export_store as exports
import kassa.stores.store as stores
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.flow.days import day_of, time_of
from kassa.house import House
from kassa.ledger.beancount import Beancount
from kassa.ledger.export_store import Exported
from kassa.ledger.text import csv_heading, csv_lines, json_line
from kassa.ledger.verify_store import only_read
from kassa.payments.asset_store import decimals as known_decimals

FORMATS = ("csv", "jsonl", "beancount")

Writer = Callable[[Exported], Iterable[str]]
Report = Callable[[str, int, int | None], None]


def days_of(first: str, last: str) -> tuple[datetime, datetime]:
    """Return the time of some days (UTC, the last one included; its end is not part of it); raises `Invalid`."""
    return time_of(day_of("from", first), day_of("to", last))


async def write_books(
    house: House, store_id: str, time: tuple[datetime, datetime], form: str, file: TextIO, report: Report
) -> int:
    """Write a store's entries of a time (its end is not part of it), from one snapshot; return how many there were."""
    async with house.database.transaction() as tx:
        await only_read(tx)
        heading, writer = await _writer(tx, house, store_id, form)
        store = await stores.get_store(tx, store_id)
        of, done = await exports.count(tx, store.id, *time), 0
        file.write(heading)
        async for page in exports.pages(tx, store.id, store.currency, *time):
            for each in page:
                file.writelines(writer(each))
            done += len(page)
            report("entries", done, of)
    return done


async def _writer(tx: Tx, house: House, store_id: str, form: str) -> tuple[str, Writer]:
    priced_in, decimals = currency((await stores.get_store(tx, store_id)).currency), await known_decimals(tx)
    if form == "csv":
        return csv_heading(), partial(csv_lines, decimals=decimals, currency=priced_in)
    if form == "beancount":
        ledger = Beancount(priced_in, decimals)
        return ledger.heading(), ledger.entry
    return "", lambda each: (json_line(each, decimals, priced_in),)
