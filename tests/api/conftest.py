"""A served house with a store that takes regtest bitcoin, on a network that is followed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kassa.checkout.pages import handlers
from kassa.db.pool import Database
from kassa.house import House
from tests.api.served import Served, serve
from tests.house import BITCOIN, add_store, build_house


async def follow(house: House, network: str = BITCOIN) -> None:
    """Write the rows of a network that is followed and up to date."""
    await house.database.pool.execute(
        "insert into networks (id, chain, fence, holder, lease_until, height, hash, node_height, state, contacted_at,"
        " observed_at) values ($1, $1, 1, 'test', now() + interval '1 hour', 120, $2, 123, 'ok', $3, $3)",
        network,
        "ab" * 32,
        house.clock.now(),
    )
    await house.database.pool.execute(
        "insert into blocks (network, height, hash, parent, time) values ($1, 120, $2, $3, $4)",
        network,
        "ab" * 32,
        "aa" * 32,
        house.clock.now(),
    )


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    """A house with one followed network."""
    built = await build_house(database, tmp_path)
    await follow(built)
    yield built
    await built.marks.close()


@pytest.fixture
async def served(house: House) -> AsyncIterator[Served]:
    """The house, served with its checkout, with a store and a key for everything in it."""
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as running:
        yield running
