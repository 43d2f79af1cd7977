"""After a restore news are news again once every network that matters was seen whole."""

from datetime import timedelta
from pathlib import Path

import pytest

import kassa.watch.store as watch
from kassa import flow
from kassa.audit.model import Actor
from kassa.core.clock import SystemClock
from kassa.core.errors import NotFound
from kassa.db.pool import Database
from tests.house import add_store, build_house

NOW = SystemClock().now()
BY = Actor("test")


async def test_a_network_that_nobody_follows_yet_is_waited_for_until_a_person_says_it_is_gone(
    database: Database, tmp_path: Path
) -> None:
    """Bitcoin, which has a wallet, and Litecoin, which is followed and has none."""
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        await add_store(tx, house)
        await tx.execute("insert into restores (restored_at, backup_at) values ($1, $1)", NOW - timedelta(minutes=1))
        await watch.register(tx, "litecoin", "litecoin")
        await tx.execute(
            "update networks set state = 'ok', observed_at = now(), lease_until = now() + interval '1 hour'"
            " where id = 'litecoin'"
        )

    async def awaited() -> list[str] | None:
        async with database.transaction() as tx:
            await watch.note_caught_up(tx)
            since = await tx.fetchval("select restored_at from restores where caught_up_at is null")
            return None if since is None else await watch.awaited(tx, since)

    assert await awaited() == ["bitcoin-regtest"]
    async with database.transaction() as tx:
        for followed in ("litecoin", "nothing"):
            with pytest.raises(NotFound):
                await flow.give_up_network(tx, followed, BY, NOW)
        await flow.give_up_network(tx, "bitcoin-regtest", BY, NOW)
        await watch.register(tx, "bitcoin-regtest", "bitcoin-regtest")  # it is followed after all
    assert await awaited() == ["bitcoin-regtest"]
    async with database.transaction() as tx:
        await flow.give_up_network(tx, "bitcoin-regtest", BY, NOW)
    assert await awaited() is None
    await house.marks.close()
