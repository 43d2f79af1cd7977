"""Wallets, keychains and addresses against a real PostgreSQL."""

import asyncio
import multiprocessing
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from kassa.chains.base import Account
from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import new_id
from kassa.db.pool import Database
from kassa.stores.model import Store
from kassa.stores.store import create_store
from kassa.wallets import gap_store
from kassa.wallets import owner_store as owning
from kassa.wallets import store as wallets
from tests.house import SEAL

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ONE = Account("wpkh(tpub-one/0/*)#aaaaaaaa", "11111111")
TWO = Account("wpkh(tpub-two/0/*)#bbbbbbbb", "22222222")
NET = "bitcoin-regtest"


async def _store(database: Database, name: str = "Shop") -> Store:
    async with database.transaction() as tx:
        return await create_store(tx, name, "EUR", False, NOW)


async def _wallet(
    database: Database, store: Store, network: str = NET, account: Account = ONE, now: datetime = NOW
) -> wallets.Wallet:
    async with database.transaction() as tx:
        return await wallets.add_wallet(tx, store.id, network, network, account, SEAL, now)


async def _insert_address(database: Database, wallet: wallets.Wallet, index: int, script: bytes) -> str:
    address_id = new_id("adr", NOW)
    await database.pool.execute(
        "insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, created_at)"
        " values ($1, $2, $3, $4, 7, $5, $6, $7, $8)",
        address_id, wallet.network, script, f"bcrt1{script.hex()}", wallet.keychain_id, index, wallet.store_id, NOW,
    )  # fmt: skip
    return address_id


async def test_a_store_has_one_wallet_per_network(database: Database) -> None:
    store = await _store(database)
    first = await _wallet(database, store)
    other_network = await _wallet(database, store, "litecoin-regtest", now=NOW + timedelta(seconds=1))

    with pytest.raises(Conflict, match="already has a wallet on bitcoin-regtest"):
        await _wallet(database, store, account=TWO)

    assert await wallets.wallets_of(database.pool, store.id) == [other_network, first]
    assert await wallets.get_wallet(database.pool, store.id, first.id) == first


async def test_stores_share_the_counter_of_one_descriptor(database: Database) -> None:
    one, two = await _store(database, "One"), await _store(database, "Two")
    first, second = await _wallet(database, one), await _wallet(database, two)

    indexes = [(await wallets.allocate(database.pool, [w.keychain_id]))[0] for w in (first, second, first)]

    assert first.keychain_id == second.keychain_id
    assert indexes == [0, 1, 2]


async def test_a_foreign_wallet_is_not_found(database: Database) -> None:
    wallet = await _wallet(database, await _store(database, "One"))
    stranger = await _store(database, "Two")

    with pytest.raises(NotFound):
        await wallets.get_wallet(database.pool, stranger.id, wallet.id)


async def test_allocation_hands_out_one_index_of_each_keychain(database: Database) -> None:
    store = await _store(database)
    bitcoin, litecoin = await _wallet(database, store), await _wallet(database, store, "litecoin-regtest", TWO)
    await wallets.allocate(database.pool, [litecoin.keychain_id])

    given = await wallets.allocate(database.pool, [litecoin.keychain_id, bitcoin.keychain_id])

    assert given == [1, 0]


async def test_allocation_does_not_wait_for_the_disk(database: Database) -> None:
    wallet = await _wallet(database, await _store(database))
    unflushed = 0

    for _ in range(100):
        before = await database.pool.fetchval("select pg_current_wal_insert_lsn()")
        await wallets.allocate(database.pool, [wallet.keychain_id])
        # A commit that waits for the disk has flushed at least what was written before it.
        unflushed += await database.pool.fetchval("select pg_current_wal_flush_lsn() <= $1", before)

    assert unflushed > 0
    assert await database.pool.fetchval("show synchronous_commit") == "on"


async def test_unknown_keychain_is_refused(database: Database) -> None:
    with pytest.raises(NotFound):
        await wallets.allocate(database.pool, [12345])


async def test_an_exhausted_keychain_says_so(database: Database) -> None:
    wallet = await _wallet(database, await _store(database))
    await database.pool.execute("update keychains set next_index = 2147483648")

    with pytest.raises(Conflict, match="every address"):
        await wallets.allocate(database.pool, [wallet.keychain_id])


async def test_a23_the_database_refuses_a_script_twice(database: Database) -> None:
    wallet = await _wallet(database, await _store(database, "One"))
    other = await _wallet(database, await _store(database, "Two"), account=TWO)
    await _insert_address(database, wallet, 0, b"\x00\x14one")

    with pytest.raises(asyncpg.UniqueViolationError, match="addresses_script"):
        await _insert_address(database, other, 0, b"\x00\x14one")


async def test_a23_the_database_refuses_an_index_twice(database: Database) -> None:
    wallet = await _wallet(database, await _store(database))
    await _insert_address(database, wallet, 0, b"\x00\x14one")

    with pytest.raises(asyncpg.UniqueViolationError, match="addresses_index"):
        await _insert_address(database, wallet, 0, b"\x00\x14two")


@pytest.mark.parametrize("change", ["next_index = 2", "descriptor = 'wpkh(other)'", "space = 'bitcoin'"])
async def test_o6_a_keychain_never_goes_back_or_changes_its_keys(database: Database, change: str) -> None:
    await _wallet(database, await _store(database))
    await database.pool.execute("update keychains set next_index = 3")

    with pytest.raises(asyncpg.RaiseError, match="index never falls"):
        await database.pool.execute(f"update keychains set {change}")


async def test_owners_are_found_by_the_whole_script_on_their_network(database: Database) -> None:
    wallet = await _wallet(database, await _store(database))
    address_id = await _insert_address(database, wallet, 0, b"\x00\x14mine")

    found = await owning.owners(database.pool, NET, [b"\x00\x14mine", b"\x00\x14nobody", b"\x00\x14min"])
    elsewhere = await owning.owners(database.pool, "bitcoin", [b"\x00\x14mine"])

    assert [(owner.address_id, owner.script, owner.store_id) for owner in found] == [
        (address_id, b"\x00\x14mine", wallet.store_id)
    ]
    assert elsewhere == []


async def test_addresses_are_listed_newest_first_and_only_to_their_store(database: Database) -> None:
    mine, theirs = await _wallet(database, await _store(database)), await _wallet(database, await _store(database))
    for index in range(5):
        await _insert_address(database, theirs if index == 2 else mine, index, bytes([index]))

    page = await wallets.addresses_of(database.pool, mine, limit=3)
    rest = await wallets.addresses_of(database.pool, mine, below=page[-1].index)

    assert [issued.index for issued in page + rest] == [4, 3, 1, 0]
    assert [issued.index for issued in await wallets.addresses_of(database.pool, theirs)] == [2]


async def test_a_keychain_named_often_gives_as_many_indexes_in_order(database: Database) -> None:
    store = await _store(database)
    one, two = (await _wallet(database, store)).keychain_id, (await _wallet(database, store, "x", TWO)).keychain_id

    given = await wallets.allocate(database.pool, [one, two, one, one, two])

    assert given == [0, 0, 1, 2, 1]
    assert await wallets.allocate(database.pool, [two, one]) == [2, 3]


async def test_receiving_tells_each_store_its_own_wallets_and_how_they_are_followed(database: Database) -> None:
    one, two, empty = await _store(database), await _store(database), await _store(database)
    first, second = await _wallet(database, one), await _wallet(database, two, "x", TWO)
    await database.pool.execute("insert into networks (id, chain, state) values ($1, $1, 'ok')", NET)

    told = await wallets.receiving(database.pool, [two.id, one.id, empty.id, one.id])

    mine = [wallets.Receiving(first, "ok", None, False, None, False, frozenset())]
    assert told == [[wallets.Receiving(second, None, None, None, None, False, frozenset())], mine, [], mine]


def _allocate_in_a_process(url: str, keychain_ids: list[int], times: int, results: Any) -> None:
    async def work() -> list[dict[int, int]]:
        database = await Database.open(url, connections=4)
        try:
            return [
                dict(zip(keychain_ids, given, strict=True))
                for given in await asyncio.gather(
                    *(wallets.allocate(database.pool, keychain_ids) for _ in range(times))
                )
            ]
        finally:
            await database.close()

    results.put(asyncio.run(work()))


async def test_d23_parallel_allocation_gives_distinct_indexes_without_holes(
    database: Database, database_url: str
) -> None:
    store = await _store(database)
    ids = [
        (await _wallet(database, store)).keychain_id,
        (await _wallet(database, store, "litecoin-regtest", TWO)).keychain_id,
    ]
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    # Half of the processes name the keychains in the other order: locks must still be taken in one order.
    processes = [
        context.Process(target=_allocate_in_a_process, args=(database_url, order, 125, results))
        for order in (ids, ids[::-1], ids, ids[::-1])
    ]

    for process in processes:
        process.start()
    given = [entry for _ in processes for entry in await asyncio.to_thread(results.get, timeout=200)]
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    for keychain_id in ids:
        assert sorted(entry[keychain_id] for entry in given) == list(range(500))


@pytest.mark.parametrize(
    ("issued", "used", "last", "limit"),
    [
        (0, [], None, 1),
        (7, [], None, 7),  # all of them may still be paid
        (10, [0, 1, 9], 9, 8),  # from 1 to 9 seven unused ones are bridged
        (30, [24], 24, 25),
        (100, [0], 0, 99),
    ],
)
async def test_the_gap_limit_that_shows_every_coin_follows_from_what_was_issued_and_used(
    database: Database, issued: int, used: list[int], last: int | None, limit: int
) -> None:
    wallet = await _wallet(database, store := await _store(database))
    await database.pool.execute("update keychains set next_index = $1", issued)
    for index in range(issued):
        address = await _insert_address(database, wallet, index, index.to_bytes(4))
        # A payment that was never mined leaves its address unused.
        await database.pool.execute(
            """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id,
                   first_seen_at, replaceable, block_height, block_hash)
               values ($1, $2, $1, 'out:0', 'BTC', 1, 0, $3, $4, $5, false, $6, $7)""",
            f"pay_{index}", NET, address, store.id, NOW, *((1, "ab") if index in used else (None, None)),
        )  # fmt: skip
    gap = await gap_store.gap_of(database.pool, wallet.keychain_id)
    assert (gap.next_index, gap.last_used, gap.limit) == (issued, last, limit)
    # The same from what was kept of the older ones, wherever that ends.
    for kept in {0, issued // 3, issued}:
        await database.pool.execute("delete from keychain_gaps")
        await database.pool.execute(
            "update addresses set created_at = $1::timestamptz - interval '2 days' * (index < $2)::int",
            NOW,
            kept,
        )
        assert await database.run(lambda tx: gap_store.keep(tx, NOW, 10)) == 1
        assert await database.pool.fetchval("select below from keychain_gaps") == kept
        assert await gap_store.gap_of(database.pool, wallet.keychain_id) == gap
    # The wallet's own search, as BIP 44 describes it, finds them all with this limit, and not with one less.
    for found, allowed in ((True, limit), (False, limit - 1)):
        at, seen = 0, set()
        while any(index in used for index in range(at, at + allowed)):
            at = next(index for index in range(at, at + allowed) if index in used) + 1
            seen.add(at - 1)
        everything = seen == set(used) and at + allowed >= issued
        assert everything == found or allowed == 0
