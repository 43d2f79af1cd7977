"""The dashboard's first page: server time with a month of invoices, and beside it an answer that asks nothing.

    python bench/overview.py [--invoices 10000] [--pages 200]

Client and server share a process, on an embedded PostgreSQL. Prints one line of JSON last.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from kassa.core.ids import new_id
from kassa.db import embedded
from kassa.db.migrate import migrate
from kassa.db.pool import Database
from kassa.people.model import Role
from tests.dashboard.visitor import Premises, Visitor, open_premises

MOST_MS = 100
DAYS = 30
# How a month looks: most were paid, some were not, a few need a person.
STANDS: tuple[tuple[str, int, list[str]], ...] = (
    ("settled", 80, []),
    ("expired", 15, []),
    ("settled", 2, ["overpaid"]),
    ("expired", 3, ["underpaid"]),
)


async def fill(premises: Premises, count: int) -> None:
    """Write invoices as a month would have left them."""
    now = premises.clock.now()
    kinds = [(status, flags) for status, share, flags in STANDS for _ in range(share)]
    rows = []
    for number in range(count):
        made = now - timedelta(seconds=DAYS * 86_400 * (count - number) / count)
        status, flags = kinds[number * 37 % len(kinds)]
        paid = {"settled": 4_990, "expired": 1_000 if flags else 0}[status]
        rows.append((new_id("inv", made), premises.store.id, made, status, paid, flags, f"order-{number}"))
    async with premises.house.database.transaction() as tx:
        await tx.executemany(
            """insert into invoices (id, store_id, amount_units, currency, tolerance_ppm, created_at, expires_at,
                   status, paid_units, settled_units, flags, reference, is_final, settled_at)
               values ($1, $2, 4990, 'EUR', 0, $3, $3::timestamptz + interval '15 minutes', $4, $5, $5, $6, $7, true,
                   case when $4 = 'settled' then $3::timestamptz end)""",
            rows,
        )
    await premises.house.database.pool.execute("analyze invoices")


async def times(visitor: Visitor, path: str, count: int) -> list[float]:
    """Ask for a page again and again; return the milliseconds of each answer."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        seen = await visitor.open(path)
        found.append((time.perf_counter() - began) * 1_000)
        if seen.status != 200:
            raise AssertionError(seen.words)
    return found


async def measure(url: str, folder: Path, count: int, pages: int) -> dict[str, object]:
    database = await Database.open(url)
    async with database.pool.acquire() as connection:
        await migrate(connection)
    async with open_premises(database, folder) as premises:
        owner = await premises.member(Role.OWNER)
        await fill(premises, count)
        await times(owner, premises.at("overview"), 10)
        shown = await times(owner, premises.at("overview"), pages)
        bare = await times(owner, "/health/live", pages)
    await database.close()
    return {
        "invoices": count,
        "overview_ms": round(median(shown), 1),
        "overview_p95_ms": round(quantiles(shown, n=20)[-1], 1),
        "limit_ms": round(median(bare), 1),
        "load": os.getloadavg()[0],
        "met": median(shown) <= MOST_MS,
    }


def main() -> None:
    """Run it and print the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--invoices", type=int, default=10_000)
    asked.add_argument("--pages", type=int, default=200)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kassa-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = embedded.start(Path(folder) / "database")
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(measure(server.url, Path(folder), options.invoices, options.pages))
        finally:
            server.close()
    print(
        f"the overview of {figures['invoices']} invoices takes {figures['overview_ms']} ms, one in twenty more than "
        f"{figures['overview_p95_ms']} ms (at most {MOST_MS}; an answer that asks nothing: {figures['limit_ms']} ms)"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
