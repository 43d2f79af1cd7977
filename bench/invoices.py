"""Invoices made per second over HTTP, beside the rate at which PostgreSQL itself commits the same rows.

    python bench/invoices.py [--seconds 5] [--clients 16] [--processes 1] [--keys]

Goal: at least 40 %. The program is `kassa api` in a process of its own on the embedded server (fsync on); the clients
are bare sockets in another. The limit is one prepared statement that writes the same rows (invoice, address, option,
event) and moves a counter, over as many connections; each has a counter of its own, so that none waits for another.
`--processes` starts several programs on one database, as many machines would, and shares the clients among them;
`--keys` sends an Idempotency-Key with every order. Prints one line of JSON last.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa.chains.registry import FAMILIES
from kassa.core.ids import new_id
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.stores import store as stores
from kassa.wallets import store as wallets
from tests.house import BITCOIN, SEAL, TPUB

GOAL = 0.4
ROUNDS = 3
CONFIG = """
database_url = "{url}"
data_dir = "{folder}/data"
[http]
listen = "127.0.0.1:{port}"
ops_listen = "off"
public_url = "http://127.0.0.1:{port}"
[networks.bitcoin-regtest]
family = "bitcoin"
chain = "bitcoin-regtest"
rpc_url = "http://u:p@127.0.0.1:1"
confirmations = [{{ blocks = 1 }}]
[rates]
fixed = {{ "BTC/EUR" = "60000" }}
"""
_SAME_ROWS = """
with counter as (
    update keychains set next_index = next_index + 1 where id = $1 returning next_index - 1 as index
), invoice as (
    insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at, reference,
        description, metadata, networks, status, deadline)
    values ($2, $3, 4990, 'EUR', 0, $4::timestamptz, $4::timestamptz + interval '15 minutes', 'order-1001', null,
        '{}', 'bitcoin-regtest', 'new', $4::timestamptz + interval '15 minutes')
), address as (
    insert into addresses
        (id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id, created_at, seal)
    select $5, 'bitcoin-regtest', $6, $7, $8, $1, counter.index, $3, $2, $4, sha256($6) from counter
), event as (
    insert into events (id, store_id, type, created_at, invoice_id, object, correlation)
    values ($9, $3, 'invoice.created', $4, $2, $10, $12)
)
insert into payment_options
    (invoice_id, asset, network, address_id, due_units, rate, rate_source, rate_at, confirmations,
        rate_method)
values ($2, 'BTC@bitcoin-regtest', 'bitcoin-regtest', $5, 83167, '60000', 'fixed', $4, '[[null, 1]]', $11)
"""


_INVOICE = b'{"object":"invoice","id":"inv_'


class _Client(asyncio.Protocol):
    """Sends one order after the other over one connection and counts the 201s, and what else came."""

    made = 0
    others: ClassVar[Counter[str]] = Counter()

    def __init__(self, request: Callable[[], bytes], until: float) -> None:
        self.request, self.until = request, until
        self.closed = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:  # a transport
        self.transport = transport
        transport.write(self.request())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.find(b"content-length: ") + 16
        if len(self.buffer) < end + 4 + int(self.buffer[at : self.buffer.find(b"\r", at)]):
            return
        if self.buffer.startswith(b"HTTP/1.1 201 ") and self.buffer.startswith(_INVOICE, end + 4):
            _Client.made += 1
        else:
            _Client.others[_summary(self.buffer)] += 1
        self.buffer = b""
        if time.monotonic() < self.until:
            self.transport.write(self.request())
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


def _summary(answer: bytes) -> str:
    status, code = answer[9:12].decode("latin-1"), re.search(rb'"code":"(\w+)"', answer)
    return f"{status} {code[1].decode() if code else answer[-200:]!r}"


def order(pipe: Connection, ports: list[int], key: str, clients: int, keys: bool) -> None:
    """Whenever told a number of seconds, order for so long; send invoices per second, their number, other answers."""
    body = b'{"amount":"49.90","currency":"EUR","reference":"order-1001"}'
    head = (
        f"POST /v1/invoices HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    ).encode()
    count = iter(range(10**9))

    def request() -> bytes:
        own = f"idempotency-key: {os.getpid()}-{next(count)}\r\n".encode() if keys else b""
        return head + own + b"\r\n" + body

    async def run(seconds: float) -> tuple[float, int, Counter[str]]:
        _Client.made = 0
        _Client.others.clear()
        loop, start = asyncio.get_running_loop(), time.monotonic()
        opened = [
            await loop.create_connection(lambda: _Client(request, start + seconds), "127.0.0.1", ports[n % len(ports)])
            for n in range(clients)
        ]
        await asyncio.gather(*(client.closed for _, client in opened))
        return _Client.made / (time.monotonic() - start), _Client.made, Counter(_Client.others)

    while seconds := pipe.recv():
        pipe.send(uvloop.run(run(seconds)))


def commit(pipe: Connection, url: str, store: str, clients: int, event: str, method: str) -> None:
    """Whenever told a number of seconds, commit the same rows for so long; send how many a second, and how many."""

    async def one(connection: "asyncpg.Connection[Any]", counter: int, until: float) -> int:
        statement, made = await connection.prepare(_SAME_ROWS), 0
        while time.monotonic() < until:
            now, script = datetime.now(UTC), os.urandom(22)
            await statement.fetch(
                counter, new_id("inv", now), store, now, new_id("adr", now), script, "bcrt1q" + script.hex()[:38],
                int.from_bytes(script[:7]), new_id("evt", now), event, method,
                os.urandom(16).hex(),
            )  # fmt: skip
            made += 1
        return made

    async def run(seconds: float) -> tuple[float, int]:
        connections = [await asyncpg.connect(url) for _ in range(clients)]
        counters = [
            await connection.fetchval(
                "insert into keychains (space, descriptor, fingerprint, created_at) values ('limit', $1, '', now())"
                " returning id",
                os.urandom(16).hex(),
            )
            for connection in connections
        ]
        start = time.monotonic()
        made = await asyncio.gather(
            *(
                one(connection, counter, start + seconds)
                for connection, counter in zip(connections, counters, strict=True)
            )
        )
        elapsed = time.monotonic() - start
        await asyncio.gather(*(connection.close() for connection in connections))
        return sum(made) / elapsed, sum(made)

    while seconds := pipe.recv():
        pipe.send(uvloop.run(run(seconds)))


async def prepare(url: str) -> tuple[str, str]:
    """Migrate, and make a store with a wallet on a followed network; return the store's id and a key."""
    database = await Database.open(url)
    now = datetime.now(UTC)
    async with database.pool.acquire() as connection:
        await migrate(connection)
    async with database.transaction() as tx:
        store = await stores.create_store(tx, "Bench", "EUR", False, now)
        account = FAMILIES["bitcoin"].chain(BITCOIN, BITCOIN, ()).addresses.account(TPUB)
        await wallets.add_wallet(tx, store.id, BITCOIN, BITCOIN, account, SEAL, now)
        _, key = await stores.create_key(tx, store, now)
        await tx.execute(
            "insert into networks (id, chain, lease_until, height, hash, node_height, state, contacted_at, observed_at)"
            " values ($1, $1, now() + interval '1 day', 100, repeat('ab', 32), 100, 'ok', now(), now())",
            BITCOIN,
        )
    await database.close()
    return store.id, key


async def served(port: int) -> None:
    """Return when the program takes connections."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def cpu_seconds(*pids: int) -> float:
    """Return the processor time that processes have used, the children they waited for included."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # a backend that ended just now: its parent has its time
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def with_children(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


class Meter:
    """Tells what processor time some processes have used since it was made."""

    def __init__(self, users: dict[str, list[int]]) -> None:
        self._users = users
        self._before = {user: cpu_seconds(*pids) for user, pids in users.items()}

    def each(self, count: int) -> str:
        """Say how many microseconds each of so many took."""
        spent = {user: cpu_seconds(*pids) - self._before[user] for user, pids in self._users.items()}
        return ", ".join(f"{user} {seconds / count * 1e6:.0f}" for user, seconds in spent.items())


class Worker:
    """A process that measures when it is told to."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=target, args=(far, *args), daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0

    def measure(self, seconds: float) -> Any:  # what the target sends
        self._pipe.send(seconds)
        return self._pipe.recv()

    def end(self) -> None:
        self._pipe.send(0)
        self._process.join()


def one_invoice(url: str) -> tuple[str, str]:
    """Return event and rate of an invoice that the program made, as written: the limit writes the same bytes."""

    async def read() -> tuple[str, str]:
        connection = await asyncpg.connect(url)
        row = await connection.fetchrow(
            "select object, rate_method::text from events join payment_options using (invoice_id) limit 1"
        )
        await connection.close()
        assert row is not None
        return row[0], row[1]

    return asyncio.run(read())


def written(url: str) -> int:
    """Return how many invoices there are."""

    async def read() -> int:
        connection = await asyncpg.connect(url)
        count: int = await connection.fetchval("select count(*) from invoices")
        await connection.close()
        return count

    return asyncio.run(read())


def start(url: str, folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start a program that serves the API on a port."""
    config = folder / f"kassa-{port}.toml"
    config.write_text(CONFIG.format(url=url, folder=folder, port=port))
    return subprocess.Popen([Path(sys.executable).parent / "kassa", "api", "--config", config])  # noqa: S603


def measure(seconds: float, clients: int, processes: int, keys: bool) -> None:
    """Run both sides in turn and print their rates; fail when other invoices were written than both sides counted."""
    with tempfile.TemporaryDirectory() as name:
        folder, first = Path(name), 20_000 + os.getpid() % 10_000
        ports = list(range(first, first + processes))
        folder.chmod(0o755)
        server = embedded.start(folder / "database")
        store, key = asyncio.run(prepare(server.url))
        programs = [start(server.url, folder, port) for port in ports]
        try:
            for port in ports:
                asyncio.run(served(port))
            orders = Worker(order, ports, key, clients, keys)
            _, made, others = orders.measure(1)  # warms both sides up
            commits = Worker(commit, server.url, store, clients, *one_invoice(server.url))
            made += commits.measure(1)[1]
            postgres = int((folder / "database/postgres/postmaster.pid").read_text().split()[0])
            limits, rates = [], []
            for _ in range(ROUNDS):
                meter = Meter({"PostgreSQL": with_children(postgres), "client": [commits.pid]})
                limit, count = commits.measure(seconds)
                print(f"  limit    {limit:7.0f}/s   µs of CPU each: {meter.each(count)}", flush=True)
                limits.append(limit)
                made += count
                pids = {"program": [one.pid for one in programs], "PostgreSQL": with_children(postgres)}
                meter = Meter(pids | {"clients": [orders.pid]})
                rate, count, refused = orders.measure(seconds)
                print(f"  invoices {rate:7.0f}/s   µs of CPU each: {meter.each(count)}", flush=True)
                rates.append(rate)
                made, others = made + count, others + refused
            orders.end()
            commits.end()
            if written(server.url) != made:
                raise AssertionError(f"{made} invoices were counted, {written(server.url)} are written")
        finally:
            for program in programs:
                program.terminate()
            for program in programs:
                program.wait()
            server.close()
    report(median(limits), median(rates), others, f"{clients} clients, {processes} processes{', keys' * keys}")


def report(limit: float, rate: float, others: Counter[str], how: str) -> None:
    ratio = rate / limit
    print(f"PostgreSQL commits the same rows   {limit:7.0f}/s, as many connections")
    print(f"POST /v1/invoices                  {rate:7.0f}/s, {how}")
    print(f"ratio {ratio:.2f}   goal ≥ {GOAL:.2f}   {'met' if ratio >= GOAL else 'MISSED'}")
    print(f"answers other than 201: {dict(others) or 'none'}")
    print(json.dumps({"limit": round(limit), "rate": round(rate), "ratio": round(ratio, 3), "other": others.total()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keys", action="store_true")
    asked = parser.parse_args()
    measure(asked.seconds, asked.clients, asked.processes, asked.keys)
