"""D5: reading on from the last event read, while several processes write."""

import asyncio
import sys
from pathlib import Path

from tests.api.served import Served

ROOT = Path(__file__).parent.parent.parent
PROCESSES = 4


async def _write(url: str, store_id: str, seed: int) -> int:
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.api.writer", url, store_id, str(seed)), cwd=ROOT
    )
    try:
        return await writer.wait()
    finally:
        if writer.returncode is None:
            writer.kill()
            await writer.wait()


async def test_d5_a_reader_misses_nothing_that_is_committed_late(served: Served, database_url: str) -> None:
    seen: list[str] = []
    after, over = "", False
    async with asyncio.TaskGroup() as group:
        writing = [group.create_task(_write(database_url, served.store.id, seed)) for seed in range(PROCESSES)]
        while not over:
            over = all(writer.done() for writer in writing)  # then one look more shows the rest
            while page := (await served.all.get(f"/v1/events?limit=5{after}")).json["data"]:
                seen += [event["id"] for event in page]
                after = f"&after={seen[-1]}"
    assert [writer.result() for writer in writing] == [0] * PROCESSES
    pool = served.house.database.pool
    written = await pool.fetch("select id, sequence from events order by sequence")
    assert seen == [row["id"] for row in written]
    assert [row["sequence"] for row in written] == [*range(1, len(seen) + 1)]
    # Some were committed late indeed: numbered after others that were written after them.
    late = "select from events a join events b on a.position < b.position and a.sequence > b.sequence"
    assert await pool.fetchval(f"select exists ({late})")
