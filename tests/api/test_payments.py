"""Payments are found by whatever one has at hand, and listed by state, asset and days."""

from datetime import timedelta
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.ids import new_id
from kassa.stores import store as stores
from tests.api.served import Caller, Served
from tests.house import BITCOIN, SetClock

ASSET = f"BTC@{BITCOIN}"


async def _paid(served: Served, invoice: dict[str, Any], txid: str, status: str, asset: str = ASSET) -> str:
    """Write a payment of an invoice that was seen three days before it was written; return its id."""
    now, address = served.house.clock.now(), invoice["payment_options"][0]["address"]
    id_ = new_id("pay", now)
    await served.house.database.pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, store_id, invoice_id,
               first_seen_at, replaceable, status)
           select $1, network, $2, 'out:0', $3, 1000, 0, id, store_id, invoice_id, $4, false, $5 from addresses
           where address = $6""",
        id_, txid, asset, now - timedelta(days=3), status, address,
    )  # fmt: skip
    return id_


async def _found(caller: Caller, query: str) -> list[str]:
    answer = await caller.get(f"/v1/payments?{query}")
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.json["data"]]


async def test_payments_are_found_by_txid_address_reference_and_id(served: Served) -> None:
    first, second = await served.all.invoice(reference="order-7"), await served.all.invoice(reference="order-8")
    payment, other = (
        await _paid(served, first, "ab" * 32, "detected"),
        await _paid(served, second, "cd" * 32, "dropped"),
    )
    address = first["payment_options"][0]["address"]
    for text in (payment, "ab" * 32, "AB" * 32, address, address.upper(), "order-7", first["id"]):
        assert await _found(served.all, f"search={text}") == [payment], text
    for text in ("order-", "ab", "%25", "' or 1=1"):
        assert await _found(served.all, f"search={text}") == []
    assert await _found(served.all, f"search={'cd' * 32}&status=dropped") == [other]
    assert await _found(served.all, f"search={'cd' * 32}&status=detected") == []
    async with served.house.database.transaction() as tx:
        elsewhere = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    stranger = await served.key(store=elsewhere)
    for text in (payment, "ab" * 32, address, "order-7", first["id"]):
        assert await _found(stranger, f"search={text}") == []


async def test_payments_are_listed_by_state_asset_and_when_they_were_first_seen(served: Served) -> None:
    clock = served.house.clock
    assert isinstance(clock, SetClock)
    invoice, made = await served.all.invoice(), []
    for number, status in enumerate(("settled", "detected", "settled", "reversed")):
        made.append(await _paid(served, invoice, f"{number:064}", status))
        clock.move(86_400)
    seen = clock.now() - timedelta(days=6)  # of the second
    assert await _found(served.all, "status=settled") == [made[2], made[0]]
    assert await _found(served.all, f"asset={ASSET}&status=reversed") == [made[3]]
    assert await _found(served.all, "asset=DOGE@nowhere") == []
    assert await _found(served.all, f"first_seen_after={rfc3339(seen)}") == [made[3], made[2]]
    assert await _found(served.all, f"first_seen_before={rfc3339(seen)}") == [made[0]]
    parts, cursor = [], ""
    while True:
        part = (await served.all.get(f"/v1/payments?limit=1&first_seen_before={rfc3339(clock.now())}{cursor}")).json
        parts += [each["id"] for each in part["data"]]
        if part["next_cursor"] is None:
            break
        cursor = f"&cursor={part['next_cursor']}"
    assert parts == made[::-1]
    for query in ("status=gone", "search=", "first_seen_after=yesterday", "from=2026-01-01"):
        assert (await served.all.get(f"/v1/payments?{query}")).status == 422


async def test_all_payments_of_an_invoice_are_listed_and_of_no_other(served: Served) -> None:
    invoice, other = await served.all.invoice(), await served.all.invoice()
    made = [await _paid(served, invoice, f"{number:064}", "dropped") for number in range(60)]
    await _paid(served, other, "ab" * 32, "detected")
    parts, cursor = [], ""
    while cursor is not None:
        part = (await served.all.get(f"/v1/payments?invoice_id={invoice['id']}&limit=25{cursor}")).json
        parts += [each["id"] for each in part["data"]]
        cursor = part["next_cursor"] and f"&cursor={part['next_cursor']}"
    assert parts == sorted(made, reverse=True)
    assert await _found(served.all, f"invoice_id={invoice['id']}&status=detected") == []
    async with served.house.database.transaction() as tx:
        elsewhere = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    assert await _found(await served.key(store=elsewhere), f"invoice_id={invoice['id']}") == []
    shown = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json
    assert (len(shown["payments"]), shown["payments_left_off"]) == (50, 10)


async def test_a_small_payment_that_counts_is_shown_before_any_number_of_large_ones_that_do_not(served: Served) -> None:
    invoice, pool = await served.all.invoice(), served.house.database.pool
    for number in range(60):
        await _paid(served, invoice, f"{number:064}", "replaced")
    await pool.execute("update payments set conflict_txid = repeat('ef', 32), conflict_height = 100")
    small = await _paid(served, invoice, "cd" * 32, "detected")
    await pool.execute("update payments set units = 1 where id = $1", small)
    shown = (await served.all.get(f"/v1/invoices/{invoice['id']}")).json
    assert [each["id"] for each in shown["payments"] if each["status"] == "detected"] == [small]
    assert (len(shown["payments"]), shown["payments_left_off"]) == (50, 11)
