"""A process that writes events of a store, several at a time: `python -m tests.api.writer URL STORE SEED`.

What it writes is committed in another order than it was written, and some of it is rolled back.
"""

import asyncio
import sys
from random import Random

from kassa.core.clock import SystemClock
from kassa.core.ids import StoreId
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import NewEvent

WRITERS, TIMES = 4, 40


async def main(url: str, store_id: StoreId, seed: int) -> None:
    random = Random(seed)
    database = await Database.open(url, connections=WRITERS)

    async def write(writer: int) -> None:
        for n in range(TIMES):
            async with database.pool.acquire() as connection:
                writing = connection.transaction()
                await writing.start()
                event = NewEvent(store_id, "invoice.updated", {"object": "invoice", "n": f"{seed} {writer} {n}"})
                await events.write(connection, [event], SystemClock().now())
                await asyncio.sleep(random.expovariate(100))
                await (writing.rollback() if random.random() < 0.1 else writing.commit())

    async with asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(write(writer))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], StoreId(sys.argv[2]), int(sys.argv[3])))
