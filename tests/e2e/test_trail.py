"""What the program writes about its work: a trail from the order to its webhook, and no secret on it (E27)."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Json, Program, installed
from tests.house import BITCOIN
from tests.tools.sink import Sink

TPRV = "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8"
ROLES = ("api", "watch", "work")
LOUD = {"KASSA_LOG__LEVEL": "debug", "KASSA_LOG__FORM": "json"}


async def order(kassa: Program) -> tuple[str, Json]:
    """Make an invoice; return the id of the request beside it."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {kassa.key}"}) as session:
        body = {"amount": "50.00", "currency": "EUR"}
        async with session.post(f"{kassa.url}/v1/invoices", json=body) as answer:
            return answer.headers["x-request-id"], await answer.json()


def lines(log: str, correlation: str) -> list[str]:
    """Return what the lines of one correlation tell of, in order."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line["event"] for line in found if line.get("correlation") == correlation]


async def mistakes(kassa: Program, secrets: set[str]) -> str:
    """Make the mistakes by which secrets come into messages; return what commands printed."""
    await kassa.call("GET", "/v1/invoices?secret=" + kassa.key)
    await kassa.call("POST", "/v1/invoices", {"amount": "1", kassa.key: "x"})
    await kassa.call("POST", "/v1/webhooks", {"url": f"http://u:{kassa.key}@127.0.0.1:1/x", "events": ["*"]})
    await kassa.call("POST", "/v1/wallets", {"network": BITCOIN, "descriptor": f"wpkh({TPRV}/0/*)"})
    await kassa.call("GET", "/v1/store", Authorization=f"Bearer {kassa.key[:-1]}")
    broken = {"KASSA_DATABASE_URL": "postgresql://kassa:hunter2@127.0.0.1:1/kassa"}
    secrets |= {"hunter2", kassa.key[:-1], TPRV}
    told = [
        await kassa.run("doctor"),
        await kassa.run("doctor", environment=broken),
        await kassa.run("up", environment=broken),
    ]
    return "".join(text for _, text in told)


async def test_an_order_leaves_a_trail_through_every_process_and_no_secret(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with Sink() as sink, installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.start(*ROLES, environment=LOUD)
        await kassa.ready()
        await kassa.open_store()
        _, hook = await kassa.call("POST", "/v1/webhooks", {"url": f"{sink.url}/hook", "events": ["*"]})
        request, invoice = await order(kassa)
        await bitcoind.fund(invoice["payment_options"][0]["address"], 100_000)
        await bitcoind.mine()
        await kassa.until_invoice(invoice, status="settled")
        await sink.until(lambda: len(sink.got) >= 3)
        secrets = {kassa.key, hook["secret"], urlsplit(bitcoind.rpc_url).password or "no password"}
        printed = await mistakes(kassa, secrets)
        connection = await asyncpg.connect(database_url)
        stored = dict(await connection.fetch("select type, correlation from events"))
        await connection.close()
        metrics = await kassa.metrics()
        await kassa.stop()

        written = {role: kassa.log(role) for role in ROLES}
        assert re.fullmatch(r"[0-9a-f]{32}", request)
        assert stored["invoice.created"] == request
        assert len({stored["invoice.created"], stored["invoice.settled"]} - {""}) == 2
        assert lines(written["api"], request) == ["answered"]
        assert lines(written["work"], request) == ["webhook"]
        everything = {**written, "commands": printed, "metrics": metrics}
        assert all(len(text) > 200 for text in everything.values())
        leaks = [(place, secret[:12]) for place, text in everything.items() for secret in secrets if secret in text]
        assert leaks == []
