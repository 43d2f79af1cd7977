"""A stop lets the transaction in hand come to its end, and no longer than it may."""

import asyncio

import pytest

from kassa.db import pool
from kassa.db.pool import Database, Tx

INSERT = "insert into networks (id, chain) values ('stopped', 'none')"


async def stopped_within(database: Database, seconds: str) -> object:
    """Cancel whoever runs a transaction of so many seconds in its middle; return what is stored afterwards."""
    begun = asyncio.Event()

    async def work(tx: Tx) -> None:
        await tx.execute(INSERT)
        begun.set()
        await tx.execute(f"select pg_sleep({seconds})")

    running = asyncio.create_task(database.run_to_end(work))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    return await database.pool.fetchval("select count(*) from networks where id = 'stopped'")


async def test_a_transaction_in_hand_is_committed_and_the_stop_takes_effect(database: Database) -> None:
    assert await stopped_within(database, "0.3") == 1


async def test_one_that_takes_too_long_is_undone_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "END_SECONDS", 0.2)
    assert await stopped_within(database, "30") == 0
