"""Verifying and exporting the books of 10,000, 30,000 and 100,000 paid invoices: how time and memory grow.

    python bench/export.py [--sizes 10000,30000,100000]

Goal: linear time (a slope of at most 1.15 in logarithms, from the smallest to the largest) and memory that does not
grow with the books (less than 32 MiB more for the largest export than for the smallest). Prints one line of JSON last.
"""

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa import flow
from kassa.core.ids import InvoiceId
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.flow.exporting import FORMATS, write_books
from kassa.house import House
from kassa.invoices.model import Order
from kassa.payments.model import Touched
from kassa.stores.model import Store
from tests.house import BITCOIN, SetClock, add_store, build_house

SLOPE, GROWTH_MIB = 1.15, 32
EVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
AT_ONCE = 500
COPY = """
with made as (
    select n, 'inv_' || lpad(n::text, 29, '0') as invoice, 'adr_' || lpad(n::text, 29, '0') as address,
        'pay_' || lpad(n::text, 29, '0') as payment
    from generate_series($2::bigint, $3::bigint) n
), put_addresses as (
    insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, invoice_id,
        created_at)
    select m.address, a.network, int8send(m.n), m.address, m.n, a.keychain_id, m.n, a.store_id, m.invoice, a.created_at
    from made m, addresses a where a.invoice_id = $1
), put_invoices as (
    insert into invoices select (jsonb_populate_record(null::invoices,
        to_jsonb(i) || jsonb_build_object('id', m.invoice))).*
    from made m, invoices i where i.id = $1
), put_options as (
    insert into payment_options select (jsonb_populate_record(null::payment_options,
        to_jsonb(o) || jsonb_build_object('invoice_id', m.invoice, 'address_id', m.address))).*
    from made m, payment_options o where o.invoice_id = $1
)
insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
    first_seen_at, replaceable, block_height, block_hash)
select m.payment, 'bitcoin-regtest', md5(m.n::text), 'out:0', 'BTC@bitcoin-regtest', 100000, 0, m.address, i.store_id,
    m.invoice, i.created_at, false, 1, 'h'
from made m, invoices i where i.id = $1
"""


async def prepare(url: str, folder: Path) -> tuple[House, Store, str]:
    """Make a store on a network that stands still, and the invoice of which the others are copies."""
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.close()
    house = await build_house(await Database.open(url), folder, clock=SetClock(datetime.now(UTC)))
    now = house.clock.now()
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
        await tx.execute(
            "insert into networks (id, chain, state, height, hash, observed_at, lease_until)"
            " values ($1, $1, 'ok', 1, 'h', $2, $2::timestamptz + interval '1 hour')",
            BITCOIN,
            now,
        )
    opening = await flow.quote_invoice(house, store, Order("50.00", "EUR", reference="order"), now)
    return house, store, (await flow.open_invoice(None, house, opening, now))["id"]


async def grow(house: House, model: str, first: int, last: int) -> None:
    """Copy the invoice, paid and confirmed, and let Kassa settle and book each."""
    async with house.database.transaction() as tx:
        await tx.execute(COPY, model, first, last, timeout=600)
        await tx.execute("analyze")
    for begin in range(first, last + 1, AT_ONCE):
        ids = [InvoiceId(f"inv_{n:029d}") for n in range(begin, min(begin + AT_ONCE, last + 1))]
        async with house.database.transaction() as tx:
            await flow.reassess(tx, house, Touched(frozenset(ids)), house.clock.now())
    async with house.database.transaction() as tx:
        await tx.execute("analyze")


async def measure(house: House, store: Store, folder: Path) -> dict[str, float]:
    """Return the seconds of each piece of work, and the most memory so far in MiB."""
    seconds: dict[str, float] = {}
    began = time.monotonic()
    done = await flow.verify(house, _silent)
    seconds["verify"] = time.monotonic() - began
    assert done.failures == 0, done.checks
    for form in FORMATS:
        began = time.monotonic()
        with (folder / form).open("w", encoding="utf-8", newline="") as file:
            await write_books(house, store.id, EVER, form, file, _silent)
        seconds[form] = time.monotonic() - began
    return seconds | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _silent(_name: str, _done: int, _of: int | None) -> None:
    pass


async def run(url: str, folder: Path, sizes: list[int]) -> bool:
    """Measure at each size; say whether the goals are met."""
    house, store, model = await prepare(url, folder)
    found, before = [], 0
    for size in sizes:
        await grow(house, model, before + 1, size)
        found.append(await measure(house, store, folder))
        before = size
        words = "   ".join(f"{name} {value:7.2f}" for name, value in found[-1].items())
        print(f"{size:8} invoices   {words}   (seconds; MiB)", flush=True)
    await house.marks.close()
    await house.database.close()
    works = [name for name in found[0] if name != "memory"]
    spread = math.log(sizes[-1] / sizes[0])
    slopes = {name: round(math.log(found[-1][name] / found[0][name]) / spread, 2) for name in works}
    growth = found[-1]["memory"] - found[0]["memory"]
    met = max(slopes.values()) <= SLOPE and growth < GROWTH_MIB
    print(f"slopes {slopes}   goal ≤ {SLOPE}; memory +{growth:.0f} MiB   goal < {GROWTH_MIB}")
    print("met" if met else "MISSED")
    print(json.dumps({"sizes": sizes, "slopes": slopes, "growth_mib": round(growth), "found": found}))
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,30000,100000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = embedded.start(folder / "database")
        try:
            uvloop.run(run(server.url, folder, sizes))
        finally:
            server.close()


if __name__ == "__main__":
    main()
