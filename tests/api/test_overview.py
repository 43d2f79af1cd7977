"""The figures of a store's last days, and finding an invoice by whatever one has at hand."""

import pytest

from kassa.core.ids import first_id, new_id
from kassa.stores import store as stores
from tests.api.served import Served
from tests.house import SetClock


async def test_an_invoice_is_found_by_id_reference_and_address(served: Served) -> None:
    made = await served.all.invoice(reference="order-7")
    await served.all.invoice(reference="order-8")
    option = made["payment_options"][0]
    for text in (made["id"], "order-7", option["address"], option["address"].upper()):
        found = await served.all.get(f"/v1/invoices?search={text}")
        assert [each["id"] for each in found.json["data"]] == [made["id"]], text


@pytest.mark.parametrize("text", ["order-", "7", "%25", "inv_", "0" * 64, "bcrt1q", "%27%20or%201=1"])
async def test_a_part_finds_nothing(served: Served, text: str) -> None:
    await served.all.invoice(reference="order-7")
    assert (await served.all.get(f"/v1/invoices?search={text}")).json["data"] == []


async def test_what_belongs_to_another_store_is_not_found(served: Served) -> None:
    made = await served.all.invoice(reference="order-7")
    async with served.house.database.transaction() as tx:
        other = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    stranger = await served.key(store=other)
    for text in (made["id"], "order-7", made["payment_options"][0]["address"]):
        assert (await stranger.get(f"/v1/invoices?search={text}")).json["data"] == []


async def test_the_overview_counts_what_was_made_and_what_settled(served: Served) -> None:
    clock = served.house.clock
    assert isinstance(clock, SetClock)
    first = await served.all.invoice(amount="10.00")
    second = await served.all.invoice(amount="20.00")
    await served.all.post(f"/v1/invoices/{first['id']}/mark", {"as": "settled"})
    pool = served.house.database.pool
    await pool.execute("update invoices set flags = '{underpaid}', status = 'expired' where id = $1", second["id"])
    found = (await served.all.get("/v1/overview?days=7")).json
    assert found["invoices"] == {"new": 0, "processing": 0, "settled": 1, "expired": 1, "invalid": 0}
    assert found["conversion_percent"] == "50"
    assert found["flagged"] == {"underpaid": 1, "overpaid": 0, "late": 0, "reversed": 0}
    assert (found["since"], found["until"]) == ("2025-12-26", "2026-01-01")
    flagged = (await served.all.get("/v1/invoices?flag=underpaid")).json["data"]
    assert [each["id"] for each in flagged] == [second["id"]]
    clock.move(8 * 86_400)
    later = (await served.all.get("/v1/overview?days=7")).json
    assert sum(later["invoices"].values()) == 0
    assert later["conversion_percent"] is None
    assert (await served.all.get("/v1/overview?days=8")).status == 422


def test_ids_of_a_moment_sort_between_those_before_and_after() -> None:
    clock = SetClock()
    before = new_id("inv", clock.now())
    bound = first_id("inv", clock.move(0.001))
    assert before < bound <= new_id("inv", clock.now())
