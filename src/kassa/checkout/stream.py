"""An invoice as server-sent events (WHATWG HTML, section 9.2): its public part, whenever it changed.

All streams of a process are fed by one look, some hundred invoices at a time: at those that have a new event whenever a
hint tells of any, at all of them now and then. So what is looked at does not grow with the number of hints, and who
watches the same invoice shares its bytes.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import msgspec

from kassa.checkout.views import Views
from kassa.core.errors import Unavailable
from kassa.core.ids import InvoiceId
from kassa.db.faults import DATABASE_AWAY
from kassa.events.store import CHANNEL, last_places
from kassa.house import House

POLL_SECONDS = 3.0
"""Between two looks at all: confirmations and clocks move without an event."""
REST_SECONDS = 0.1
"""Between two looks at what has changed, however many hints come."""
REST_SHARE = 4
"""A look at all that took long is followed by so many times its length without one: the API shares the process."""
AT_ONCE = 100
"""Invoices that are read in one go; other requests run between two."""
LONGEST_SECONDS = 900
SILENT_SECONDS = 15
"""After so long without news an event is sent that says so: proxies keep the connection, and a page knows one that is
dead. A comment would reach no script."""
AWAY_SECONDS = 6
"""An invoice that could not be looked at for so long is told of no more: its page asks, and learns what new ones do."""
MOST = 1_500
"""Streams of one process; the server takes a few hundred connections more."""

MOST_FINAL = 1_000
"""With so many streams open, invoices that are final give way to those that are waited for."""
PER_ADDRESS = 150
"""Streams of one network address: whoever has one cannot take them all."""
FINAL_SECONDS = 300
"""So long a final invoice is still told of: a chain may take a payment back. Then its page asks now and then."""

_FULL = b"retry: 30000\n\n"
_HERE = b"event: here\ndata:\n\n"


def encoded(public: dict[str, Any]) -> tuple[bytes, str]:  # JSON
    """Return a public invoice as bytes, and the version by which page and stream tell whether it changed."""
    data = msgspec.json.encode(public)
    return data, hashlib.sha256(data).hexdigest()[:16]


class _Topic:
    """One invoice that is watched: what was last seen of it, and who waits for something else."""

    def __init__(self) -> None:
        self.watchers = 0
        self.place = -1  # of its last event that was looked at
        self.version = ""
        self.news = b""
        self.is_final = False
        self.final_since = 0.0  # monotonic
        self.unseen_since = 0.0  # monotonic; since when no look at it has succeeded, 0 where the last one has
        self.changed = asyncio.Event()

    def put(self, public: dict[str, Any]) -> None:  # JSON
        data, version = encoded(public)
        if version == self.version:
            return
        if public["is_final"] and not self.is_final:
            self.final_since = monotonic()
        self.version, self.is_final = version, public["is_final"]
        self.news = b"id: " + version.encode() + b"\ndata: " + data + b"\n\n"
        self.wake()

    def wake(self) -> None:
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    def is_lost(self) -> bool:
        return self.unseen_since > 0 and monotonic() - self.unseen_since > AWAY_SECONDS


class Streams:
    """The streams of this process."""

    def __init__(self, house: House, views: Views) -> None:
        self._house, self._views = house, views
        self._open = 0
        self._by_address: Counter[str] = Counter()
        self._topics: dict[InvoiceId, _Topic] = {}
        self._hint = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None  # while anyone listens

    def check_room(self, address: str | None, *, final: bool) -> None:
        """Raise `Unavailable` when there are as many streams as there may be: of an address, or of (final) invoices."""
        if self._open >= (MOST_FINAL if final else MOST) or self._is_crowded(address):
            raise Unavailable("too many streams are open; load the page again instead")

    async def follow(
        self, invoice_id: str, seen: str | None = None, address: str | None = None
    ) -> AsyncIterator[bytes]:
        """Yield an invoice as it is now, and again when it changed, for a quarter of an hour at most, or until it
        cannot be looked at any more.

        Who has `seen` a version already is sent nothing until there is another. `address` is what the caller's is
        counted as, if it is.
        """
        if self._open >= MOST or self._is_crowded(
            address
        ):  # many passed `check_room` together: this one is asked to come again later
            yield _FULL
            return
        end, version = monotonic() + LONGEST_SECONDS, seen
        async with self._watching(InvoiceId(invoice_id), address) as topic:
            yield b"retry: 3000\n\n"
            while monotonic() < end and not topic.is_lost():
                changed = topic.changed
                if topic.version not in ("", version):
                    version = topic.version
                    yield topic.news
                if topic.is_final and self._is_enough(topic):
                    return
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    self._keep_looking()  # whatever ended it
                    yield _HERE

    def _is_enough(self, topic: _Topic) -> bool:
        return self._open > MOST_FINAL or monotonic() - topic.final_since > FINAL_SECONDS

    def _is_crowded(self, address: str | None) -> bool:
        return address is not None and self._by_address[address] >= PER_ADDRESS

    @asynccontextmanager
    async def _watching(self, invoice_id: InvoiceId, address: str | None) -> AsyncIterator[_Topic]:
        topic = self._topics.setdefault(invoice_id, _Topic())
        self._open += 1
        self._by_address[address or ""] += 1
        topic.watchers += 1
        self._keep_looking()
        self._on_hint()
        try:
            yield topic
        finally:
            self._open -= 1
            self._by_address[address or ""] -= 1
            self._by_address += Counter()  # forgets whom nothing is counted of
            topic.watchers -= 1
            if topic.watchers == 0:
                self._topics.pop(invoice_id, None)
            if self._open == 0 and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def _keep_looking(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_always())

    async def _look_always(self) -> None:
        all_due = 0.0
        async with self._listening():
            while True:
                await self._look_where_hinted()
                if monotonic() >= all_due:
                    began = monotonic()
                    await self._look_at_all()
                    all_due = monotonic() + max(POLL_SECONDS, (monotonic() - began) * REST_SHARE)
                    self._end_lost()
                await asyncio.sleep(REST_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, all_due - monotonic())):
                        await self._hint.wait()

    async def _look_where_hinted(self) -> None:
        if self._hint.is_set():
            self._hint.clear()
            await self._look_at_changed()
            # Others may have committed in silence beside the sender of the hint.
            await asyncio.sleep(REST_SECONDS)
            await self._look_at_changed()

    def _end_lost(self) -> None:
        for topic in self._topics.values():
            if topic.is_lost():
                topic.wake()

    def _looking_at(self, ids: Iterable[InvoiceId]) -> None:
        for topic in filter(None, map(self._topics.get, ids)):
            topic.unseen_since = topic.unseen_since or monotonic()

    async def _look_at_changed(self) -> None:
        self._looking_at(self._topics)  # before the answer: one may never come
        try:
            async with self._house.database.pool.acquire() as connection:
                places = await last_places(connection, list(self._topics))
        except DATABASE_AWAY:
            return
        changed = []
        for id_, topic in self._topics.items():
            if topic.place >= 0:  # else it is still to be read
                topic.unseen_since = 0.0
            if topic.place != places.get(id_, 0):
                topic.place = places.get(id_, 0)
                changed.append(id_)
        for first in range(0, len(changed), AT_ONCE):
            await self._look(changed[first : first + AT_ONCE])

    async def _look_at_all(self) -> None:
        await self._look_at_changed()  # what is final changes by events alone
        ids = [id_ for id_, topic in self._topics.items() if not topic.is_final]
        for first in range(0, len(ids), AT_ONCE):
            await self._look(ids[first : first + AT_ONCE])
            await self._look_where_hinted()

    async def _look(self, ids: Sequence[InvoiceId]) -> None:
        self._looking_at(ids)
        try:
            found, kept = await self._views.read(ids)
        except (Unavailable, *DATABASE_AWAY):
            for id_ in ids:  # the next look may do better; what was shown stays true of its time
                if id_ in self._topics:
                    self._topics[id_].place = -1
            return
        for topic in filter(None, map(self._topics.get, ids)):
            topic.unseen_since = 0.0
        for id_, view in found.items():
            if id_ in self._topics:
                self._topics[id_].put(view.public)
                if id_ in kept:
                    self._topics[id_].place = -1  # what a hint told of may not be in it yet

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        connection: Any = None  # asyncpg's
        try:
            with suppress(*DATABASE_AWAY):  # without hints, looking every few seconds still finds everything
                connection = await self._house.database.pool.acquire(timeout=2)
                # The last page may close in this very moment: what was acquired goes back all the same.
                await connection.add_listener(CHANNEL, self._on_hint)
            yield
        finally:
            if connection is not None:
                await asyncio.shield(self._stop(connection))

    async def _stop(self, connection: Any) -> None:  # asyncpg's
        with suppress(*DATABASE_AWAY):
            await connection.remove_listener(CHANNEL, self._on_hint)
        with suppress(*DATABASE_AWAY):
            await self._house.database.pool.release(connection)

    def _on_hint(self, *_: object) -> None:
        self._hint.set()
