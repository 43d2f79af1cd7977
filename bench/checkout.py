"""The checkout: weight of a first view, its server time, renders per second, and news to 1,000 open pages.

    python bench/checkout.py [--invoices 1000] [--seconds 5]

The server is a process of its own on an embedded PostgreSQL. Limit of the renders: the same server answering with a
file from memory. "For the first time" is when its QR codes are not drawn yet. Prints one line of JSON last.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa import flow
from kassa.api.app import create_app
from kassa.api.server import make_server
from kassa.checkout.pages import handlers
from kassa.core.clock import SystemClock
from kassa.core.ids import InvoiceId, StoreId
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.house import House
from kassa.invoices.model import Order
from tests.api.conftest import follow
from tests.house import add_store, build_house

HEAD = "GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\naccept-language: en-GB,en;q=0.9\r\n\r\n"
LANES = 32  # connections that ask at once
MOST_BYTES, LEAST_RENDERS, MOST_SECONDS = 30_000, 500, 1.0
MOST_AT_ONCE = 14_600  # bytes that a new connection sends before it must hear of the other side (RFC 6928)


def serve(url: str, data_dir: str, pipe: Connection) -> None:
    """Serve the checkout until told to stop; send the port and the ids of new invoices when asked for some."""

    async def run() -> None:
        database = await Database.open(url, connections=20)
        house = await build_house(database, Path(data_dir), clock=SystemClock())  # type: ignore[arg-type]
        await follow(house)
        async with database.transaction() as tx:
            store = await add_store(tx, house)
        server = make_server(create_app(house, handlers(house)), "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 uvicorn tells nobody
            await asyncio.sleep(0.01)
        pipe.send(server.servers[0].sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        while (count := await loop.run_in_executor(None, pipe.recv)) != "stop":
            pipe.send([await _invoice(house, store, number) for number in range(count)])
        server.should_exit = True
        await serving
        await house.marks.close()
        await database.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def _invoice(house: House, store: object, number: int) -> str:
    now = house.clock.now()
    order = Order("49.90", "EUR", description=f"Order {number}", expires_in=86_400)
    opening = await flow.quote_invoice(house, store, order, now)  # type: ignore[arg-type]
    async with house.database.transaction() as tx:
        return str((await flow.open_invoice(tx, house, opening, now))["id"])


class Lane:
    """One kept connection that asks for a path and reads the whole answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "Lane":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def get(self, path: str) -> bytes:
        self.writer.write(HEAD.format(path).encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head)
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        return head + await self.reader.readexactly(length)


async def rate(port: int, paths: list[str], seconds: float | None) -> float:
    """Ask for paths in turn by several lanes, for some seconds or once each; return answers per second."""
    lanes = [await Lane.open(port) for _ in range(LANES)]
    began, done, left = time.perf_counter(), 0, iter(paths)

    async def work(lane: Lane, first: int) -> None:
        nonlocal done
        place = first
        while time.perf_counter() - began < seconds if seconds else True:
            path = paths[place % len(paths)] if seconds else next(left, None)
            if path is None:
                return
            await lane.get(path)
            done, place = done + 1, place + LANES

    await asyncio.gather(*(work(lane, number) for number, lane in enumerate(lanes)))
    return done / (time.perf_counter() - began)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def weigh(port: int, path: str) -> tuple[int, int]:
    """Return the bytes of the page itself, and of a first view: the page and all that it loads, with their heads."""
    lane = await Lane.open(port)
    page = await lane.get(path)
    text = gzip.decompress(page.partition(b"\r\n\r\n")[2]).decode()
    loaded = re.findall(r'(?:href|src)="(/i/assets/[^"]+)"', text)
    return len(page), len(page) + sum([len(await lane.get(one)) for one in loaded])


async def fan_out(port: int, ids: list[str], url: str, description: str) -> float:
    """Watch invoices by a stream each, change them by one commit; return the seconds until the last stream told it."""
    lanes = []  # kept: a writer that nobody holds closes its connection
    for id_ in ids:
        lane = await Lane.open(port)
        lane.writer.write(HEAD.format(f"/i/{id_}/stream").encode())
        lanes.append(lane)
    for reader in (lane.reader for lane in lanes):
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head)
        await _until_data(reader)
    database = await Database.open(url)
    changed = sorted(set(ids))
    async with database.transaction() as tx:
        await tx.execute("update invoices set description = $2 where id = any($1)", changed, description)
        store = StoreId(await tx.fetchval("select store_id from invoices where id = $1", changed[0]))
        news = [NewEvent(store, "invoice.updated", {}, InvoiceId(id_)) for id_ in changed]
        await events.write(tx, news, SystemClock().now())
    began = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*map(_until_data, [lane.reader for lane in lanes])), 60)
    took = time.perf_counter() - began
    await database.close()
    return took


async def _until_data(reader: asyncio.StreamReader) -> None:
    while not (await reader.readuntil(b"\n")).startswith(b"data: "):
        pass


async def measure(url: str, port: int, pid: int, pipe: Connection, count: int, seconds: float) -> dict[str, object]:
    loop = asyncio.get_running_loop()

    async def made(number: int) -> list[str]:
        pipe.send(number)
        return await loop.run_in_executor(None, pipe.recv)

    ids = await made(count)
    paths = [f"/i/{id_}" for id_ in ids]
    page, weight = await weigh(port, paths[0])
    print(f"made {count} invoices; a first view weighs {weight} bytes, {page} of them the page", flush=True)
    first = await rate(port, paths, None)
    lane = await Lane.open(port)
    times = []
    for path in paths[:200]:
        began = time.perf_counter()
        await lane.get(path)
        times.append(time.perf_counter() - began)
    text = (await lane.get(paths[0])).partition(b"\r\n\r\n")[2]
    style = re.search(r'href="(/i/assets/[^"]+css)"', gzip.decompress(text).decode())[1]  # type: ignore[index]
    limit = await rate(port, [style], seconds / 2)
    renders = await rate(port, paths, seconds)
    limit = max(limit, await rate(port, [style], seconds / 2))
    cpu = cpu_seconds(pid)
    again = round(await rate(port, paths, seconds) * seconds)
    cpu_us = (cpu_seconds(pid) - cpu) / again * 1e6
    print(f"{renders:.0f} renders per second, {first:.0f} for the first time", flush=True)
    one = await fan_out(port, ids[:1] * 1_000, url, "one")
    many = await fan_out(port, ids[:1_000], url, "many")
    return {
        "page_bytes": page,
        "weight_bytes": weight,
        "server_ms": round(median(times) * 1000, 2),
        "first_renders_per_second": round(first),
        "renders_per_second": round(renders),
        "server_cpu_us": round(cpu_us),
        "limit_per_second": round(limit),
        "ratio": round(renders / limit, 2),
        "fan_out_one_invoice_seconds": round(one, 3),
        "fan_out_1000_invoices_seconds": round(many, 3),
        "load": os.getloadavg()[0],
        "met": page <= MOST_AT_ONCE
        and weight <= MOST_BYTES
        and min(first, renders) >= LEAST_RENDERS
        and max(one, many) <= MOST_SECONDS,
    }


def main() -> None:
    """Run it all and print the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--invoices", type=int, default=1_000)
    asked.add_argument("--seconds", type=float, default=5)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kassa-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = embedded.start(Path(folder) / "database")
        url = server.url

        async def prepare() -> None:
            database = await Database.open(url)
            async with database.pool.acquire() as connection:
                await migrate(connection)
            await database.close()

        asyncio.run(prepare())
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(url, folder, theirs))
        process.start()
        if not ours.poll(60):
            raise AssertionError("the server did not start")
        port = ours.recv()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(measure(url, port, process.pid or 0, ours, options.invoices, options.seconds))
        with suppress(OSError):
            ours.send("stop")
        process.join(30)
        process.kill()
        server.close()
    print(
        f"the page {figures['page_bytes']:,} bytes (at most {MOST_AT_ONCE:,}, for one round trip), the first view "
        f"{figures['weight_bytes']:,} (at most {MOST_BYTES:,}), {figures['server_ms']} ms; "
        f"{figures['renders_per_second']}/s again ({figures['server_cpu_us']} µs of CPU each) and "
        f"{figures['first_renders_per_second']}/s for the first time (at least {LEAST_RENDERS}; a file from memory: "
        f"{figures['limit_per_second']}/s); news to 1,000 pages of one invoice in "
        f"{figures['fan_out_one_invoice_seconds']} s, of 1,000 invoices in "
        f"{figures['fan_out_1000_invoices_seconds']} s (at most {MOST_SECONDS})"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
