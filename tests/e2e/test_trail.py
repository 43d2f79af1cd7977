"""What the program writes about its work: a trail from the order to its webhook, and no secret on it (E27)."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from kassa.chains.bitcoin.devnode import DevNode
from tests.dashboard.visitor import PASSWORD, Forms, Visitor
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


async def sign_in(kassa: Program) -> set[str]:
    """Accept an invitation, mistype and sign in again; return every secret of that."""
    _, told = await kassa.run("user", "invite", "--store", kassa.store, "--email", "owner@shop.example", "--json")
    link = urlsplit(json.loads(told.splitlines()[-1])["link"]).path
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        visitor = Visitor(session, kassa.url)
        await visitor.open(link)
        await visitor.submit(link, name="The owner", password=PASSWORD)
        visitor.secret = Forms(visitor.seen.text).found[0][1]["secret"][0]
        await visitor.submit("/enrol", code=visitor.code(datetime.now(UTC)))
        recovery = set(re.findall(r"<code>([0-9a-z-]{19})</code>", visitor.seen.text))
        assert recovery, visitor.seen.words
        secrets = {PASSWORD, visitor.secret, link.rpartition("/")[2], *recovery, *visitor.cookies.values()}
        await visitor.open("/dashboard/sign-in?next=" + visitor.cookies["kassa"])
        await visitor.open(link)  # once more, which is too late
        jar.clear()
        await visitor.open("/dashboard/sign-in")
        await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD + "!")
        await visitor.submit("/sign-in", email="owner@shop.example", password=PASSWORD)
        await visitor.submit("/code", code=min(recovery)[:-1])
        await visitor.submit("/code", code=min(recovery))
        assert visitor.seen.status == 200, visitor.seen.words
        return secrets | set(visitor.cookies.values())


async def kept(database_url: str) -> str:
    """Return what the database says to people: acts, alerts, events, what receivers answered."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = ("acts", "alerts", "events", "deliveries", "delivery_attempts")
        return "\n".join([row[0] for each in tables for row in await connection.fetch(f"select t::text from {each} t")])
    finally:
        await connection.close()


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
        secrets |= await sign_in(kassa)
        secrets.add((kassa.folder / "data" / "address-key").read_text().strip())
        _, shown = await kassa.run("webhook", "secret", "--store", kassa.store, "--rotate", "--json")
        secrets.add(json.loads(shown.splitlines()[-1])["secret"])
        printed = await mistakes(kassa, secrets)
        connection = await asyncpg.connect(database_url)
        stored = dict(await connection.fetch("select type, correlation from events"))
        await connection.close()
        metrics, told = await kassa.metrics(), await kept(database_url)
        await kassa.stop()

        written = {role: kassa.log(role) for role in ROLES}
        assert re.fullmatch(r"[0-9a-f]{32}", request)
        assert stored["invoice.created"] == request
        assert len({stored["invoice.created"], stored["invoice.settled"]} - {""}) == 2
        assert lines(written["api"], request) == ["answered"]
        assert lines(written["work"], request) == ["webhook"]
        everything = {**written, "commands": printed, "metrics": metrics, "database": told}
        assert all(len(text) > 200 for text in everything.values())
        assert "owner@shop.example" in told  # it is read where people's doings stand
        leaks = [(place, secret[:12]) for place, text in everything.items() for secret in secrets if secret in text]
        assert leaks == []
        assert {len(each) > 5 for each in secrets} == {True}
        assert len(secrets) > 15
