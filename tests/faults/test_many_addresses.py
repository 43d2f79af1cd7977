"""E28: a database in which a great many addresses are wrong at once, by an intruder or by a restore that went wrong."""

import asyncio
from collections.abc import Iterable
from typing import Any

from kassa import flow
from kassa.alerts.address_store import NAMED
from kassa.checkout.pages import handlers
from kassa.invoices.deadline_store import FIRST_TURN, Turn
from kassa.metrics import store as metrics
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.conftest import served as served  # noqa: PLC0414  # a fixture
from tests.api.served import Served, serve
from tests.house import BITCOIN, add_store


async def swap(served: Served, invoices: Iterable[Any]) -> None:
    await served.house.database.pool.execute(
        "update addresses set address = 'x' || address where invoice_id = any($1)", [each["id"] for each in invoices]
    )


async def mend(served: Served, invoices: Iterable[Any]) -> None:
    await served.house.database.pool.execute(
        "update addresses set address = substr(address, 2) where invoice_id = any($1)",
        [each["id"] for each in invoices],
    )


async def look(served: Served, page: int = 10) -> None:
    turn: Turn | None = FIRST_TURN
    while turn is not None:
        async with served.house.database.transaction() as tx:
            turn = await flow.check_addresses(tx, served.house, turn, page, served.house.clock.now())


async def alert(served: Served) -> Any:
    [one] = (await served.all.get("/v1/alerts?status=open")).json["data"]
    return one


async def close(served: Served) -> None:
    one = await alert(served)
    answer = await served.all.post(f"/v1/alerts/{one['id']}/close", {"note": "seen"})
    assert answer.status == 200, answer.body


async def told(served: Served, type_: str) -> int:
    return len((await served.all.get(f"/v1/events?type={type_}")).json["data"])


async def test_e28_many_wrong_addresses_are_one_alert_that_counts_them(served: Served) -> None:
    invoices = [await served.all.invoice() for _ in range(45)]
    await swap(served, invoices[2:])

    await look(served)
    await look(served)

    one = await alert(served)
    assert (one["subject"], one["network"], one["about"]["count"]) == (f"{served.store.id}/{BITCOIN}", BITCOIN, 43)
    newest = one["about"]["newest"]
    assert len(set(newest)) == NAMED
    assert set(newest) < {each["id"] for each in invoices[2:]}
    assert f": 43 ({', '.join(newest[:3])}, …)" in one["reason"]
    # At the first page, with the second and with the fourth: whenever there were about twice as many.
    assert (await told(served, "alert.opened"), await told(served, "alert.closed")) == (3, 2)
    found = [(await served.all.get(f"/v1/invoices/{each['id']}")).json["payment_options"][0] for each in invoices]
    assert [each["address"] is None for each in found] == [False] * 2 + [True] * 43
    async with served.house.database.transaction() as tx:
        assert (await metrics.faults(tx))["addresses"] == 43


async def test_e28_what_is_mended_or_asks_nobody_any_more_is_not_counted(served: Served) -> None:
    invoices = [await served.all.invoice() for _ in range(4)]
    await swap(served, invoices)
    await look(served)

    await mend(served, invoices[:1])
    # As the clock leaves an invoice whose time for late payments is over.
    await served.house.database.pool.execute("update invoices set deadline = null where id = $1", invoices[3]["id"])
    await look(served)

    one = await alert(served)
    assert (one["about"]["count"], one["over_at"]) == (2, None)
    assert set(one["about"]["newest"]) == {invoices[1]["id"], invoices[2]["id"]}
    await mend(served, invoices[1:])
    await look(served)
    assert (await alert(served))["over_at"] is not None  # and open: that it is mended does not say by whom


async def test_e28_what_was_closed_comes_again_with_the_next_wrong_address_alone(served: Served) -> None:
    invoices = [await served.all.invoice() for _ in range(4)]
    await swap(served, invoices[:2])
    await look(served)
    await close(served)
    await look(served)
    assert (await served.all.get("/v1/alerts?status=open")).json["data"] == []

    await mend(served, invoices[:1])
    await swap(served, invoices[3:])  # as many as before
    await look(served)

    assert (await alert(served))["about"] == {"count": 2, "newest": [invoices[3]["id"], invoices[1]["id"]]}


async def test_e28_two_who_look_at_different_pages_count_together(served: Served) -> None:
    await swap(served, [await served.all.invoice() for _ in range(20)])
    house, now = served.house, served.house.clock.now()
    async with house.database.transaction() as tx:
        middle = await flow.check_addresses(tx, house, FIRST_TURN, 10, now)
        assert middle is not None

        async def rest() -> None:
            async with house.database.transaction() as other:
                await flow.check_addresses(other, house, middle, 100, now)

        second = asyncio.create_task(rest())
        await asyncio.wait([second], timeout=0.5)
    await second

    assert (await alert(served))["about"]["count"] == 20


async def test_e28_an_address_and_terms_that_are_wrong_are_two_alerts_of_a_store(served: Served) -> None:
    one, two = await served.all.invoice(), await served.all.invoice()
    await swap(served, [one])
    await served.house.database.pool.execute("update invoices set amount_units = 1 where id = $1", two["id"])

    await look(served)

    found = {each["subject"]: each["about"] for each in (await served.all.get("/v1/alerts?status=open")).json["data"]}
    assert found == {
        f"{served.store.id}/{BITCOIN}": {"count": 1, "newest": [one["id"]]},
        served.store.id: {"count": 1, "newest": [two["id"]]},
    }


async def test_e28_a_right_address_beside_another_stores_wrong_one_does_not_end_an_alert(served: Served) -> None:
    house = served.house
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store, handlers(house)) as other:
        mine = [await served.all.invoice() for _ in range(3)]
        theirs = await other.all.invoice()
        await swap(served, [mine[0], theirs])
        for seconds, each in enumerate([*mine, theirs]):
            await house.database.pool.execute(
                "update invoices set deadline = deadline + make_interval(secs => $2) where id = $1", each["id"], seconds
            )

        await look(served, page=2)  # mine that is wrong and one that is right; another that is right and theirs
        await look(served, page=2)
        assert (await alert(served))["over_at"] is None
        assert (await alert(other))["over_at"] is None
        await close(served)
        await look(served, page=2)
        await look(served, page=2)

        assert (await served.all.get("/v1/alerts?status=open")).json["data"] == []
