"""Files between versions: two run side by side for a while, and a page of one may ask a process of the other."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

from kassa.db.batch import Batch
from kassa.db.pool import Database
from kassa.files import store
from kassa.files.model import File, file_of, is_name
from kassa.wallets.seal import Seal, fits

KEPT = timedelta(days=30)
"""So long a file is kept once a process started that has it no more: a page may have been open for all that time."""
FORGOTTEN_AT_ONCE = 100
"""Files that one transaction deletes: a start must not wait for one that deletes all at once."""
REMEMBERED_SECONDS = 2
"""How long it is known what the database said of a name, mostly that there is no such file."""
_MOST = 1_000  # names that are remembered


async def share(database: Database, seal: Seal, files: Iterable[File], now: datetime) -> None:
    """Let processes of other versions serve the files of this one."""
    texts = {file.name: file.body.decode() for file in files}
    sealed = {name: (text, _seal(seal, name, text)) for name, text in sorted(texts.items())}
    await database.run(partial(store.put, files=sealed, now=now))
    while await database.run(partial(store.forget, before=now - KEPT, limit=FORGOTTEN_AT_ONCE)) == FORGOTTEN_AT_ONCE:
        pass


class Shelf:
    """What a process serves of the files of other versions. Anybody may ask: there is one query at a time at most."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database, self._seal = database, seal
        self._batch = Batch(self._ask)
        self._known: dict[str, tuple[float, File | None]] = {}  # by name, with until when; monotonic

    async def find(self, name: str) -> File | None:
        """Return the file of a name, or None; raises one of `DATABASE_AWAY`."""
        if not is_name(name):
            return None
        until, found = self._known.get(name, (0.0, None))
        if until < monotonic():
            found = await self._batch.get(name)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[name] = monotonic() + REMEMBERED_SECONDS, found
        return found

    async def _ask(self, names: Sequence[str]) -> list[File | None]:
        async with self._database.pool.acquire(timeout=5) as connection:
            rows = await store.get(connection, names)
        return [self._checked(name, *rows[name]) if name in rows else None for name in names]

    def _checked(self, name: str, text: str, seal: bytes) -> File | None:
        # Whoever can write to the database must not have scripts of theirs served from our address.
        return file_of(name, text.encode()) if fits(seal, _seal(self._seal, name, text)) else None


def _seal(seal: Seal, name: str, text: str) -> bytes:
    return seal.of_row("page_files", name, text)
