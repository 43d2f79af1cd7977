"""E43: orders that nobody pays end before the merchant's own wallet stops looking, and shut out the others last."""

from dataclasses import replace

import pytest

from kassa.checkout.pages import handlers
from kassa.house import House
from kassa.wallets.runs import UnpaidRuns, has_room
from kassa.workers.count_unpaid import count_once
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.served import ORDER, Caller, serve
from tests.house import BITCOIN, add_store

BOUND = 40
ISSUED = 10_000


async def order(caller: Caller, most: int) -> tuple[int, str]:
    """Order until refused, at most so often; return how many were made and the code of the refusal."""
    for made in range(most):
        answer = await caller.post("/v1/invoices", ORDER)
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


async def test_e43_a_flood_of_unpaid_orders_ends_at_the_bound_and_begins_with_whoever_floods(house: House) -> None:
    bounded = replace(house, unpaid=UnpaidRuns(BOUND))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(bounded, store, handlers(bounded)) as served:
        honest, flooding = await served.key(), served.all
        assert await order(honest, 1) == (1, "")
        await count_once(bounded)

        assert await order(flooding, 10 * BOUND) == (BOUND // 2, "too_many_unpaid")
        assert await order(honest, 10) == (10, "")  # the others are still served
        assert await order(flooding, 1) == (0, "too_many_unpaid")
        assert await order(honest, BOUND) == (BOUND // 2 - 11, "too_many_unpaid")
        issued = await house.database.pool.fetchval("select next_index from keychains")
        assert issued == BOUND

        await count_once(bounded)  # and nothing changes by looking again
        assert await order(honest, 1) == (0, "too_many_unpaid")
        await pay(house, issued - 1)
        await count_once(bounded)
        assert await order(honest, 1) == (1, "")
        assert await order(flooding, 1) == (1, "")


async def test_e43_a_process_that_starts_knows_soon_what_ten_thousand_orders_before_it_took(house: House) -> None:
    bounded = replace(house, unpaid=UnpaidRuns(BOUND))
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(bounded, store, handlers(bounded)) as served:
        assert await order(served.all, 1) == (1, "")
        await house.database.pool.execute(
            """insert into addresses (id, keychain_id, network, index, address, script, watch_key, created_at)
               select a.id || n, keychain_id, network, index + n, address || n, int4send(n), n, created_at
               from addresses a, generate_series(1, $1::int) n""",
            ISSUED - 1,
        )
        await house.database.pool.execute("update keychains set next_index = $1", ISSUED)
        await count_once(bounded)
        assert await order(served.all, 1) == (0, "too_many_unpaid")
        await count_once(bounded)
        assert await order(served.all, 1) == (0, "too_many_unpaid")


@pytest.mark.parametrize(
    ("length", "takers", "has"),
    [
        (19, {"a": 19}, True),
        (20, {"a": 20}, False),  # with `b` there are two, and half is gone
        (39, {"b": 39}, True),  # alone: the bound itself
        (40, {"b": 0}, False),
        (25, {"a": 5, "b": 19}, True),
        (25, {"a": 5, "b": 20}, False),
    ],
)
def test_e43_shares_are_equal_in_the_second_half(length: int, takers: dict[str, int], has: bool) -> None:
    who = "a" if length == 20 else "b"
    others = {"b": 0} if length == 20 else {}
    assert has_room(length, 40, who, takers | others) is has
