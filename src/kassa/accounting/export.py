"""Write a store's books of some days into a file, for whoever keeps them elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from kassa.core.errors import FieldFault, Invalid, KassaError
from kassa.flow.exporting import FORMATS, Report, days_of, write_books
from kassa.main import open_house
from kassa.settings import Settings


async def export(
    settings: Settings, store_id: str, days: tuple[str, str], form: str, output: Path | None, report: Report
) -> dict[str, Any]:  # JSON
    """Write the entries that were booked on some days (UTC, the last one included); raises `KassaError`.

    `output` None is standard output. A file appears whole or not at all.
    """
    if form not in FORMATS:
        raise Invalid(FieldFault("format", f"{form[:20]!r} is not one of {', '.join(FORMATS)}"))
    time = days_of(*days)
    async with open_house(settings) as house:
        with _opened(output) as file:
            entries = await write_books(house, store_id, time, form, file, report)
    return {"store_id": store_id, "entries": entries, "format": form, "file": None if output is None else str(output)}


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="strict")  # whatever the terminal has
        yield sys.stdout
        return
    part = output.with_name(output.name + ".part")
    try:
        part.unlink(missing_ok=True)  # of one that was killed; made anew, for it could be a link that somebody laid
        with open(part, "x", encoding="utf-8", newline="", opener=_own) as file:
            yield file
        part.replace(output)
    except OSError as fault:
        raise KassaError(f"{output} cannot be written: {fault.strerror}; choose another with -o") from fault
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _own(path: str, flags: int) -> int:
    # Who paid what is nobody's business on a machine with other users, whatever the umask.
    return os.open(path, flags, 0o600)
