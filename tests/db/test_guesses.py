"""Indexes that an invoice takes in the statement that writes it: guessed by its process, confirmed by the database."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kassa import flow
from kassa.core.errors import Conflict
from kassa.db.batch import MOST
from kassa.db.pool import Database
from kassa.house import House
from kassa.invoices.model import Order
from kassa.stores import store as stores
from kassa.stores.model import Store
from kassa.stores.rules import key_hash
from kassa.wallets import store as wallets
from kassa.wallets.guesses import RESERVED
from tests.api.served import until
from tests.house import BITCOIN, SetClock, add_store, build_house
from tests.locks import WAITING

ORDER = Order("50.00", "EUR")
OTHER = (
    "tpubDD7tXK8KeQ3YY83yWq755fHY2JW8Ha8Q765tknUM5rSvjPcGWfUppDFMpQ1ScziKfW3ZNtZvAD7M3u7bSs7HofjTD3KP3YxPK7X6hwV8Rk2"
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def house(database: Database, tmp_path: Path, clock: SetClock) -> House:
    made = await build_house(database, tmp_path, clock=clock)
    await database.pool.execute(
        "insert into networks (id, chain, state, observed_at) values ($1, $1, 'ok', $2)", BITCOIN, made.clock.now()
    )
    return made


@pytest.fixture
async def store(house: House) -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house)


async def guessed(house: House, store: Store) -> flow.Opening:
    return await flow.quote_invoice(house, store, ORDER, house.clock.now(), guess=True)


async def make(house: House, store: Store) -> dict[str, Any]:
    return await flow.open_invoice(None, house, await guessed(house, store), house.clock.now())


async def indexes(database: Database) -> list[int]:
    return [row["index"] for row in await database.pool.fetch("select index from addresses order by index")]


async def test_invoices_of_one_process_take_every_index_once_and_none_is_refused(house: House, store: Store) -> None:
    asked = 0

    async def again() -> flow.Opening:
        nonlocal asked
        asked += 1
        raise AssertionError

    async def one() -> str:
        opening = await guessed(house, store)
        assert opening.again is not None
        object.__setattr__(opening, "again", again)
        made = await flow.open_invoice(None, house, opening, house.clock.now())
        return str(made["payment_options"][0]["address"])

    shown = [address for _ in range(4) for address in await asyncio.gather(*(one() for _ in range(20)))]

    assert (await indexes(house.database), asked) == (list(range(80)), 0)
    assert len(set(shown)) == 80
    assert await house.database.pool.fetchval("select next_index from keychains") == 80


async def test_an_index_that_another_process_took_is_not_taken_twice(house: House, store: Store) -> None:
    opening = await guessed(house, store)
    keychain = opening.addresses[0].keychain_id
    taken = await wallets.allocate(house.database.pool, [keychain])

    made = await flow.open_invoice(None, house, opening, house.clock.now())

    (written,) = await house.database.pool.fetch("select id, index, address from addresses")
    assert (taken, opening.addresses[0].index, written["index"]) == ([0], 0, 1)
    assert made["payment_options"][0]["address"] == written["address"] != opening.addresses[0].text
    assert made["id"] == opening.terms.id
    assert (await guessed(house, store)).again is None  # for a while the keychain is asked first


async def test_what_was_refused_left_nothing(house: House, store: Store) -> None:
    opening = await guessed(house, store)
    await wallets.allocate(house.database.pool, [opening.addresses[0].keychain_id])

    async def gone() -> flow.Opening:
        raise Conflict("stop here")

    object.__setattr__(opening, "again", gone)
    with pytest.raises(Conflict, match="stop here"):
        await flow.open_invoice(None, house, opening, house.clock.now())

    left = await house.database.pool.fetchrow(
        "select (select count(*) from invoices) as i, (select count(*) from addresses) as a,"
        " (select count(*) from events) as e, (select count(*) from payment_options) as o"
    )
    assert tuple(left) == (0, 0, 0, 0)


async def test_a_refused_guess_moves_no_other_wallets_counter(house: House, store: Store) -> None:
    async with house.database.transaction() as tx:
        other = await add_store(tx, house, key=OTHER)
    mine, theirs = await guessed(house, store), await guessed(house, other)
    await wallets.allocate(house.database.pool, [mine.addresses[0].keychain_id])

    made = await asyncio.gather(
        *(flow.open_invoice(None, house, opening, house.clock.now()) for opening in (mine, theirs))
    )

    counters = await house.database.pool.fetch("select next_index from keychains order by id")
    # One handed out beside, one for the invoice that was refused; and one for the other store, whose guess, in the same
    # statement, was refused with it and is free again.
    assert [row["next_index"] for row in counters] == [2, 1]
    assert len({one["payment_options"][0]["address"] for one in made}) == 2


async def test_two_processes_never_show_the_same_address(
    house: House, store: Store, database_url: str, tmp_path: Path
) -> None:
    other = await Database.open(database_url)
    second = await build_house(other, tmp_path, clock=SetClock())
    try:
        for _ in range(5):
            made = await asyncio.gather(*(make(each, store) for _ in range(6) for each in (house, second)))
            for each in (house, second):
                each.guesses.__init__()  # type: ignore[misc]  # as after the time in which the keychain is asked first
            assert len({one["payment_options"][0]["address"] for one in made}) == 12
    finally:
        await other.close()

    found = await indexes(house.database)
    assert len(found) == len(set(found)) == 60


async def test_guesses_made_on_refused_ones_leave_no_hole(house: House, store: Store) -> None:
    openings = [await guessed(house, store) for _ in range(MOST + 20)]  # more than are written together
    await wallets.allocate(house.database.pool, [openings[0].addresses[0].keychain_id])  # by another process

    await asyncio.gather(*(flow.open_invoice(None, house, opening, house.clock.now()) for opening in openings))

    assert await indexes(house.database) == list(range(1, MOST + 21))


async def test_a_guess_that_was_given_up_leaves_no_hole(house: House, store: Store) -> None:
    for _ in range(3):
        given_up = [await guessed(house, store) for _ in range(2)]
        await flow.open_invoice(None, house, given_up[1], house.clock.now())
        house.guesses.__init__()  # type: ignore[misc]  # as after the time in which the keychain is asked first

    assert await indexes(house.database) == [0, 1, 2]


async def test_a_guess_in_the_middle_that_was_given_up_leaves_no_hole(house: House, store: Store) -> None:
    first, _, last = [await guessed(house, store) for _ in range(3)]

    await asyncio.gather(*(flow.open_invoice(None, house, opening, house.clock.now()) for opening in (first, last)))

    assert await indexes(house.database) == [0, 1]


async def test_an_index_that_is_just_being_taken_is_waited_for(house: House, store: Store) -> None:
    pool = house.database.pool
    opening = await guessed(house, store)
    async with pool.acquire() as other, other.transaction():
        await other.execute("update keychains set next_index = next_index + 1")
        opened = asyncio.create_task(flow.open_invoice(None, house, opening, house.clock.now()))
        await until(lambda: pool.fetchval(WAITING))
    await opened

    assert await indexes(house.database) == [1]
    assert await pool.fetchval("select next_index from keychains") == 2


async def test_the_next_guess_goes_on_from_what_others_took_and_from_what_was_refused(
    house: House, store: Store, clock: SetClock
) -> None:
    keychain = (await guessed(house, store)).addresses[0].keychain_id
    for _ in range(3):
        await wallets.allocate(house.database.pool, [keychain])
    ahead = [await guessed(house, store) for _ in range(5)]
    assert [opening.addresses[0].index for opening in ahead] == [3, 4, 5, 6, 7]

    await flow.open_invoice(None, house, ahead[-1], house.clock.now())  # refused: nobody takes those before it
    clock.move(RESERVED.total_seconds())

    assert (await guessed(house, store)).addresses[0].index == 4


async def test_a_wallet_without_indexes_says_so(house: House, store: Store) -> None:
    await house.database.pool.execute("update keychains set next_index = 2147483648")

    with pytest.raises(Conflict, match="every address"):
        await make(house, store)


async def test_the_last_index_is_given(house: House, store: Store) -> None:
    await house.database.pool.execute("update keychains set next_index = 2147483647")

    await make(house, store)

    assert await indexes(house.database) == [2147483647]


async def test_a_key_comes_with_what_its_store_can_take(house: House, store: Store) -> None:
    async with house.database.transaction() as tx:
        bare = await stores.create_store(tx, "Bare", "EUR", False, house.clock.now())
        texts = [(await stores.create_key(tx, each, house.clock.now()))[1] for each in (store, bare, store)]
    hashes = [key_hash(text) or b"" for text in texts]

    found = await stores.find_receivers(house.database.pool, [*hashes, b"\0" * 32])

    (mine, nothing) = await wallets.receiving(house.database.pool, [store.id, bare.id])
    keys = await stores.find_keys(house.database.pool, hashes)
    assert mine
    assert found == [(keys[0], mine), (keys[1], nothing), (keys[2], mine), None]
