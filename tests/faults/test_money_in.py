"""Odd ways in which money arrives, on a real node: A15, A17, A19, A20, A21, A23."""

import asyncio

import pytest
from asyncpg import UniqueViolationError

from kassa import flow
from kassa.audit.model import Actor
from kassa.invoices.model import Decision
from tests.house import add_store
from tests.shop import Shop, address

VERIFIED = True
"""The shop of each test ends with the oracle and the chain."""


async def test_a15_a_coinbase_settles_only_when_it_is_mature(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.node.mine(1, to=address(invoice))
    shown = await shop.until(invoice, status="processing", payments=["confirming"])
    assert shown["payments"][0]["confirmations_required"] == 101
    await shop.node.mine(99)
    await shop.caught_up()
    assert (await shop.shown(invoice))["payments"][0]["confirmations"] == 100
    assert (await shop.shown(invoice))["status"] == "processing"
    await shop.node.mine(1)
    await shop.until(invoice, status="settled")


async def test_a15_a_coinbase_that_is_reorganised_away_never_was(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.node.mine(1, to=address(invoice))
    await shop.until(invoice, status="processing")
    await shop.node.mine(97)
    await shop.caught_up()
    await shop.node.fork(98)
    await shop.until(invoice, status="new", payments=["dropped"])
    assert await shop.books() == {}


async def test_a17_a_flood_of_dust_is_booked_to_the_last_satoshi(shop: Shop) -> None:
    invoice = await shop.invoice()
    for _ in range(4):
        await shop.node.send_many([(address(invoice), 600)] * 500)
    await shop.node.mine()
    shown = await shop.until(invoice, amount_settled="600.00")
    assert len(shown["payments"]) == 2_000
    assert await shop.books() == {"wallet:bitcoin-regtest": 1_200_000, "sales": -100_000, "over": -1_100_000}


async def test_a19_money_for_an_invoice_that_is_over_is_booked_and_said(shop: Shop) -> None:
    expired, invalid = await shop.invoice(expires_in=1), await shop.invoice()
    await shop.until_event(expired, "invoice.expired")
    async with shop.house.database.transaction() as tx:
        now = shop.house.clock.now()
        await flow.mark_invoice(tx, shop.house, shop.store, invalid["id"], Decision.INVALID, Actor("key_test"), now)
    await shop.pay(expired)
    await shop.pay(invalid)
    await shop.node.mine()
    await shop.until(expired, status="expired", flags=["late"], amount_paid="50.00", payments=["settled"])
    await shop.until(invalid, status="invalid", flags=["marked"], amount_paid="50.00", payments=["settled"])
    assert await shop.books() == {"wallet:bitcoin-regtest": 200_000, "sales": -200_000}
    assert (await shop.events(expired))[-1] == "invoice.updated"


async def test_a20_one_transaction_pays_five_invoices_of_three_stores(shop: Shop) -> None:
    async with shop.house.database.transaction() as tx:
        stores = [shop.store, *[await add_store(tx, shop.house) for _ in range(2)]]
    owners = [stores[n % 3] for n in range(5)]
    invoices = [await shop.invoice(store=owner) for owner in owners]
    txid = await shop.node.send_many([(address(invoice), 100_000) for invoice in invoices])
    await shop.node.mine()
    for invoice, owner in zip(invoices, owners, strict=True):
        shown = await shop.until(invoice, owner, status="settled")
        assert [p["address"] for p in shown["payments"]] == [address(invoice)]
    assert await shop.books() == {"wallet:bitcoin-regtest": 500_000, "sales": -500_000}
    await shop.node.fork(1, drop={txid})
    for invoice, owner in zip(invoices, owners, strict=True):
        await shop.until(invoice, owner, status="processing", flags=["reversed"])
    assert await shop.books() == {}


async def test_a21_several_outputs_to_one_address_are_several_payments(shop: Shop) -> None:
    invoice = await shop.invoice()
    txid = await shop.node.send_many(
        [(address(invoice), 30_000), (address(invoice), 30_000), (address(invoice), 40_000)]
    )
    await shop.node.mine()
    shown = await shop.until(invoice, status="settled", amount_paid="50.00")
    assert [(p["position"], p["amount"]) for p in shown["payments"]] == [
        ("out:0", "0.00030000"), ("out:1", "0.00030000"), ("out:2", "0.00040000"),
    ]  # fmt: skip
    await shop.node.fork(1, drop={txid})
    await shop.until(invoice, status="processing", amount_settled="0.00", payments=["detected"] * 3)
    assert await shop.books() == {}


async def test_a23_an_address_belongs_to_its_invoice_for_ever(shop: Shop) -> None:
    old = await shop.invoice(expires_in=1)
    await shop.until(old, status="expired")
    with pytest.raises(UniqueViolationError, match="addresses_script"):
        await shop.house.database.pool.execute(
            """insert into addresses (id, network, script, address, watch_key, keychain_id, index, store_id, created_at)
               select 'adr_again', network, script, address, watch_key, keychain_id, index + 1, store_id, now()
               from addresses where invoice_id = $1""",
            old["id"],
        )
    fresh = await shop.invoice()
    await shop.pay(old)
    await shop.node.mine()
    await shop.until(old, flags=["late"], payments=["settled"])
    assert (await shop.shown(fresh))["payments"] == []


async def test_partial_payments_add_up_and_the_rest_is_shown(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice, 40_000)
    shown = await shop.until(invoice, status="new", amount_paid="20.00", amount_due="30.00")
    assert shown["payment_options"][0]["amount_due"] == "0.00060000"
    await shop.pay(invoice, 60_000)
    await shop.until(invoice, status="processing", amount_due="0.00")
    await shop.node.mine()
    await shop.until(invoice, status="settled")


async def test_an_overpayment_shows_its_surplus(shop: Shop) -> None:
    invoice = await shop.invoice()
    await shop.pay(invoice, 300_000)
    await shop.node.mine()
    await shop.until(invoice, status="settled", flags=["overpaid"], amount_over="100.00", amount_due="0.00")


async def test_d23_parallel_orders_never_share_an_address(shop: Shop) -> None:
    invoices = await asyncio.gather(*[shop.invoice() for _ in range(200)])
    assert len({address(invoice) for invoice in invoices}) == 200
