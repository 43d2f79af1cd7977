"""A process that pays invoices from credit, all at once: `python -m tests.faults.spender URL FOLDER STORE INVOICE…`.

Prints how many were paid.
"""

import asyncio
import sys
from pathlib import Path

from kassa import flow
from kassa.core.errors import Conflict
from kassa.db.pool import Database
from kassa.stores.store import get_store
from tests.house import BITCOIN, SetClock, build_house


async def main(url: str, folder: Path, store_id: str, invoices: list[str]) -> int:
    database = await Database.open(url, connections=16)
    # The clock of the world that the invoices are from, which stands still.
    house = await build_house(database, folder, clock=SetClock())
    async with database.transaction() as tx:
        store = await get_store(tx, store_id)

    async def spend(invoice: str) -> bool:
        now = house.clock.now()
        try:
            await flow.pay_from_credit(None, house, store, invoice, f"BTC@{BITCOIN}", None, "key_test", now)
        except Conflict as conflict:
            if conflict.code != "insufficient_credit":
                raise
            return False
        return True

    paid = sum(await asyncio.gather(*(spend(invoice) for invoice in invoices)))
    await house.marks.close()
    await database.close()
    return paid


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:])))
