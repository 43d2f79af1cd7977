"""Spends of credit per second, beside bare PostgreSQL doing the same locked update.

    python bench/customer_spend.py [--seconds 5] [--clients 16] [--customers 1] [--without-keys]

Goal: at least 40 %. Every client pays an invoice of its own from the credit of the same customer, so all of them queue
for one row. Each request has an `Idempotency-Key`, as a backend's has, and takes the API's own way but for the HTTP.
The limit locks an invoice, takes units from that row under the same condition and writes the spend, the entry with its
two postings, an event and a kept answer of the same size, in one transaction, over as many connections (fsync on, both
sides in the same process). With `--customers 16` nobody queues, and what remains is the work itself. `--without-keys`
leaves the keys and the kept answers out on both sides. Prints one line of JSON last.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa import flow
from kassa.api.endpoint import Call
from kassa.api.routes.invoices import ENDPOINTS
from kassa.api.serving import Asked, Desk, body_decoder
from kassa.core.ids import CustomerId, InvoiceId, SpendId, new_id
from kassa.customers import store as customers
from kassa.customers.model import Customer
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices.model import Order
from kassa.stores.model import Store
from tests.house import BITCOIN, SetClock, add_store, build_house

GOAL = 0.4
ROUNDS = 3
ASSET = f"BTC@{BITCOIN}"
BODY = json.dumps({"asset": ASSET}).encode()
HEADERS = {b"content-type": b"application/json"}
SPEND = """
insert into spends (id, store_id, customer_id, invoice_id, asset, units, rate, made_at, made_by, rate_source, rate_at,
    rate_method) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
DEBIT = "update customer_balances set units = units - $3 where customer_id = $1 and asset = $2 and units >= $3"
ENTRY = """
with entry as (
    insert into entries (store_id, spend_id, customer_id, invoice_id, reason, booked_at)
    values ($1, $2, $3, $4, 'credit spent', $5) returning id
)
insert into postings (entry_id, account, asset, units, value_units, rate)
select entry.id, side.account, $6, side.units, side.value, '50000' from entry
cross join lateral (values ('customer:' || $3::text, 100000, 5000), ('sales', -100000, -5000))
    side (account, units, value)
"""
ANSWER = """
insert into idempotency_keys (store_id, key, request_hash, status, body, created_at) values ($1, $2, $3, 200, $4, $5)
"""
EVENT = "insert into events (id, store_id, type, invoice_id, object, created_at) values ($1, $2, 'x', $3, $4, $5)"

Work = Callable[[int], Awaitable[None]]


class Bench:
    """A store with customers who have plenty, and invoices to pay."""

    def __init__(self, house: House, store: Store, buyers: list[CustomerId], clients: int, keyed: bool) -> None:
        self.house, self.store, self.buyers, self.clients, self.keyed = house, store, buyers, clients, keyed
        self.desk = Desk(house)
        self.endpoint = next(each for each in ENDPOINTS if each.name == "pay_from_credit")
        self.decoder = body_decoder(self.endpoint)
        self.invoices: list[tuple[InvoiceId, CustomerId]] = []
        self.event = ""

    async def order(self, count: int) -> None:
        """Open invoices, to be paid later."""
        now = self.house.clock.now()
        for number in range(count):
            buyer = self.buyers[number % len(self.buyers)]
            opening = await flow.quote_invoice(self.house, self.store, Order("50.00", "EUR", customer_id=buyer), now)
            made = await flow.open_invoice(None, self.house, opening, now)
            self.invoices.append((made["id"], buyer))
            self.event = json.dumps(made)

    async def spend(self, _: int) -> None:
        """Pay one invoice, as the API does."""
        invoice, _buyer = self.invoices.pop()

        async def body() -> bytes:
            return BODY

        path = self.endpoint.path.replace("{id}", invoice)
        asked = Asked(self.endpoint, self.decoder, path, b"", HEADERS, body, invoice if self.keyed else None)
        call = Call(self.house, self.store, "key", self.house.clock.now(), id=invoice)
        reply = await self.desk.ask(asked, call, frozenset({self.endpoint.access}))
        assert reply.status == 200, reply.body

    async def bare(self, number: int) -> None:
        """Do the same locked update, and write rows of the same size, with nothing around it."""
        now, buyer = datetime.now(UTC), self.buyers[number % len(self.buyers)]
        invoice = self.invoices[number % len(self.invoices)][0]
        id_ = SpendId(new_id("spd", now))
        async with self.house.database.transaction() as tx:
            await tx.execute("select from invoices where id = $1 for no key update", invoice)
            await tx.execute(
                SPEND, id_, self.store.id, buyer, invoice, ASSET, 100_000, None, now, "key", None, None, None
            )
            await tx.execute(ENTRY, self.store.id, id_, buyer, invoice, now, ASSET)
            await tx.execute(EVENT, new_id("evt", now), self.store.id, invoice, self.event, now)
            if self.keyed:
                body = self.event.encode()
                await tx.execute(ANSWER, self.store.id, id_, sha256(body).digest(), body, now)
            assert await tx.execute(DEBIT, buyer, ASSET, 100_000) == "UPDATE 1"

    async def rate(self, work: Work, seconds: float) -> float:
        """Return how often all clients together did it in a second."""
        start, done = time.monotonic(), 0

        async def client(number: int) -> None:
            nonlocal done
            while time.monotonic() < start + seconds and len(self.invoices) > self.clients:
                await work(number)
                done += 1

        await asyncio.gather(*(client(number) for number in range(self.clients)))
        return done / (time.monotonic() - start)


async def prepare(url: str, folder: Path, clients: int, buyers: int, keyed: bool) -> Bench:
    """Migrate, make a store, its customers and their credit."""
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.close()
    database = await Database.open(url, connections=clients)
    house = await build_house(database, folder, clock=SetClock(datetime.now(UTC)))
    now = house.clock.now()
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        await tx.execute(
            "insert into networks (id, chain, state, height, hash, observed_at, lease_until)"
            " values ($1, $1, 'ok', 1, 'h', $2, $2::timestamptz + interval '1 hour')",
            BITCOIN,
            now,
        )
        made = []
        for _ in range(buyers):
            customer = Customer(CustomerId(new_id("cus", now)), store.id, None, None, "{}", now)
            await customers.put(tx, customer)
            await customers.move(tx, {(customer.id, ASSET): 10**15})
            made.append(customer.id)
    return Bench(house, store, made, clients, keyed)


async def measure(url: str, folder: Path, seconds: float, clients: int, buyers: int, keyed: bool) -> None:
    """Run both sides in turn and print their rates."""
    bench = await prepare(url, folder, clients, buyers, keyed)
    await bench.order(clients * 4)
    await bench.rate(bench.spend, 1)  # warms both sides up
    await bench.order(clients * 4)
    await bench.rate(bench.bare, 1)
    limits, rates = [], []
    for _ in range(ROUNDS):
        limits.append(await bench.rate(bench.bare, seconds))
        await bench.order(int(2 * limits[-1] * seconds) + clients * 4)
        rates.append(await bench.rate(bench.spend, seconds))
        print(f"  limit {limits[-1]:7.0f}/s   spends {rates[-1]:7.0f}/s", flush=True)
    report(median(limits), median(rates), clients, buyers)
    await bench.house.marks.close()
    await bench.house.database.close()


def report(limit: float, rate: float, clients: int, buyers: int) -> None:
    ratio = rate / limit
    print(f"bare PostgreSQL, the same update   {limit:7.0f}/s, {clients} connections, {buyers} balances")
    print(f"pay_from_credit                    {rate:7.0f}/s, {clients} clients")
    print(f"ratio {ratio:.2f}   goal ≥ {GOAL:.2f}   {'met' if ratio >= GOAL else 'MISSED'}")
    print(json.dumps({"limit": round(limit), "rate": round(rate), "ratio": round(ratio, 3), "balances": buyers}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--customers", type=int, default=1)
    parser.add_argument("--without-keys", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = embedded.start(folder / "database")
        try:
            uvloop.run(
                measure(server.url, folder, asked.seconds, asked.clients, asked.customers, not asked.without_keys)
            )
        finally:
            server.close()


if __name__ == "__main__":
    main()
