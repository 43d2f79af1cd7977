"""Odd ways in which money arrives, on a real node: A15, A17, A19, A20, A21, A23."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import process_time

import pytest
from aiohttp import web
from asyncpg import UniqueViolationError

from kassa import flow
from kassa.audit.model import Actor
from kassa.chains.bitcoin.devnode import DevNode
from kassa.checkout.pages import handlers
from kassa.db.pool import Database
from kassa.invoices.model import Decision
from kassa.settings import Webhooks
from tests.api.served import serve
from tests.house import add_store
from tests.pace import within
from tests.shop import Json, Shop, address, open_shop
from tests.sizes import size
from tests.tools.sending import Shop as Sender
from tests.tools.sending import Skewed

GROWTH_KB = 40_000
"""What the second half of a flood may take more of than the first did: far less than what has come by then."""


MOST_TAKEN = 100_000
"""Bytes of a body that receivers take which were never told how much they should: some frameworks' default."""


def memory_kb() -> int:
    """Return what is resident of this process, in which Kassa runs."""
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    )


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


@pytest.mark.catalogue
async def test_a17_a_flood_of_dust_is_booked_to_the_last_satoshi(shop: Shop) -> None:
    told: list[Json] = []
    async with _modest_receiver(told) as url:
        settings = replace(shop.house.settings, webhooks=Webhooks(allow_private_addresses=True))
        sender = Sender(replace(shop.house, settings=settings), shop.store.id, Skewed())
        await sender.endpoint(url, "invoice.*")
        invoice, count = await shop.invoice(), size(4, 20)
        grown, began = [], process_time()
        for _ in range(count):
            await shop.node.send_many([(address(invoice), 600)] * 500)
            await shop.caught_up()
            grown.append(memory_kb())
        await shop.node.mine()
        units = count * 500 * 600
        shown = await shop.until(invoice, amount_settled=f"{units // 2000}.00")
        assert (len(shown["payments"]), shown["payments_left_off"]) == (50, count * 500 - 50)
        assert await shop.books() == {
            "wallet:bitcoin-regtest": units,
            "sales": -100_000,
            "over": 100_000 - units,
        }
        assert within(process_time() - began, 60)  # of Kassa and of this test, whatever else the machine does
        assert grown[-1] - grown[count // 2] < GROWTH_KB, f"memory grows with every output: {grown}"
        await _check_what_is_shown(shop, invoice, count * 500)
        await _check_what_is_told(sender, told)


async def _check_what_is_shown(shop: Shop, invoice: Json, count: int) -> None:
    """Pages and streams are as small as those of an invoice that nobody floods; the API lists every payment."""
    async with serve(shop.house, shop.store, handlers(shop.house)) as served:
        url = f"http://127.0.0.1:{served.port}/i/{invoice['id']}"
        async with served.session.get(url, headers={"accept-encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert int(answer.headers["content-length"]) < 30_000
            page = await answer.text()
        assert 'data-status="settled"' in page
        assert f"and {count - 10} more, together <bdi" in page
        async with served.session.get(f"{url}/stream") as stream:
            lines = [await stream.content.readline() for _ in range(4)]
        assert max(map(len, lines)) < 64_000
        listed, cursor = [], ""
        while cursor is not None:
            part = (await served.all.get(f"/v1/payments?invoice_id={invoice['id']}&limit=100{cursor}")).json
            listed += [payment["id"] for payment in part["data"]]
            cursor = part["next_cursor"] and f"&cursor={part['next_cursor']}"
    assert len(set(listed)) == len(listed) == count


async def _check_what_is_told(sender: Sender, told: list[Json]) -> None:
    """Events are small enough for a receiver of modest bodies, and arrive at the first try."""
    async with sender.sending():
        await sender.rested()
    states, tries = await sender.states(), await sender.attempts()
    assert states == {"delivered": len(told)}, [(each["status_code"], each["error"]) for each in tries][-3:]
    assert [each["data"]["object"]["status"] for each in told][-1] == "settled"


@asynccontextmanager
async def _modest_receiver(told: list[Json]) -> AsyncIterator[str]:
    """Take events at an address, unless they are larger than many a receiver takes; they are written down."""

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    app = web.Application(client_max_size=MOST_TAKEN)
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


@pytest.mark.catalogue
async def test_a27_a_block_full_of_outputs_to_us_is_credited_whole(shop: Shop) -> None:
    count = size(2, 10)
    invoices = [await shop.invoice(expires_in=86_400) for _ in range(50)]
    outputs = [(address(invoice), 10_000) for invoice in invoices] * 10
    await shop.stop()
    for _ in range(count):
        await shop.node.send_many(outputs)
    await shop.node.mine()
    shop.start()
    await shop.caught_up()
    assert await shop.books() == {
        "wallet:bitcoin-regtest": count * 5_000_000,
        "sales": -5_000_000,
        **({"over": 5_000_000 - count * 5_000_000} if count > 1 else {}),
    }
    for invoice in invoices:
        shown = await shop.shown(invoice)
        assert (shown["status"], len(shown["payments"])) == ("settled", count * 10)


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


async def test_a19_money_that_comes_a_second_a_day_or_a_year_late_is_booked_as_late(
    bitcoind: DevNode, database: Database, tmp_path: Path
) -> None:
    """The shop's clock and the node's are moved together, as if that time had passed; nothing else is as if."""
    clock = Skewed()
    async with open_shop(bitcoind, database, tmp_path, clock=clock) as shop:
        invoices = [await shop.invoice(expires_in=900) for _ in range(3)]
        end = max(datetime.fromisoformat(invoice["expires_at"]) for invoice in invoices)
        for number, late in enumerate((timedelta(seconds=1), timedelta(days=1), timedelta(days=400))):
            clock.ahead += end + late - clock.now()
            await bitcoind.set_mock_time(int(clock.now().timestamp()))
            await shop.until_event(invoices[number], "invoice.expired")
            await shop.pay(invoices[number])
            shown = await shop.until(invoices[number], status="expired", flags=["late"], payments=["detected"])
            seen = datetime.fromisoformat(shown["payments"][0]["first_seen_at"])
            assert late - timedelta(seconds=1) <= seen - end < late + timedelta(minutes=5)  # a node says whole seconds
            await bitcoind.mine()
            await shop.until(invoices[number], amount_settled="50.00", payments=["settled"])
        assert await shop.books() == {"wallet:bitcoin-regtest": 300_000, "sales": -300_000}
        for invoice in invoices:
            assert await shop.events(invoice) == [
                "invoice.created", "invoice.expired", "payment.detected", "invoice.updated", "payment.settled",
                "invoice.updated",
            ]  # fmt: skip


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
