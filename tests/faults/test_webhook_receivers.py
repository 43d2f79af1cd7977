"""Receivers that are slow, hostile or in the wrong place."""

import asyncio
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from kassa.core.ids import InvoiceId
from kassa.db.pool import Database
from kassa.events.model import NewEvent
from kassa.webhooks import poster
from kassa.webhooks.poster import Poster
from tests.tools import sink as said
from tests.tools.sending import SECRET, Shop, open_shop
from tests.tools.sink import Answering, Sink, redirect, status


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> Shop:
    return await open_shop(database, tmp_path)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as opened:
        yield opened


@pytest.mark.timeout(400)
async def test_d15_one_hanging_endpoint_of_a_hundred_delays_no_other(shop: Shop, sink: Sink) -> None:
    sink.answers["/0"] = said.hang
    for n in range(100):
        await shop.endpoint(f"{sink.url}/{n}")
    committed: dict[int, float] = {}

    async def write() -> None:
        # 100 events for 100 endpoints: 10,000 deliveries, at a rate that this machine can post.
        for n in range(100):
            await shop.write(shop.event(n, n))
            committed[n] = time.monotonic()
            await asyncio.sleep(0.25)
            await sink.until(lambda n=n: len(sink.got) >= 99 * (n - 1), 60)  # type: ignore[misc]

    async with shop.sending():
        await write()
        await sink.until(lambda: sum(got.path != "/0" for got in list(sink.got)) >= 9900, 120)
    waits = sorted(got.at - committed[got.event["data"]["object"]["n"]] for got in sink.got if got.path != "/0")
    assert len(waits) == 9900
    assert waits[len(waits) * 95 // 100] < poster.TOTAL_SECONDS  # as long as the mute one has for each post
    assert sum(got.path == "/0" for got in sink.got) < 20  # a mute receiver gets one post at a time


HOSTILE: dict[str, tuple[Answering, str]] = {
    "redirect": (redirect(302, "/elsewhere"), "due"),
    "reset": (said.reset, "due"),
    "junk": (said.junk, "due"),
    "header_flood": (said.header_flood, "due"),
    "long_header": (said.long_header, "due"),
    "slow_drip": (said.slow_drip, "due"),
    "hang": (said.hang, "due"),
    "continue_flood": (said.continue_flood, "due"),
    "interim_flood": (said.interim_flood, "due"),
    "endless_body": (said.endless_body, "delivered"),
    "endless_chunks": (said.endless_chunks, "delivered"),
    "slow_body": (said.slow_body, "delivered"),
    "gzip_bomb": (said.gzip_bomb(), "delivered"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
async def test_d17_a_hostile_receiver_costs_little_and_not_for_long(shop: Shop, sink: Sink, name: str) -> None:
    answer, state = HOSTILE[name]
    sink.answers["/hostile"] = answer
    for n in range(10):
        await shop.endpoint(f"{sink.url}/hostile?{n}")
        sink.answers[f"/hostile?{n}"] = answer
    await shop.endpoint(f"{sink.url}/good")
    async with shop.sending():
        await shop.write(shop.event(0))
        await sink.until(lambda: any(got.path == "/good" for got in list(sink.got)), poster.TOTAL_SECONDS - 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        await shop.attempted(11)
        spent = time.monotonic() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    attempts = [a for a in await shop.attempts() if a["number"] == 1]
    expected = {"delivered": 11} if state == "delivered" else {"delivered": 1, "due": 10}
    assert await shop.states() == expected
    assert spent < 3 * poster.TOTAL_SECONDS  # one after the other they would take ten times as long
    assert grown < 20 * 1024  # KiB; the receiver's own buffers are in it
    assert all(len((a["response"] or "").encode()) <= 1024 for a in attempts)
    assert all(a["error"] or a["status_code"] == 200 for a in attempts)


async def test_d17_tls_that_is_none_is_an_error(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url.replace("http://", "https://"))
    async with shop.sending():
        await shop.write(shop.event(0))
        await shop.attempted(1)
    [attempt] = await shop.attempts()
    assert attempt["status_code"] is None
    assert attempt["error"] is not None


async def test_a_certificate_that_nobody_vouches_for_is_refused(shop: Shop, tmp_path: Path) -> None:
    async with Sink(tls=_self_signed(tmp_path)) as sink:
        await shop.endpoint(sink.url)
        async with shop.sending():
            await shop.write(shop.event(0))
            await shop.attempted(1)
        assert sink.got == []
    [attempt] = await shop.attempts()
    assert attempt["error"].startswith("TLS failed")


class Resolver:
    """Answers each look-up with the next of its answers, the last one for ever; counts them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[Any]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in found
        ]


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that anything in this process connects to; no connection is made."""
    seen: list[Any] = []

    async def sock_connect(_self: object, _socket: socket.socket, address: Any) -> None:
        seen.append(address)
        raise ConnectionRefusedError(111, "no connection leaves a test")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    return seen


MIXED = [
    ["127.0.0.1"],
    ["93.184.216.34", "127.0.0.1"],
    ["127.0.0.1", "93.184.216.34"],
    ["2606:4700::1", "10.0.0.1"],
    ["93.184.216.34", "::1"],
    ["93.184.216.34", "::ffff:169.254.169.254"],
    ["93.184.216.34", "fd00::1"],
    ["64:ff9b::a00:1"],
    ["2002:7f00:1::1"],
    ["100.64.0.1"],
    ["0.0.0.0"],
]


@pytest.mark.parametrize("addresses", MIXED)
async def test_e3_one_private_address_spoils_a_name(connects: list[Any], addresses: list[str]) -> None:
    client = Poster(private=False, lookup=Resolver(addresses))
    reply = await client.post("https://shop.example/hook", {}, b"{}")
    await client.close()
    assert connects == []
    assert "not on the public internet" in str(reply.error)


async def test_e3_a_name_that_turns_private_is_never_connected_to(connects: list[Any]) -> None:
    answers: list[list[str]] = [["93.184.216.34"], ["127.0.0.1"], ["10.1.2.3", "93.184.216.34"], ["::1"]]
    resolver = Resolver(*answers * 250)
    client = Poster(private=False, lookup=resolver)
    for n in range(1000):
        await client.post(f"https://a{n}.shop.example/hook", {}, b"{}")  # a name of its own each: no cache helps
    await client.close()
    assert resolver.asked >= 1000
    assert {address[0] for address in connects} == {"93.184.216.34"}


async def test_e3_the_address_that_was_checked_is_the_one_connected_to(connects: list[Any]) -> None:
    client = Poster(private=False, lookup=Resolver(["93.184.216.34"], ["127.0.0.1"]))
    await client.post("https://shop.example/hook", {}, b"{}")
    await client.post("https://shop.example/hook", {}, b"{}")
    await client.close()
    assert {address[0] for address in connects} == {"93.184.216.34"}


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/", "http://127.0.0.1/"]
)
async def test_e3_an_address_in_the_url_is_checked_at_the_connection_too(
    connects: list[Any], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(poster, "check_url", lambda url, private: url)  # as if it had slipped through
    client = Poster(private=False)
    reply = await client.post(url, {}, b"{}")
    await client.close()
    assert connects == []
    assert "not on the public internet" in str(reply.error)


async def test_e3_a_mute_name_server_delays_nobody_else(sink: Sink) -> None:
    over = threading.Event()

    def lookup(host: str, port: int) -> list[Any]:
        if host == "mute.example":
            over.wait(poster.TOTAL_SECONDS)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    client = Poster(private=True, lookup=lookup)
    mute = [asyncio.create_task(client.post("http://mute.example:1/", {}, b"")) for _ in range(50)]
    await asyncio.sleep(0)
    reply = await client.post(sink.url.replace("127.0.0.1", "good.example"), {}, b"")
    assert reply.status_code == 200
    assert not any(task.done() for task in mute)  # nobody was waited for
    over.set()
    for task in mute:
        task.cancel()
    await asyncio.gather(*mute, return_exceptions=True)
    await client.close()


async def test_e3_the_name_is_kept_in_the_host_header(sink: Sink) -> None:
    client = Poster(private=True, lookup=Resolver(["127.0.0.1"]))
    await client.post(f"http://shop.example:{sink.port}/hook", {}, b"{}")
    await client.close()
    assert sink.got[0].headers["host"] == f"shop.example:{sink.port}"


async def test_a_store_of_the_public_internet_sends_nothing_to_a_local_address(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    shop = await open_shop(database, tmp_path, private=False)
    await shop.endpoint(sink.url)  # from a time when that was allowed
    async with shop.sending():
        await shop.write(shop.event(0))
        await shop.attempted(1)
    assert sink.connections == 0
    [attempt] = await shop.attempts()
    assert "not sent" in attempt["error"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_e4_a_redirect_is_not_followed(shop: Shop, sink: Sink, code: int) -> None:
    async with Sink() as other:
        sink.answers["/hook"] = redirect(code, other.url + "/stolen")
        sink.answers["/inside"] = redirect(code, "http://169.254.169.254/latest/meta-data/")
        await shop.endpoint(sink.url + "/hook")
        await shop.endpoint(sink.url + "/inside")
        async with shop.sending():
            await shop.write(shop.event(0))
            await shop.attempted(2)
        assert other.connections == 0
    assert await shop.states() == {"due": 2}
    assert all("redirects are not followed" in a["error"] for a in await shop.attempts())


async def test_e6_a_forged_or_altered_event_does_not_verify(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.until_states(delivered=1)
    [got] = sink.got
    Webhook(SECRET).verify(got.body, got.headers)
    forgeries: list[tuple[bytes, dict[str, str]]] = [
        (got.body.replace(b'"n":1', b'"n":2'), got.headers),
        (got.body, got.headers | {"webhook-id": "evt_other"}),
        (got.body, got.headers | {"webhook-signature": "v1," + "A" * 43 + "="}),
        (got.body, {k: v for k, v in got.headers.items() if k != "webhook-signature"}),
    ]
    for body, headers in forgeries:
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, headers)


async def test_e7_the_moment_of_sending_is_signed_and_new_at_each_attempt(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = status(500)
    async with shop.sending():
        await shop.write(shop.event(1))
        await shop.attempted(1)
        sink.default = status(200)
        shop.clock.ahead = timedelta(minutes=10)
        await shop.until_states(delivered=1)
    first, second = (got.headers for got in sink.got)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) >= 599
    assert first["webhook-signature"] != second["webhook-signature"]
    with pytest.raises(WebhookVerificationError):  # the old signature under a new moment
        Webhook(SECRET).verify(
            sink.got[0].body, first | {"webhook-timestamp": str(int(first["webhook-timestamp"]) + 1)}
        )
    with pytest.raises(WebhookVerificationError, match="new"):  # and a moment far off is refused
        Webhook(SECRET).verify(sink.got[1].body, second)


async def test_e8_nothing_that_opens_anything_is_sent(shop: Shop, sink: Sink) -> None:
    secret = await shop.database.pool.fetchval("select webhook_secret from stores")
    await shop.endpoint(sink.url)
    async with shop.sending():
        body = {"object": "invoice", "id": "inv_1"}
        await shop.write(NewEvent(shop.store_id, "invoice.created", body, InvoiceId("inv_1"), sink.url + "/own"))
        await shop.until_states(delivered=2)
    allowed = {
        *("host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
    for got in sink.got:
        assert set(got.headers) <= allowed
        text = repr(got.headers).encode() + got.body
        for private in (secret, SECRET, secret.removeprefix("whsec_"), SECRET.removeprefix("whsec_"), "kassa_test_"):
            assert private.encode() not in text


async def test_e8_cookies_are_not_kept(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = status(200, headers=["set-cookie: session=1; Path=/"])
    async with shop.sending():
        await shop.events(3)
        await shop.until_states(delivered=3)
    assert all("cookie" not in got.headers for got in sink.got)


async def test_proxies_of_the_environment_are_not_used(shop: Shop, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sink() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await shop.endpoint(sink.url)
        async with shop.sending():
            await shop.write(shop.event(0))
            await shop.until_states(delivered=1)
        assert proxy.connections == 0


def _self_signed(folder: Path) -> ssl.SSLContext:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ),
            *("-subj", "/CN=127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
