"""The main job, from outside: an invoice by HTTP, coins on a real node, signed webhooks out."""

import asyncio
import re
import signal
from decimal import Decimal
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from kassa.chains.bitcoin.devnode import DevNode
from kassa.core.errors import SandboxError
from tests.e2e.program import Json, installed
from tests.tools.sink import Sink


def pay_address(invoice: Json) -> str:
    return str(invoice["payment_options"][0]["address"])


async def test_from_api_call_to_settled_with_signed_events(bitcoind: DevNode, tmp_path: Path) -> None:
    """On the embedded database, everything in one process, as a newcomer runs it."""
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, "embedded") as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        status, endpoint = await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
        assert status == 201
        invoice = await kassa.invoice(reference="order-1")
        txid = await bitcoind.fund(pay_address(invoice), 100_000)
        await kassa.until_invoice(invoice, status="processing", payments=["detected"])
        await bitcoind.mine()
        await kassa.until_invoice(invoice, status="settled", is_final=True, amount_settled="50.00")
        expected = [
            "invoice.created", "payment.detected", "invoice.processing", "payment.settled", "invoice.settled",
        ]  # fmt: skip
        await sink.until(lambda: len(sink.got) >= len(expected))
        history = await kassa.events()
        assert [event["type"] for event in history] == expected
        assert [event["sequence"] for event in history] == [1, 2, 3, 4, 5]
        signed = Webhook(endpoint["secret"])
        received = {got.headers["webhook-id"]: signed.verify(got.body, got.headers) for got in sink.got}
        assert received == {event["id"]: event for event in history}
        assert received[history[-1]["id"]]["data"]["object"]["payments"][0]["txid"] == txid
        assert await kassa.stop() == [0]


async def test_a_rest_that_no_node_relays_is_asked_for_as_the_least_that_it_does(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        invoice = await kassa.invoice()
        await bitcoind.fund(pay_address(invoice), 99_900)
        short = await kassa.until_invoice(invoice, status="new", payments=["detected"], amount_paid="49.95")
        (option,) = short["payment_options"]
        assert (option["amount_due"], option["amount_to_send"]) == ("0.00000100", "0.00000546")
        with pytest.raises(SandboxError, match=r"dust|too small"):
            await bitcoind.fund(pay_address(invoice), 100)  # what is missing

        page = await kassa.browser().get(f"/i/{invoice['id']}")
        text = await page.text()
        shown = re.search(r'data-copy="([0-9.]+)" id="copy-amount"', text)
        link = re.search(r'id="go" href="bitcoin:([^?]+)\?amount=([0-9.]+)', text)
        assert "Only 0.000001 BTC is missing" in text
        assert shown
        assert link
        assert (link[1], link[2]) == (pay_address(invoice), shown[1])
        await bitcoind.fund(link[1], round(Decimal(shown[1]).scaleb(8)))
        await bitcoind.mine()
        settled = await kassa.until_invoice(invoice, status="settled", flags=["overpaid"], amount_over="0.22")
        assert settled["payment_options"][0]["amount_to_send"] == "0.00000000"


async def test_a_reorganisation_is_told_and_healed(bitcoind: DevNode, database_url: str, tmp_path: Path) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        invoice = await kassa.invoice()
        txid = await bitcoind.fund(pay_address(invoice), 100_000)
        await bitcoind.mine()
        await kassa.until_invoice(invoice, status="settled")
        await bitcoind.fork(1, drop={txid})
        await kassa.until_invoice(invoice, status="processing", flags=["reversed"], payments=["detected"])
        await bitcoind.mine()
        await kassa.until_invoice(invoice, status="settled", flags=[], payments=["settled"])
        types = [event["type"] for event in await kassa.events()]
        assert types[-4:] == ["payment.detected", "invoice.reopened", "payment.settled", "invoice.settled"]


async def test_the_roles_run_apart_and_survive_each_others_end(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    """Every role killed in turn: what was missed meanwhile is caught up, once."""
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        assert (await kassa.run("migrate"))[0] == 0
        await kassa.start("api", "watch", "work")
        await kassa.ready()
        await kassa.open_store()
        await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["invoice.*"]})
        first, second = await kassa.invoice(), await kassa.invoice()
        await kassa.stop("watch", signalled=signal.SIGKILL)
        await bitcoind.fund(pay_address(first), 100_000)
        await bitcoind.mine(3)
        await kassa.start("watch")
        await kassa.until_invoice(first, status="settled")
        await kassa.stop("work", signalled=signal.SIGKILL)
        await bitcoind.fund(pay_address(second), 100_000)
        await bitcoind.mine()
        await kassa.until_invoice(second, status="settled")
        await kassa.start("work")
        # What the killed sender had just claimed is free again after half a minute.
        await sink.until(lambda: [e["type"] for e in sink.bodies()].count("invoice.settled") >= 2, seconds=60)
        told = {got.headers["webhook-id"]: got.event for got in sink.got}
        said = [event for event in await kassa.events() if event["type"].startswith("invoice.")]
        await sink.until(lambda: {got.headers["webhook-id"] for got in sink.got} == {event["id"] for event in said})
        assert [told[event["id"]]["sequence"] for event in said if event["id"] in told]
        assert await kassa.stop() == [0, 0, 0]


async def test_a_restart_under_load_loses_and_doubles_nothing(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start("up")
        await kassa.ready()
        await kassa.open_store()
        invoices = [await kassa.invoice() for _ in range(20)]
        paying = asyncio.create_task(bitcoind.fund_each([(pay_address(i), 100_000) for i in invoices]))
        await kassa.stop(signalled=signal.SIGKILL)
        await paying
        await kassa.start("up")
        await kassa.ready()
        await bitcoind.mine()
        for invoice in invoices:
            await kassa.until_invoice(invoice, status="settled", amount_paid="50.00")
        history = await kassa.events()
        assert [event["sequence"] for event in history] == list(range(1, len(history) + 1))
        settled = [event["data"]["object"]["id"] for event in history if event["type"] == "invoice.settled"]
        assert sorted(settled) == sorted(invoice["id"] for invoice in invoices)
