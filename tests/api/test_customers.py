"""Customers over HTTP: addresses, credit, statement, books and timeline."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.served import Served, serve
from tests.house import BITCOIN, add_store
from tests.sim.world import World, new_world

BTC = f"BTC@{BITCOIN}"


@pytest.fixture
async def world(database: Any, tmp_path: Any) -> AsyncIterator[World]:
    async with new_world(database, tmp_path / "house") as made:
        yield made


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    async with serve(world.house, world.stores[0]) as running:
        yield running


async def customer(served: Served, **more: Any) -> Any:
    answer = await served.all.post("/v1/customers", more)
    assert answer.status == 201, answer.body
    return answer.json


async def address(served: Served, id_: str) -> Any:
    return (await served.all.post(f"/v1/customers/{id_}/addresses", {"asset": BTC})).json


async def credited(served: Served, world: World, units: int = 100_000) -> Any:
    """Make a customer with settled credit."""
    made = await customer(served)
    script = world.house.chains[BITCOIN].addresses.parse((await address(served, made["id"]))["address"])
    world.chain.submit(world.tx((script, units)))
    world.chain.mine()
    await world.step()
    return made


async def test_a_customer_is_made_listed_and_read(served: Served) -> None:
    made = await customer(served, reference="user-17", name="Ada", metadata={"tier": 2})
    assert (made["reference"], made["name"], made["metadata"]) == ("user-17", "Ada", {"tier": 2})
    assert (await served.all.get(f"/v1/customers/{made['id']}")).json == made
    assert (await served.all.get("/v1/customers?reference=user-17")).json["data"] == [made]
    again = await served.all.post("/v1/customers", {"reference": "user-17"})
    assert (again.status, again.code) == (409, "customer_exists")


async def test_a_deposit_address_is_the_same_for_ever_also_for_many_at_once(served: Served) -> None:
    made = await customer(served)
    answers = await asyncio.gather(*(address(served, made["id"]) for _ in range(20)))
    assert len({answer["address"] for answer in answers}) == 1
    assert await address(served, made["id"]) == answers[0]
    assert (await address(served, (await customer(served))["id"]))["address"] != answers[0]["address"]


async def test_a_wrong_deposit_address_is_not_shown(served: Served) -> None:
    made = await customer(served)
    await address(served, made["id"])
    await served.house.database.pool.execute(
        "update addresses set address = 'bcrt1qevil' where customer_id = $1", made["id"]
    )
    refused = await served.all.post(f"/v1/customers/{made['id']}/addresses", {"asset": BTC})
    assert (refused.status, refused.code) == (503, "address_mismatch")


async def test_an_asset_that_the_store_does_not_take_has_no_address(served: Served) -> None:
    made = await customer(served)
    refused = await served.all.post(f"/v1/customers/{made['id']}/addresses", {"asset": "LTC@litecoin"})
    assert (refused.status, refused.fields) == (422, ["asset"])


async def test_deposits_are_pending_then_available_then_spent(served: Served, world: World) -> None:
    made = await customer(served)
    path = f"/v1/customers/{made['id']}"
    script = world.house.chains[BITCOIN].addresses.parse((await address(served, made["id"]))["address"])
    world.chain.submit(world.tx((script, 150_000)))
    await world.step()
    pending = {
        "object": "balance",
        "asset": BTC,
        "available": "0.00000000",
        "pending": "0.00150000",
        "owed": "0.00000000",
        "written_off": "0.00000000",
    }
    assert (await served.all.get(f"{path}/balances")).json["data"] == [pending]
    world.chain.mine()
    await world.step()
    (payment,) = (await served.all.get("/v1/payments")).json["data"]
    assert (payment["customer_id"], payment["invoice_id"], payment["status"]) == (made["id"], None, "settled")
    assert (payment["value"], payment["rate"]) == ("75.00", "50000.00")
    assert (await served.all.get(f"/v1/payments/{payment['id']}")).json == payment

    invoice = await served.all.invoice(amount="50.00", customer_id=made["id"])
    paid = await served.all.post(f"/v1/invoices/{invoice['id']}/pay_from_credit", {"asset": BTC})
    assert (paid.status, paid.json["status"]) == (200, "settled")
    assert paid.json == (await served.all.get(f"/v1/invoices/{invoice['id']}")).json
    available = pending | {"available": "0.00050000", "pending": "0.00000000"}
    assert (await served.all.get(f"{path}/balances")).json["data"] == [available]
    lines = (await served.all.get(f"{path}/statement")).json["data"]
    assert [(line["amount"], line["balance"], line["value"]) for line in lines] == [
        ("-0.00100000", "0.00050000", "-50.00"),
        ("0.00150000", "0.00150000", "75.00"),
    ]
    first = (await served.all.get(f"{path}/statement?limit=1")).json
    rest = (await served.all.get(f"{path}/statement?limit=1&cursor={first['next_cursor']}")).json
    assert [*first["data"], *rest["data"]] == lines
    assert rest["next_cursor"] is None


async def test_d12_a_spend_that_is_sent_again_is_made_once(served: Served, world: World) -> None:
    made = await credited(served, world)
    invoice = await served.all.invoice(amount="50.00", customer_id=made["id"])
    path, headers = f"/v1/invoices/{invoice['id']}/pay_from_credit", {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *(served.all.post(path, {"asset": BTC, "amount": "0.0002"}, headers=headers) for _ in range(10))
    )
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert await served.house.database.pool.fetchval("select sum(units) from spends") == 20_000


async def test_d21_over_http_credit_is_never_overdrawn(served: Served, world: World) -> None:
    made = await credited(served, world)
    invoices = [await served.all.invoice(amount="30.00", customer_id=made["id"]) for _ in range(20)]
    answers = await asyncio.gather(
        *(served.all.post(f"/v1/invoices/{each['id']}/pay_from_credit", {"asset": BTC}) for each in invoices)
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 19
    assert {answer.code for answer in answers if answer.status == 409} == {"insufficient_credit"}


async def test_what_cannot_be_paid_from_credit_says_why(served: Served, world: World) -> None:
    made = await credited(served, world)
    nobodys = await served.all.invoice()
    refused = await served.all.post(f"/v1/invoices/{nobodys['id']}/pay_from_credit", {"asset": BTC})
    assert (refused.status, refused.code) == (409, "no_customer")
    theirs = f"/v1/invoices/{(await served.all.invoice(customer_id=made['id']))['id']}/pay_from_credit"
    assert (await served.all.post(theirs, {"asset": "LTC@litecoin"})).fields == ["asset"]
    assert (await served.all.post(theirs, {"asset": BTC, "amount": "0"})).fields == ["amount"]
    assert (await served.all.post(theirs, {"asset": BTC})).status == 200
    assert (await served.all.post(theirs, {"asset": BTC})).code == "invoice_not_payable"


async def test_e11_customers_of_another_store_are_nobody(served: Served, world: World) -> None:
    made = await credited(served, world)
    other = await served.key(store=world.stores[1])
    for path in ("", "/balances", "/statement"):
        assert (await other.get(f"/v1/customers/{made['id']}{path}")).status == 404
    assert (await other.post(f"/v1/customers/{made['id']}/addresses", {"asset": BTC})).status == 404
    refused = await other.post("/v1/invoices", {"amount": "1", "currency": "EUR", "customer_id": made["id"]})
    assert (refused.status, refused.fields) == (422, ["customer_id"])
    assert (await other.get("/v1/ledger/balances")).json["data"] == []
    assert (await other.get("/v1/ledger/entries")).json["data"] == []


async def test_the_books_are_read_now_and_then(served: Served, world: World) -> None:
    before = world.clock.now()
    world.clock.move(1)
    made = await credited(served, world)
    booked = {
        entry["account"]: (entry["amount"], entry["value"], entry["currency"])
        for entry in (await served.all.get("/v1/ledger/balances")).json["data"]
    }
    assert booked == {
        f"wallet:{BITCOIN}": ("0.00100000", "50.00", "EUR"),
        f"customer:{made['id']}": ("-0.00100000", "-50.00", "EUR"),
    }
    moment = before.isoformat().replace("+00:00", "Z")
    assert (await served.all.get(f"/v1/ledger/balances?at={moment}")).json["data"] == []
    (payment,) = (await served.all.get("/v1/payments")).json["data"]
    (entry,) = (await served.all.get(f"/v1/ledger/entries?payment_id={payment['id']}")).json["data"]
    assert (entry["payment_id"], entry["customer_id"], entry["reason"]) == (
        payment["id"], made["id"], "deposit settled",
    )  # fmt: skip
    assert sorted((each["account"].split(":")[0], each["rate"]) for each in entry["postings"]) == [
        ("customer", "50000"),
        ("wallet", "50000"),
    ]
    found = (await served.all.get(f"/v1/ledger/entries?account=wallet:{BITCOIN}")).json["data"]
    assert found == [entry]
    assert (await served.all.get("/v1/ledger/entries?account=sales")).json["data"] == []


async def test_the_timeline_tells_everything_in_order_in_parts_of_any_size(served: Served, world: World) -> None:
    made = await credited(served, world)
    invoice = await served.all.invoice(amount="50.00", customer_id=made["id"])
    world.clock.move(1)
    await served.all.post(f"/v1/invoices/{invoice['id']}/pay_from_credit", {"asset": BTC, "amount": "0.0004"})
    world.chain.submit(world.paying(invoice, 60_000))
    await world.step()
    world.chain.mine()
    world.clock.move(1)
    await world.step()
    world.clock.move(1)
    await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})
    path = f"/v1/invoices/{invoice['id']}/timeline"
    whole = (await served.all.get(f"{path}?limit=100")).json["data"]
    told = [item["event"]["type"] if item["kind"] == "event" else item["kind"] for item in whole]
    assert told == [
        "invoice.created", "spend", "invoice.updated", "payment.detected", "invoice.processing", "entry",
        "payment.settled", "invoice.settled", "entry", "decision", "invoice.invalid",
    ]  # fmt: skip
    assert whole[-2]["decision"]["by"].startswith("key_")
    assert whole[-1]["event"]["invoice"]["rules"] == ["marked"]
    assert whole[3]["event"]["payment"]["status"] == "detected"
    for limit in (1, 2, 3):
        parts, cursor = [], ""
        while True:
            part = (await served.all.get(f"{path}?limit={limit}{cursor}")).json
            parts += part["data"]
            if part["next_cursor"] is None:
                break
            cursor = f"&cursor={part['next_cursor']}"
        assert parts == whole
    refused = await served.all.get(f"{path}?cursor=1-2")
    assert (refused.status, refused.fields) == (422, ["cursor"])


async def test_o13_no_foreign_id_gives_a_timeline(served: Served, world: World) -> None:
    invoice = await served.all.invoice()
    async with served.house.database.transaction() as tx:
        store = await add_store(tx, served.house)
    assert (await (await served.key(store=store)).get(f"/v1/invoices/{invoice['id']}/timeline")).status == 404
