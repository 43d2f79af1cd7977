"""Write a store's books of some days into a file, for whoever keeps them elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import kassa.ledger.export_store as exports
import kassa.stores.store as stores
from kassa import flow
from kassa.accounting.beancount import Beancount
from kassa.accounting.proving import Report
from kassa.accounting.text import csv_heading, csv_lines, json_line
from kassa.core.errors import FieldFault, Invalid, KassaError
from kassa.core.money import currency
from kassa.db.pool import Tx
from kassa.house import House
from kassa.ledger.export_store import Exported
from kassa.ledger.verify_store import only_read
from kassa.main import open_house
from kassa.settings import Settings

FORMATS = ("csv", "jsonl", "beancount")

Writer = Callable[[Exported], Iterable[str]]


async def export(
    settings: Settings, store_id: str, days: tuple[str, str], form: str, output: Path | None, report: Report
) -> dict[str, Any]:  # JSON
    """Write the entries that were booked on some days (UTC, the last one included); raises `KassaError`.

    `output` None is standard output. A file appears whole or not at all.
    """
    if form not in FORMATS:
        raise Invalid(FieldFault("format", f"{form[:20]!r} is not one of {', '.join(FORMATS)}"))
    first, end = _day("from", days[0]), _day("to", days[1]) + timedelta(days=1)
    async with open_house(settings) as house:
        with _opened(output) as file:
            entries = await write_books(house, store_id, (first, end), form, file, report)
    return {"store_id": store_id, "entries": entries, "format": form, "file": None if output is None else str(output)}


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
        async for page in exports.pages(tx, store.id, *time):
            for each in page:
                file.writelines(writer(each))
            done += len(page)
            report("entries", done, of)
    return done


async def _writer(tx: Tx, house: House, store_id: str, form: str) -> tuple[str, Writer]:
    priced_in, decimals = currency((await stores.get_store(tx, store_id)).currency), flow.decimals(house)
    if form == "csv":
        return csv_heading(), partial(csv_lines, decimals=decimals, currency=priced_in)
    if form == "beancount":
        ledger = Beancount(priced_in, decimals)
        return ledger.heading(), ledger.entry
    return "", lambda each: (json_line(each, decimals, priced_in),)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(output)
    except OSError as fault:
        raise KassaError(f"{output} cannot be written: {fault.strerror}; choose another with -o") from fault
    finally:
        part.unlink(missing_ok=True)


def _day(field: str, text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid(FieldFault(field, f"{text[:20]!r} is not a day such as 2026-01-31")) from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
