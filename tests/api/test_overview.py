"""The figures of a store's last days, and finding an invoice by whatever one has at hand."""

from urllib.parse import quote

import pytest

from kassa.core.ids import first_id, new_id
from kassa.stores import store as stores
from tests.api.served import Served
from tests.house import SetClock


async def test_an_invoice_is_found_by_id_reference_and_address(served: Served) -> None:
    made = await served.all.invoice(reference="order-7")
    await served.all.invoice(reference="order-8")
    option = made["payment_options"][0]
    for text in (
        made["id"], "order-7", option["address"], option["address"].upper(), made["id"].upper(), made["checkout_url"],
        option["uri"], f" https://mempool.space/address/{option['address']}\n",
    ):  # fmt: skip
        found = await served.all.get(f"/v1/invoices?search={quote(text)}")
        assert [each["id"] for each in found.json["data"]] == [made["id"]], text


@pytest.mark.parametrize("text", ["order-", "7", "%25", "inv_", "0" * 64, "bcrt1q", "%27%20or%201=1"])
async def test_a_part_finds_nothing(served: Served, text: str) -> None:
    await served.all.invoice(reference="order-7")
    assert (await served.all.get(f"/v1/invoices?search={text}")).json["data"] == []


async def test_a_reference_is_what_is_exactly_so_and_a_search_may_be_as_long_as_a_link(served: Served) -> None:
    made = await served.all.invoice(reference="https://shop.example/tx/" + "ab" * 32)
    for query, count in (
        ("reference=" + quote(made["reference"]), 1), ("search=" + quote(made["reference"]), 1),
        ("reference=" + made["id"], 0), ("reference=" + quote(made["checkout_url"]), 0),
        ("search=" + made["id"] + "%20" * 1_000, 1),
    ):  # fmt: skip
        assert len((await served.all.get(f"/v1/invoices?{query}")).json["data"]) == count, query
    assert (await served.all.get("/v1/invoices?search=" + "a" * 2_049)).status == 422


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
    stands = "update invoices set flags = '{underpaid}', rules = '{short.flag}', status = 'expired' where id = $1"
    await pool.execute(stands, second["id"])
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


async def test_what_waits_for_a_decision_is_counted_as_it_is_listed_whatever_its_age(served: Served) -> None:
    clock, pool = served.house.clock, served.house.database.pool
    assert isinstance(clock, SetClock)
    old, decided = await served.all.invoice(), await served.all.invoice()
    stands = "update invoices set flags = $2, rules = $3, status = 'expired' where id = $1"
    await pool.execute(stands, old["id"], ["underpaid", "late"], ["short.flag", "late.flag"])
    await pool.execute(stands, decided["id"], ["underpaid", "marked"], ["marked"])
    clock.move(400 * 86_400)
    counted = (await served.all.get("/v1/overview?days=7")).json["flagged"]
    assert counted == {"underpaid": 1, "overpaid": 0, "late": 1, "reversed": 0}
    for flag, count in counted.items():
        listed = (await served.all.get(f"/v1/invoices?flag={flag}&decision=none")).json["data"]
        assert [each["id"] for each in listed] == [old["id"]] * count
    everything = (await served.all.get("/v1/invoices?flag=underpaid")).json["data"]
    assert {each["id"] for each in everything} == {decided["id"], old["id"]}
    assert (await served.all.get("/v1/invoices?decision=made")).status == 422

    await pool.execute(
        """insert into invoices select (json_populate_record(i, json_build_object(
           'id', 'inv_' || lpad(n::text, 29, '0')))).* from invoices i, generate_series(1, 1200) n where i.id = $1""",
        old["id"],
    )
    assert (await served.all.get("/v1/overview?days=7")).json["flagged"]["late"] == 1_001  # more than 1,000


async def test_deliveries_given_up_are_counted_as_they_are_listed(served: Served) -> None:
    clock, pool = served.house.clock, served.house.database.pool
    assert isinstance(clock, SetClock)
    clock.move(60)
    hook = (await served.all.post("/v1/webhooks", {"url": "https://shop.example/hook"})).json
    test = (await served.all.post(f"/v1/webhooks/{hook['id']}/test")).json
    await pool.execute("update deliveries set state = 'failed', due_at = null where id = $1", test["id"])
    path = "/v1/deliveries?state=failed&created_after="
    for days, count in ((6, 1), (1, 0)):
        clock.move(86_400 * days)
        told = (await served.all.get("/v1/overview?days=7")).json
        listed = (await served.all.get(f"{path}{told['since']}T00:00:00Z")).json["data"]
        assert len(listed) == told["failed_deliveries"] == count
    invoice = await served.all.invoice()
    other = await served.all.get(f"/v1/deliveries?invoice_id={invoice['id']}&created_after=2026-01-01T00:00:00Z")
    assert other.status == 422


def test_ids_of_a_moment_sort_between_those_before_and_after() -> None:
    clock = SetClock()
    before = new_id("inv", clock.now())
    bound = first_id("inv", clock.move(0.001))
    assert before < bound <= new_id("inv", clock.now())
