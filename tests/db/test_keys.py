"""The keys to look for: none is lost, whatever transaction is still open while they are read."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.core.ids import new_id
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.stores.model import Store
from kassa.watch import keys as keys_module
from kassa.watch.keys import WatchedKeys, _merged
from tests.house import BITCOIN, add_store, build_house

keys = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3))


@given(keys, st.lists(keys, max_size=4))
def test_keys_stay_sorted_and_unique_however_they_arrive(first: list[int], later: list[list[int]]) -> None:
    held = np.empty(0, np.int64)
    for found in [first, *later]:
        held = _merged(held, found or None)
    assert held.tolist() == sorted({key for found in [first, *later] for key in found})


async def put(tx: Tx, house: House, store: Store, number: int, name: str | None = None) -> None:
    await tx.execute(
        """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, created_at)
           select $6, $2, $3, $1, $4, keychain_id, $4, $5, now() from wallets where store_id = $5""",
        str(number),
        BITCOIN,
        number.to_bytes(4, "big"),
        number,
        store.id,
        name or f"adr_{number}",
    )


async def test_an_address_committed_out_of_order_is_not_missed(database: Database, tmp_path: Path) -> None:
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    watched = WatchedKeys(database.pool, BITCOIN)
    async with database.pool.acquire() as slow:
        early = slow.transaction()
        await early.start()
        await put(slow, house, store, 1)  # begun first, committed last
        async with database.transaction() as tx:
            await put(tx, house, store, 2)
        await watched.refresh()
        assert watched.destinations.tolist() == [2]
        async with database.transaction() as tx:
            await put(tx, house, store, 3)
        await watched.refresh()
        await early.commit()
    await watched.refresh()
    assert watched.destinations.tolist() == [1, 2, 3]


async def test_rows_that_name_transactions_of_another_server_are_read_once(database: Database, tmp_path: Path) -> None:
    """A dump that was restored into a new server: its transactions are numbered from the beginning again."""
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        await put(tx, house, store, 1)
        await tx.execute("update addresses set made_by = '123456789012'")
    watched = WatchedKeys(database.pool, BITCOIN)
    await watched.refresh()
    assert watched.destinations.tolist() == [1]
    watched.destinations = np.empty(0, np.int64)  # what is read again would come back
    async with database.transaction() as tx:
        await put(tx, house, store, 2)
    await watched.refresh()
    assert watched.destinations.tolist() == [2]


async def test_refreshes_side_by_side_lose_nothing(database: Database, tmp_path: Path) -> None:
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    watched = WatchedKeys(database.pool, BITCOIN)

    async def add(number: int) -> None:
        async with database.transaction() as tx:
            await put(tx, house, store, number)

    for start in range(0, 60, 6):
        await asyncio.gather(*[add(start + n) for n in range(6)], *[watched.refresh() for _ in range(4)])
    await watched.refresh()
    assert watched.destinations.tolist() == list(range(60))


async def test_addresses_beyond_what_is_asked_about_are_told_of_however_old_their_business(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "MOST_OPEN", 3)
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        for number in range(3):
            await put(tx, house, store, number, new_id("adr", house.clock.now()))
    watched = WatchedKeys(database.pool, BITCOIN, house.clock)
    assert (await watched.open()).left_out is False
    async with database.transaction() as tx:
        await put(tx, house, store, 3, new_id("adr", house.clock.now()))
    opened = await watched.open()
    assert (len(opened.addresses), opened.left_out) == (3, True)
