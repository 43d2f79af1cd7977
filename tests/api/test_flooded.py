"""An invoice that somebody sent many tiny payments: when looking at it shows what."""

import asyncio
import json
from typing import Any

import pytest

from kassa import flow
from kassa.checkout.views import Views
from kassa.core.facts import Block, BlockRef, Transaction, Transfer, TransferKey
from kassa.core.ids import InvoiceId
from kassa.watch import store as watch
from kassa.watch.model import ChainUpdate
from tests.api.served import Served
from tests.house import BITCOIN

MANY = 100
"""Tiny payments: a view of them is kept for ten seconds here, however slow the machine is."""


@pytest.fixture(autouse=True)
def kept_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.checkout.views.KEPT_MS_EACH", 100.0)


async def pay(served: Served, invoice: dict[str, Any], name: str, *amounts: int) -> None:
    """Bring amounts to an invoice's address in one transaction of a new block."""
    house, now = served.house, served.house.clock.now()
    to = house.chains[BITCOIN].addresses.parse(invoice["payment_options"][0]["address"])
    transfers = tuple(
        Transfer(TransferKey(BITCOIN, name, f"out:{place}"), to, "BTC@bitcoin-regtest", units)
        for place, units in enumerate(amounts)
    )
    async with house.database.transaction() as tx:
        position = (await watch.positions(tx))[BITCOIN]
    assert position.tip is not None
    block = Block(BlockRef(position.tip.height + 1, name), position.tip.hash, now, (Transaction(name, transfers, ()),))
    update = ChainUpdate((), (block,))
    await house.database.run(lambda tx: flow.on_chain_update(tx, house, position, update, 60, now))


async def flooded(served: Served, *more: int) -> dict[str, Any]:
    invoice: dict[str, Any] = await served.all.invoice(amount="50.00")
    await pay(served, invoice, "flood", *[1] * MANY, *more)
    return invoice


async def test_only_an_invoice_that_is_flooded_is_shown_as_it_was_a_moment_ago(served: Served) -> None:
    plain, other = await served.all.invoice(amount="50.00"), await flooded(served)
    views, ids = Views(served.house), [InvoiceId(plain["id"]), InvoiceId(other["id"])]
    assert (await views.read(ids))[1] == set()
    await pay(served, plain, "paid", 100_000)
    await pay(served, other, "paid-too", 100_000)

    found, kept = await views.read(ids)
    assert kept == {other["id"]}
    assert [found[id_].public["status"] for id_ in ids] == ["settled", "new"]

    async with asyncio.timeout(60):
        while kept:
            await asyncio.sleep(0.1)
            found, kept = await views.read(ids)
    public = found[ids[1]].public
    assert (public["status"], len(public["payments"]), public["payments_left_off"]) == ("settled", 50, MANY - 49)
    assert max(payment["value"] for payment in public["payments"]) == "50.00"


async def test_what_a_stream_missed_because_a_view_was_kept_is_told_later(served: Served) -> None:
    invoice = await flooded(served, 100_000)
    seen: list[str] = []
    async with asyncio.timeout(60), served.session.get(f"{served.all.base}/i/{invoice['id']}/stream") as stream:
        async for line in stream.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:])["status"])
                if len(seen) == 2:
                    break
                # It is final: nothing but its events says that it must be looked at again.
                await served.all.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "invalid"})
    assert seen == ["settled", "invalid"]


async def test_what_came_late_is_said_to_be_credited_where_it_is(served: Served) -> None:
    store = (await served.all.get("/v1/store")).json
    change = {"version": store["version"], "policy": store["policy"] | {"short": "credit"}}
    assert (await served.all.send("PATCH", "/v1/store", change)).status == 200
    customer = (await served.all.post("/v1/customers", {"reference": "anna"})).json["id"]
    invoice = await served.all.invoice(amount="50.00", customer_id=customer, expires_in=900)
    served.house.clock.move(901)  # type: ignore[attr-defined]  # a test's
    await pay(served, invoice, "late", 100_000)
    seen = "update networks set observed_at = $1, contacted_at = $1, node_height = height"
    await served.house.database.pool.execute(seen, served.house.clock.now())
    page = (await served.all.get(f"/i/{invoice['id']}")).body
    assert b"Your payment came too late" in page
    assert b"It is kept as credit in your account with the shop." in page
