"""E43: orders that nobody pays end before the merchant's own wallet stops looking, and shut out the others last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from kassa import flow
from kassa.core.errors import Throttled
from kassa.core.ids import StoreId, WalletId
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import House
from kassa.main import open_house
from kassa.settings import Limits, Settings
from kassa.wallets import store as wallets
from kassa.wallets.model import Known, Taker, Wallet
from kassa.wallets.rules import MOST_UNPAID, USUAL_GAP, gap_advised, unpaid_bounds
from kassa.wallets.runs import UnpaidRuns, has_room
from kassa.workers.count_unpaid import count_once
from tests.api.conftest import follow
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.served import ORDER, Caller, Served, serve, until
from tests.house import BITCOIN, TPUB, add_store, build_house, regtest

BOUND = 40
LITECOIN = "litecoin-regtest"
LINK = {"title": "Two coffees", "amount": "9.90"}
ISSUED = 10_000


def bounded(house: House) -> House:
    """Another process of the same house, with a bound."""
    return replace(house, unpaid=UnpaidRuns(test=BOUND))


@asynccontextmanager
async def serving(house: House) -> AsyncIterator[tuple[House, Served]]:
    """Serve a store over HTTP by another process of the house, which has a bound."""
    here = bounded(house)
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(here, store) as served:
        yield here, served


async def order(caller: Caller, most: int, **more: object) -> tuple[int, str]:
    """Order until refused, at most so often; return how many were made and the code of the refusal."""
    for made in range(most):
        answer = await caller.post("/v1/invoices", ORDER | more)
        if answer.status != 201:
            assert (answer.status, "retry-after" in answer.headers) == (429, True)
            return made, answer.code
    return most, ""


async def pay(house: House, index: int) -> None:
    """Let the address of an index be paid in a block."""
    await house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               status, first_seen_at, block_height, block_hash, replaceable)
           select $2, network, repeat('ab', 32), 'out:0', $3, 1000, 0, id, store_id, invoice_id, 'confirming', $4, 7,
               'ab', false from addresses where index = $1 limit 1""",
        index, "pay_" + "0" * 26, f"BTC@{BITCOIN}", house.clock.now(),
    )  # fmt: skip


@pytest.mark.tampers("rows stand in for orders")
async def test_e43_a_flood_of_unpaid_orders_ends_at_the_bound_and_begins_with_whoever_floods(house: House) -> None:
    async with serving(house) as (here, served):
        honest, flooding = await served.key(), served.all
        assert await order(honest, 1) == (1, "")
        await count_once(here)

        assert await order(flooding, 10 * BOUND) == (BOUND // 2, "too_many_unpaid")
        assert await order(honest, 10) == (10, "")  # the others are still served
        assert await order(flooding, 1) == (0, "too_many_unpaid")
        assert await order(honest, BOUND) == (BOUND // 2 - 11, "too_many_unpaid")
        issued = await house.database.pool.fetchval("select next_index from keychains")
        assert issued == BOUND

        await count_once(here)  # and nothing changes by looking again
        assert await order(honest, 1) == (0, "too_many_unpaid")
        await pay(house, issued - 1)

        async def is_open_again() -> bool:
            return await order(honest, 1) == (1, "")

        await until(is_open_again)  # whoever is refused is not refused by what held before
        assert await order(flooding, 1) == (1, "")


@pytest.mark.tampers("ten thousand orders are rows without a history")
async def test_e43_a_process_that_starts_knows_soon_what_ten_thousand_orders_before_it_took(house: House) -> None:
    async with serving(house) as (here, served):
        assert await order(served.all, 1) == (1, "")
        await house.database.pool.execute(
            """insert into addresses (id, keychain_id, network, index, address, script, watch_key, created_at)
               select a.id || n, keychain_id, network, index + n, address || n, int4send(n), n, created_at
               from addresses a, generate_series(1, $1::int) n""",
            ISSUED - 1,
        )
        await house.database.pool.execute("update keychains set next_index = $1", ISSUED)
        await count_once(here)
        assert await order(served.all, 1) == (0, "too_many_unpaid")
        await count_once(here)
        assert await order(served.all, 1) == (0, "too_many_unpaid")


async def test_e43_payers_of_links_take_half_at_most_also_after_a_restart(house: House) -> None:
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store) as served:
        links = [(await served.all.post("/v1/payment-links", LINK)).json["id"] for _ in range(BOUND)]
    first, second = bounded(house), bounded(house)

    async def pay_links(process: House) -> int:
        for done in count():
            link = links.pop()
            try:
                await flow.attempt_link(process, link, link, None, house.clock.now(), address=link)
            except Throttled:
                return done
        return 0

    async with house.database.pool.acquire() as connection:
        await wallets.allocate(connection, [(await wallets.keychains(connection))[0].id])  # an order that failed
    async with serve(first, store) as served:
        assert await order(served.all, 1) == (1, "")
        await count_once(first)
        assert await pay_links(first) == BOUND // 2
    async with serve(second, store) as served:
        assert await order(served.all, 1) == (1, "")
        await count_once(second)
        assert await pay_links(second) == 0
        assert await order(served.all, BOUND) == (BOUND // 2 - 2, "too_many_unpaid")


async def test_e43_deposit_addresses_count_for_the_key_that_asks_for_them(house: House) -> None:
    async with serving(house) as (here, served):
        honest, flooding = await served.key(), served.all
        assert await order(honest, 1) == (1, "")
        await count_once(here)
        for place in range(BOUND // 2 + 1):
            customer = (await flooding.post("/v1/customers", {})).json["id"]
            answer = await flooding.post(f"/v1/customers/{customer}/addresses", {"asset": f"BTC@{BITCOIN}"})
            assert answer.status == (429 if place == BOUND // 2 else 201), place
        assert await order(honest, BOUND) == (BOUND // 2 - 1, "too_many_unpaid")


async def test_e43_a_full_wallet_is_not_offered_while_others_are(database: Database, tmp_path: Path) -> None:
    house = bounded(await build_house(database, tmp_path, {BITCOIN: regtest(), LITECOIN: regtest(LITECOIN)}))
    for network in (BITCOIN, LITECOIN):
        await follow(house, network)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        account = house.chains[LITECOIN].addresses.account(TPUB)
        space = house.chains[LITECOIN].space
        await wallets.add_wallet(tx, store.id, LITECOIN, space, account, house.seal, house.clock.now())
    litecoin = {"payment_options": [f"LTC@{LITECOIN}"]}
    async with serve(house, store) as served:
        await served.all.invoice()
        await count_once(house)
        assert await order(served.all, 2 * BOUND, **litecoin) == (BOUND - 1, "too_many_unpaid")
        made = await served.all.invoice()
        assert [option["asset"] for option in made["payment_options"]] == [f"BTC@{BITCOIN}"]
        # Who names both wants both: nothing is taken from the one that has room.
        both = {"payment_options": [f"LTC@{LITECOIN}", f"BTC@{BITCOIN}"]}
        bitcoin = "select max(index) from addresses where network = $1"
        before = await database.pool.fetchval(bitcoin, BITCOIN)
        refused = await served.all.post("/v1/invoices", ORDER | both)
        assert (refused.status, refused.code, LITECOIN in refused.json["detail"]) == (429, "too_many_unpaid", True)
        assert BITCOIN not in refused.json["detail"]
        await served.all.invoice(payment_options=[f"BTC@{BITCOIN}"])
        assert await database.pool.fetchval(bitcoin, BITCOIN) == before + 1
        # Whoever pays a link is offered what there is.
        link = (await served.all.post("/v1/payment-links", LINK | both | {"currency": "EUR"})).json
        begun = await flow.attempt_link(house, link["id"], "browser", None, house.clock.now(), address="203.0.113.7")
        made = (await served.all.get(f"/v1/invoices/{begun}")).json
        assert [option["asset"] for option in made["payment_options"]] == [f"BTC@{BITCOIN}"]
    await house.marks.close()


async def test_e43_addresses_that_a_restore_passed_over_are_no_unpaid_ones(house: House) -> None:
    async with serving(house) as (here, served):
        assert await order(served.all, 1) == (1, "")
        async with house.database.transaction() as tx:
            await wallets.jump(tx, (await wallets.keychains(tx))[0].id, 10_000, "restored")
        assert await order(served.all, 1) == (1, "")
        await count_once(here)
        assert await order(served.all, BOUND) == (BOUND - 2, "too_many_unpaid")


@pytest.mark.parametrize(
    ("length", "who", "takers", "links", "has"),
    [
        (19, "a", {"a": 19}, 0, True),
        (19, "a", {"a": 17, "b": 1, "c": 1}, 0, True),  # in the first half whoever comes
        (20, "a", {"a": 20, "b": 0}, 0, False),  # half is gone, and there are two
        (39, "b", {"b": 39}, 0, True),  # alone: the bound itself
        (40, "a", {"b": 0}, 0, False),
        (25, "b", {"a": 5, "b": 19}, 0, True),
        (25, "b", {"a": 5, "b": 20}, 0, False),
        (39, "a", {"a": 19}, 20, True),  # whatever links took, the other half is the store's own
        (39, "a", {"a": 20}, 20, False),
    ],
)
def test_e43_shares_are_equal_in_the_second_half(
    length: int, who: str, takers: dict[str, int], links: int, has: bool
) -> None:
    assert has_room(length, BOUND, Taker(who), takers, {}, links) is has


@pytest.mark.parametrize(
    ("length", "payers", "links", "has"),
    [
        (9, {"a": 9}, 9, True),
        (10, {"a": 9, "b": 1}, 10, True),
        (11, {"a": 10, "b": 1}, 11, False),  # a quarter of the bound is gone, and there are two
        (19, {"a": 19}, 19, True),
        (20, {"a": 0}, 20, False),
        (40, {}, 0, False),
    ],
)
def test_e43_payers_of_links_share_one_half(length: int, payers: dict[str, int], links: int, has: bool) -> None:
    assert has_room(length, BOUND, Taker("a", link=True), {"key": length - links}, payers, links) is has


@pytest.mark.parametrize(("link", "first", "then"), [(False, 21, 20), (True, 11, 10)])
def test_e43_with_a_payment_whoever_took_much_begins_anew(link: bool, first: int, then: int) -> None:
    runs, wallet = UnpaidRuns(test=BOUND), wallet_at(0)
    one, other = Taker("one", link=link), Taker("other", link=link)
    runs.take([wallet], one, livemode=False)
    runs.know(Known(wallet.keychain_id, 1, 1, int(link), -1))
    for _ in range(first - 1):
        runs.take([wallet], one, livemode=False)
    runs.know(Known(wallet.keychain_id, first, 0, 0, first - 1))  # the last of them is paid
    for _ in range(then):
        runs.take([wallet], other, livemode=False)
    assert runs.take([wallet], one, livemode=False) == {wallet.keychain_id}  # where shares count, and there are two


def test_e43_live_wallets_are_bounded_unless_somebody_wants_it_otherwise() -> None:
    assert unpaid_bounds(Limits().unpaid_addresses) == (0, MOST_UNPAID)
    assert (unpaid_bounds(0), unpaid_bounds(7)) == ((0, 0), (7, 7))
    advised = [gap_advised(needed, MOST_UNPAID) for needed in (3, 1_010, 2_000, 10_500)]
    assert advised == [2_000, 2_000, 2_000, 11_500]  # what a restore passed over, and the addresses that follow it
    assert [gap_advised(needed, 0) for needed in (3, 500)] == [USUAL_GAP, 500]


async def test_e43_a_program_without_settings_bounds_payers_of_links(database_url: str, tmp_path: Path) -> None:
    async with open_house(Settings(database_url=Secret(database_url), data_dir=tmp_path)) as house:
        runs, wallet, payer = house.unpaid, wallet_at(MOST_UNPAID), Taker("payer", link=True)
    for livemode in (False, True):
        assert runs.take([wallet], payer, livemode=livemode) == {wallet.keychain_id}
    runs.know(Known(wallet.keychain_id, 2 * MOST_UNPAID, 2 * MOST_UNPAID, MOST_UNPAID // 2 - 1, -1))
    assert runs.take([wallet], payer, livemode=True) == {wallet.keychain_id}
    with pytest.raises(Throttled):
        runs.take([wallet], payer, livemode=True)
    assert runs.take([wallet], payer, livemode=False) == {wallet.keychain_id}
    # The store's own orders, and its customers' addresses, are never in the way of a guess of ours.
    assert runs.take([wallet], Taker("key"), livemode=True) == {wallet.keychain_id}


def test_e43_a_crowd_that_comes_before_anything_was_read_is_bounded_too() -> None:
    runs, wallet, payer = UnpaidRuns(test=400), wallet_at(0), Taker("payer", link=True)
    for _ in range(16):
        assert runs.take([wallet], payer, livemode=False) == {wallet.keychain_id}
    assert runs.take([wallet], Taker("key"), livemode=False) == {wallet.keychain_id}
    with pytest.raises(Throttled):
        runs.take([wallet], payer, livemode=False)
    assert runs.to_read_again([wallet]) == [(wallet.keychain_id, 400)]


@pytest.mark.parametrize(("link", "most"), [(True, 200), (False, 400)])
def test_e43_what_is_taken_while_the_count_is_read_is_not_forgotten(link: bool, most: int) -> None:
    runs, wallet, takers = UnpaidRuns(test=400), wallet_at(0), [Taker(str(n), link=link) for n in range(400)]
    runs.take([wallet], takers[0], livemode=False)
    runs.know(Known(wallet.keychain_id, 1, 1, int(link), -1))
    counted = runs.counted([wallet.keychain_id])[wallet.keychain_id]
    for taker in takers[:100]:  # while it is read
        runs.take([wallet], taker, livemode=False)
    runs.know(Known(wallet.keychain_id, 1, 1, int(link), -1), counted)
    for taker in takers[100 : most - 1]:  # beside 101 before
        runs.take([wallet], taker, livemode=False)
    with pytest.raises(Throttled):
        runs.take([wallet], takers[most - 1], livemode=False)


def wallet_at(index: int) -> Wallet:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Wallet(WalletId("wal_1"), StoreId("sto_1"), "bitcoin", 1, "", "", index, now)
