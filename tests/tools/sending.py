"""Sending webhooks in tests: a store, its endpoints and events, and the real sender in this process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kassa.core.clock import SystemClock
from kassa.core.ids import InvoiceId, StoreId, WebhookId
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.house import House
from kassa.settings import Settings, Webhooks
from kassa.stores import store as stores
from kassa.wallets.mark import AddressMarks
from kassa.webhooks import store as webhooks
from kassa.webhooks.model import Endpoint
from kassa.webhooks.rules import make_secret
from kassa.workers.send_webhooks import send_webhooks
from tests.house import SEAL

SECRET = make_secret(bytes(range(32)))


async def until(fact: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Wait until a fact holds; raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110  the facts are rows and requests: nothing that could set an event
            await asyncio.sleep(0.01)


class Skewed:
    """The real clock, moved by what a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead


class Told:
    """The real clock, moved by what a file says: how another process shares the clock of a test."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "seconds-ahead"

    def tell(self, ahead: timedelta) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(ahead.total_seconds()))
        new.rename(self._file)

    def now(self) -> datetime:
        seconds = float(self._file.read_text()) if self._file.exists() else 0
        return SystemClock().now() + timedelta(seconds=seconds)


class Shop:
    """A store of its own, and the sender."""

    def __init__(self, house: House, store_id: StoreId, clock: Skewed) -> None:
        self.house, self.store_id, self.clock = house, store_id, clock
        self.database = house.database

    async def endpoint(self, url: str, *filters: str, secret: str = SECRET) -> Endpoint:
        async with self.database.transaction() as tx:
            return await webhooks.create_endpoint(
                tx, self.store_id, url, filters or ("*",), Secret(secret), self.house.clock.now()
            )

    async def write(self, *made: NewEvent) -> None:
        async with self.database.transaction() as tx:
            await events.write(tx, made, self.house.clock.now())

    async def events(self, count: int, invoices: int | None = None, **more: Any) -> None:
        """Write events, each `n` of an invoice `i`, in one transaction each hundred."""
        made = [self.event(n, n % (invoices or count), **more) for n in range(count)]
        for start in range(0, count, 100):
            await self.write(*made[start : start + 100])

    def event(self, n: int, invoice: int = 0, url: str | None = None) -> NewEvent:
        body = {"object": "invoice", "id": f"inv_{invoice}", "n": n}
        return NewEvent(self.store_id, "invoice.updated", body, InvoiceId(f"inv_{invoice}"), url)

    async def states(self) -> dict[str, int]:
        rows = await self.database.pool.fetch("select state, count(*) from deliveries group by state")
        return {row["state"]: row["count"] for row in rows}

    async def until_states(self, seconds: float = 30, **expected: int) -> None:
        try:
            await until(lambda: self._are(expected), seconds)
        except TimeoutError:
            raise AssertionError(f"{await self.states()}, not {expected}") from None

    async def _are(self, expected: dict[str, int]) -> bool:
        return await self.states() == expected

    async def attempted(self, times: int) -> None:
        """Wait until so many attempts are written down, and nothing is under way."""
        await until(
            lambda: self.database.pool.fetchval(
                "select (select count(*) from delivery_attempts) >= $1"
                " and not exists (select from deliveries where claimed_until is not null)",
                times,
            )
        )

    async def due_now(self, *, dead: bool = False) -> None:
        """Let every pause be over; with `dead`, also every claim of a process that died."""
        await self.database.run(
            lambda tx: tx.execute(
                "update deliveries set due_at = $1, claimed_until = null"
                " where state = 'due' and due_at is not null and (claimed_until is null or $2)",
                self.house.clock.now(),
                dead,
            )
        )
        await self.database.pool.execute("notify kassa_events")

    async def pass_time(self, passed: timedelta) -> None:
        """Move the clock of this shop, and that of senders in processes of their own."""
        self.clock.ahead += passed
        Told(self.house.settings.data_dir).tell(self.clock.ahead)
        await self.database.pool.execute("notify kassa_events")

    async def rested(self) -> None:
        """Wait until nothing is under way, and nothing is to be sent before the clock moves on."""
        await until(
            lambda: self.database.pool.fetchval(
                "select not exists (select from events where sequence is null) and not exists ("
                " select from deliveries where state = 'due' and (claimed_until is not null or due_at <= $1))",
                self.house.clock.now(),
            )
        )

    async def attempts(self, webhook_id: WebhookId | None = None) -> list[dict[str, Any]]:
        rows = await self.database.pool.fetch(
            "select d.webhook_id, a.* from delivery_attempts a join deliveries d on d.id = a.delivery_id"
            " where $1::text is null or d.webhook_id = $1 order by a.started_at",
            webhook_id,
        )
        return [dict(row) for row in rows]

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the sender; its end by anything but the end of the test is an error."""
        task = asyncio.create_task(send_webhooks(self.house))
        try:
            yield task
        finally:
            ended = task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if ended:
                await task


async def open_shop(database: Database, data_dir: Path, *, private: bool = True) -> Shop:
    """Make a store, in a house that may send to local addresses (or not)."""
    clock = Skewed()
    settings = Settings(data_dir=data_dir, webhooks=Webhooks(allow_private_addresses=private))
    marks = await AddressMarks.start(database, data_dir)
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "Test", "EUR", False, clock.now())
    return Shop(House(settings, database, {}, clock, marks, SEAL), store.id, clock)


async def _send_for_ever(url: str, data_dir: Path) -> None:
    database = await Database.open(url)
    settings = Settings(data_dir=data_dir, webhooks=Webhooks(allow_private_addresses=True))
    house = House(settings, database, {}, Told(data_dir), await AddressMarks.start(database, data_dir), SEAL)
    await send_webhooks(house)


if __name__ == "__main__":  # a sender that can be killed
    asyncio.run(_send_for_ever(sys.argv[1], Path(sys.argv[2])))
