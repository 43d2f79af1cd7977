"""What holds for every endpoint: problems, limits, headers, tenants."""

import asyncio
import json
import socket
from time import process_time
from typing import Any

import pytest

from kassa.stores import store as stores
from tests.api.served import ORDER, Caller, Served
from tests.house import TPUB, add_store

LIMIT = 65_536


async def raw(port: int, data: bytes, *, limit: int = 65_536) -> bytes:
    """Send bytes as they are and return what comes back until the server closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(limit), 20)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v2/invoices", 404, "not_found"),
        ("GET", "/v1/invoices/x/y/z", 404, "not_found"),
        ("PUT", "/v1/invoices", 405, "method_not_allowed"),
        ("DELETE", "/v1/invoices/inv_1", 405, "method_not_allowed"),
        ("GET", "/v1/../../etc/passwd", 404, "not_found"),
        ("GET", "/v1/invoices/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/v1/invoices/%00", 404, "not_found"),
        ("GET", "/v1/invoices/%ff", 404, "not_found"),
    ],
)
async def test_the_framework_answers_with_problems_too(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\nconnection: close\r\n\r\n"
    answer = await raw(served.port, head.encode())
    header, _, body = answer.partition(b"\r\n\r\n")

    assert header.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in header
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert set(problem) == {"type", "title", "status", "code", "detail"}


async def test_every_answer_carries_the_guarding_headers(served: Served) -> None:
    nobody = served.caller(None)
    for answer in (
        await served.all.get("/v1/invoices"),
        await served.all.post("/v1/invoices", {}),
        await nobody.get("/v1/invoices"),
        await nobody.get("/nowhere"),
        await nobody.get("/health/live"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"amount":"1","currency":"EUR"}x', b"\xff\xfe", b'{"amount":"\xff"}',
     b'{"amount":"\\ud800"}', b'\xef\xbb\xbf{"amount":"1"}', b'{"amount":NaN}', b'{"metadata":' + b"[" * 30_000],
    ids=lambda body: repr(body)[:30],
)  # fmt: skip
async def test_what_is_no_json_is_told_so(served: Served, body: bytes) -> None:
    answer = await served.all.send("POST", "/v1/invoices", data=body, headers={"content-type": "application/json"})

    assert (answer.status, answer.code) == (400, "malformed_json")


async def test_number_bombs_are_refused_quickly(served: Served) -> None:
    for number in ("9" * 60_000, "1e" + "9" * 50_000, "0." + "1" * 60_000, "-" * 50_000):
        body = f'{{"amount":"1","currency":"EUR","expires_in":{number}}}'.encode()
        began = process_time()  # whatever else the machine does
        answer = await served.all.send("POST", "/v1/invoices", data=body, headers={"content-type": "application/json"})
        assert process_time() - began < 1
        assert answer.status in (400, 422)
        deep = f'{{"amount":"1","currency":"EUR","metadata":{{"a":{number[:5000]}}}}}'.encode()
        assert (await served.all.send("POST", "/v1/invoices", data=deep)).status in (400, 415, 422)


@pytest.mark.parametrize("depth", [33, 1000, 4000])
async def test_deep_metadata_is_refused(served: Served, depth: int) -> None:
    body = b'{"amount":"1","currency":"EUR","metadata":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    answer = await served.all.send("POST", "/v1/invoices", data=body, headers={"content-type": "application/json"})

    assert answer.status in (400, 422)


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount":"1","amount":"2","currency":"EUR"}',
        b'{"amount":"1","currency":"EUR","\\u0061mount":"2"}',
        b'{"amount":"1","currency":"EUR","metadata":{"amount":1,"amount":2}}',
    ],
)
async def test_c12_a_name_given_twice_means_two_things_and_is_refused(served: Served, body: bytes) -> None:
    answer = await served.all.send("POST", "/v1/invoices", data=body, headers={"content-type": "application/json"})

    assert (answer.status, answer.fields) == (422, ["amount"])


async def test_c12_a_repeated_name_that_cannot_be_written_back_is_refused_too(served: Served) -> None:
    answer = await served.all.send(
        "POST", "/v1/invoices", data=b'{"\\ud800":1,"\\ud800":2}', headers={"content-type": "application/json"}
    )

    assert (answer.status, answer.fields) == (422, ["\\ud800"])


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not(served: Served) -> None:
    at_limit = json.dumps(ORDER).encode().ljust(LIMIT)
    headers = {"content-type": "application/json"}

    read = await served.all.send("POST", "/v1/invoices", data=at_limit, headers=headers)
    refused = await served.all.send("POST", "/v1/invoices", data=at_limit + b" ", headers=headers)

    assert read.status == 201
    assert (refused.status, refused.code) == (413, "body_too_large")


async def test_a_query_at_the_limit_is_read_and_one_byte_more_is_not(served: Served) -> None:
    for more, field in ((0, "reference"), (1, "query")):
        query = "reference=".ljust(4_096 + more, "x")
        answer = await served.all.get(f"/v1/invoices?{query}")
        assert (answer.status, answer.fields) == (422, [field]), answer.body


async def test_e44_the_limit_holds_for_chunks_whose_length_nobody_said(served: Served) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 4096

    answer = await served.all.send("POST", "/v1/invoices", data=chunks(), headers={"content-type": "application/json"})

    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_e44_an_endless_body_is_cut_off(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"POST /v1/invoices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    )
    sent = 0
    async with asyncio.timeout(20):
        try:
            while sent < 64_000_000:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()
                sent += 0x10000
        except (ConnectionResetError, BrokenPipeError):
            pass
    writer.close()

    assert sent < 16_000_000


async def test_e44_an_endless_header_is_cut_off(served: Served) -> None:
    answer = await raw(served.port, b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 200_000)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_e44_endless_trailers_are_cut_off_and_kept_nowhere(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /v1/invoices HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    sent = 0
    try:
        while sent < 64_000_000:
            writer.write(b"x: " + b"y" * 30_000 + b"\r\n")
            await writer.drain()
            sent += 30_000
    except (ConnectionResetError, BrokenPipeError):
        pass
    writer.close()

    assert sent < 16_000_000


async def test_a_trailer_is_no_header(served: Served) -> None:
    head = "POST /v1/invoices HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = await raw(served.port, f"{head}0\r\nauthorization: Bearer {served.all.key}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 401 ")


async def answered_early(served: Served, body: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask without a key, and read the answer's head, before a body of so many bytes is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"POST /v1/invoices HTTP/1.1\r\nhost: x\r\ncontent-length: {body}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
    return reader, writer


async def test_e44_a_body_that_trickles_after_its_answer_holds_no_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.api.server.BODY_SECONDS", 0.5)
    _, writer = await answered_early(served, 1_000_000)

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await asyncio.wait_for(trickle(), 15)
    writer.close()


async def test_e44_a_body_that_ends_after_its_answer_leaves_no_connection_open(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.api.server.HEAD_SECONDS", 0.5)
    reader, writer = await answered_early(served, 2)
    writer.write(b"{}")
    await asyncio.wait_for(reader.read(), 60)  # to the end of the connection
    writer.close()


async def test_e44_a_body_that_trickles_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.incoming.BODY_SECONDS", 0.5)
    head = f"POST /v1/invoices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n"

    answer = await raw(served.port, f"{head}connection: close\r\ncontent-length: 100\r\n\r\n{{".encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body_too_slow" in answer


async def test_e44_who_takes_no_answer_holds_no_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kassa.api.server.SILENT_SECONDS", 0.5)
    asking = f"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.all.key}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.setblocking(False)

        async def ask() -> None:
            while True:
                await asyncio.get_running_loop().sock_sendall(connection, asking)
                await asyncio.sleep(0.001)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await asyncio.wait_for(ask(), 20)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"content-type": "Application/JSON; charset=utf-8"}, 201, None),
    ],
)
async def test_only_plain_json_is_read(served: Served, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = await served.all.send("POST", "/v1/invoices", data=json.dumps(ORDER).encode(), headers=headers)

    assert answer.status == status
    assert code is None or answer.code == code


async def _stranger(served: Served) -> Caller:
    async with served.house.database.transaction() as tx:
        store = await stores.create_store(tx, "Other", "EUR", False, served.house.clock.now())
    return await served.key(store=store)


async def test_e11_a_foreign_mark_neither_takes_nor_awaits_the_lock_of_an_invoice(served: Served) -> None:
    invoice = await served.all.invoice()
    async with served.house.database.transaction() as tx:
        store = await add_store(tx, served.house)
    other = await served.key(store=store)
    async with served.house.database.transaction() as tx:
        await tx.execute("select from invoices for update")
        answer = await asyncio.wait_for(other.post(f"/v1/invoices/{invoice['id']}/mark", {"as": "settled"}), 20)

    assert answer.status == 404


async def test_e11_lists_show_only_the_stores_own(served: Served) -> None:
    invoice = await served.all.invoice()
    stranger = await _stranger(served)

    for path in ("invoices", "payments", "wallets", "events", "webhooks", "customers", "ledger/entries"):
        assert (await stranger.get(f"/v1/{path}")).json == {"data": [], "next_cursor": None}
    assert (await stranger.get(f"/v1/invoices?cursor=inv_{'z' * 29}")).json["data"] == []
    assert (await stranger.get(f"/v1/invoices?reference={ORDER['reference']}")).json["data"] == []
    assert invoice["id"]


async def test_two_stores_with_the_same_wallet_get_different_addresses(served: Served) -> None:
    async with served.house.database.transaction() as tx:
        store = await add_store(tx, served.house)
    other = await served.key(store=store)

    mine, theirs = await served.all.invoice(), await other.invoice()

    assert mine["payment_options"][0]["address"] != theirs["payment_options"][0]["address"]
    listed = (await other.get(f"/v1/wallets/{(await other.get('/v1/wallets')).json['data'][0]['id']}/addresses")).json
    assert [address["invoice_id"] for address in listed["data"]] == [theirs["id"]]


async def test_a_live_store_sees_no_test_network(served: Served) -> None:
    async with served.house.database.transaction() as tx:
        live = await stores.create_store(tx, "Live", "EUR", True, served.house.clock.now())
    caller = await served.key(store=live)

    assert caller.key is not None
    assert caller.key.startswith("kassa_live_")
    assert (await caller.get("/v1/networks")).json["data"] == []
    assert (await caller.get("/v1/assets")).json["data"] == []
    refused = await caller.post("/v1/wallets", {"network": "bitcoin-regtest", "descriptor": TPUB})
    assert (refused.status, refused.fields) == (422, ["network"])
    assert (await caller.post("/v1/invoices", ORDER)).status == 422


async def test_networks_and_assets_say_how_they_stand(served: Served) -> None:
    served.house.clock.move(7)  # type: ignore[attr-defined]

    network = (await served.all.get("/v1/networks")).json["data"][0]
    asset = (await served.all.get("/v1/assets")).json["data"][0]
    rate = (await served.all.get("/v1/rates?base=BTC&quote=EUR")).json

    assert (network["id"], network["state"], network["height"], network["node_height"]) == (
        "bitcoin-regtest", "ok", 120, 123,
    )  # fmt: skip
    assert (network["lag_blocks"], network["lag_seconds"]) == (3, 7)
    assert (asset["id"], asset["decimals"], asset["accepted"]) == ("BTC@bitcoin-regtest", 8, True)
    assert (rate["rate"], rate["source"]) == ("50000.00", "fixed")
    assert (await served.all.get("/v1/rates?base=BTC&quote=USD")).status == 422


async def test_ready_needs_the_database_and_its_start_a_follower(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.api.health.KEPT_SECONDS", 0)
    nobody, pool = served.caller(None), served.house.database.pool

    async def asked() -> list[int]:
        return [(await nobody.get(f"/health/{what}")).status for what in ("ready", "networks")]

    await pool.execute("update networks set lease_until = now() - interval '1 second'")
    starting = await nobody.get("/health/ready")
    assert (starting.status, starting.json) == (503, {"status": "unavailable"})
    await pool.execute("update networks set lease_until = now() + interval '1 hour'")
    ready = await nobody.get("/health/ready")
    assert (ready.status, ready.json) == (200, {"status": "ok"})
    await pool.execute("update networks set state = 'halted'")
    assert await asked() == [200, 503]  # one network takes nobody's API away
    await pool.execute("update networks set state = 'ok'")
    assert await asked() == [200, 200]
    await pool.execute("update networks set lease_until = now() - interval '1 second'")
    assert await asked() == [200, 503]
    await pool.execute("delete from migrations")
    assert (await asked())[0] == 503
    assert (await nobody.get("/health/live")).status == 200
