"""E44: whatever stands in a header, of whomever and on whatever path, nothing fails by it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from kassa.api.app import create_app
from kassa.api.routes import ENDPOINTS
from kassa.checkout.pages import handlers as checkout_handlers
from kassa.dashboard import app as dashboard
from kassa.db.pool import Database
from kassa.people import session_store as sessions
from kassa.people import store as people
from kassa.people.model import Role, Stage
from kassa.people.rules import csrf_token
from kassa.people.seal_store import Sealed, put_seal
from kassa.settings import Http
from kassa.stores import store as stores
from tests.api.conftest import follow
from tests.api.served import listening
from tests.house import add_store, build_house

_PART = re.compile(r"\{(\w+):str\}")
NEEDED = ("host", "origin", "cookie", "content-type", "authorization", "sec-fetch-site")
"""What decides whether a request is let in: broken one at a time, or one would hide the others."""
OTHERS = (
    "referer", "accept", "accept-language", "accept-encoding", "range", "if-none-match", "if-modified-since",
    "last-event-id", "idempotency-key", "x-forwarded-for", "forwarded", "x-forwarded-proto", "user-agent",
    "kassa-again",
)  # fmt: skip
FRAMING = ("content-length", "content-encoding", "transfer-encoding", "expect", "upgrade", "connection")
VALUES = (
    b"", b"http://[", b"http://[::1", b"[", b"//]:", b"http://a:b", b"http://a:99999999", b"\xff\xfe", b"\xed\xa0\x80",
    "é".encode(), b"%", b"%zz%00", b'"', b"\\", b";", b",", b"=", b"a;q=x", b"en-\xff;q=1.1.1", b"gzip;q=nan, *;q=",
    b"bytes=9-1", b"W/", b"Bearer", b"Bearer \xff", b"bearer kassa_test_", b"null", b"[::1%eth0]:99999",
    b"1.2.3.4:99999999", b'for="[', b"multipart/form-data; boundary=", b"kassa=; =; kassa", b'kassa="\\', b"-1",
    b"0x1f", b"9" * 5_000, b"," * 5_000, b"zh-" * 2_000, b"\x00", b"\x7f", b"\xc2\x85",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that would do something: the headers that it needs, and a body."""

    method: str
    path: str
    headers: dict[str, bytes]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Open:
    """Everything that Kassa serves, on one port."""

    port: int
    asked: tuple[Asked, ...]

    async def send(self, asked: Asked, wrong: dict[str, bytes]) -> int | None:
        """Return the status; None where the server gave up on what is no HTTP, or waits for the rest of it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        kept = {name: value for name, value in asked.headers.items() if name == "accept"}  # or no page would be drawn
        given = {"host": b"x", "content-length": str(len(asked.body)).encode()} | asked.headers | wrong | kept
        head = f"{asked.method} {asked.path} HTTP/1.1\r\n".encode()
        writer.write(head + b"".join(b"%s: %s\r\n" % (name.encode(), given[name]) for name in given) + b"\r\n")
        writer.write(asked.body)
        try:
            line = await asyncio.wait_for(reader.readline(), 0.5 if wrong.keys() & {*FRAMING} else 10)
        except (TimeoutError, ConnectionResetError):
            assert wrong.keys() & {*FRAMING}, (asked, wrong)
            return None
        finally:
            writer.close()
        return int(line.split()[1]) if line else None


@pytest.fixture
async def open_(database: Database, tmp_path: Path) -> AsyncIterator[Open]:
    house = await build_house(database, tmp_path, http=Http(trusted_proxies=(ip_network("127.0.0.1"),)))
    await follow(house)
    now, token = house.clock.now(), "t" * 43
    async with database.transaction() as tx:
        store = await add_store(tx, house)
        _, key = await stores.create_key(tx, store, now)
        owner = await people.create(tx, "owner@shop.example", "The owner", now)
        await people.put_member(tx, store.id, owner.id, Role.OWNER, now)
        begun = await sessions.begin(tx, token, Stage.OPEN, owner.id, ("127.0.0.1", "a browser"), now, proven=True)
        await put_seal(tx, house.seal, Sealed.SESSION, begun)
    form = {"content-type": b"application/x-www-form-urlencoded", "cookie": b"kassa=" + token.encode()}
    entered = urlencode({"csrf": csrf_token(token), "once": "1"}).encode()
    by_key = {"authorization": b"Bearer " + key.encode(), "content-type": b"application/json"}
    asked = [Asked("GET", "/health/ready", {}), Asked("GET", "/v1/openapi.json", by_key), Asked("GET", "/nothing", {})]
    asked.append(Asked("GET", "/nothing", {"accept": b"text/html"}))  # a browser is shown a page
    for one in ENDPOINTS:
        path = one.path.replace("{id}", f"{one.id_of}_{'1' * 29}")
        asked.append(Asked(one.method, path, by_key, b"{}" if one.writes else b""))
    pages = [*checkout_handlers(house), *dashboard.handlers(house)]
    ids = {"store": store.id, "link_id": f"lnk_{'1' * 29}", "token": "A" * 43, "name": "a.css", "page": "x"}
    for handler in pages:
        for path in sorted(handler.paths):
            full = _PART.sub(lambda part: ids.get(part[1], f"inv_{'1' * 29}"), path)
            asked += [
                Asked(str(method), full, form, entered if method == "POST" else b"")
                for method in sorted(handler.http_methods)
            ]
    assert not [one for one in asked if "{" in one.path]
    async with listening(create_app(house, pages, dashboard.unknown)) as port:
        yield Open(port, tuple(asked))
    await house.marks.close()


async def _try(open_: Open, tries: Iterable[tuple[Asked, dict[str, bytes]]], caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        for asked, wrong in tries:
            status = await open_.send(asked, wrong)
            assert status is None or status < 500, (asked, wrong, logs)
    assert not [line for line in logs if line["log_level"] == "error"]
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_e44_no_header_makes_any_path_fail(open_: Open, caplog: pytest.LogCaptureFixture) -> None:
    wrong = [dict.fromkeys(OTHERS, value) for value in (b"[", b"\xff;q=x,=")]
    wrong += [{name: b"http://["} for name in NEEDED]
    await _try(open_, ((asked, each) for asked in open_.asked for each in wrong), caplog)


@pytest.mark.parametrize(
    "path", ["/i/inv_", "/l/lnk_", "/dashboard/sign-in", "/account/name", "/overview", "/v1/invoices", "/nothing"]
)
async def test_e44_no_value_of_a_header_makes_a_page_fail(
    open_: Open, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    found = [one for one in open_.asked if one.path.endswith(path.replace("_", f"_{'1' * 29}"))]
    asked = max(found, key=lambda one: (bool(one.body), "cookie" in one.headers, "accept" in one.headers))
    wrong = [{name: value} for name in NEEDED for value in VALUES]
    wrong += [dict.fromkeys(OTHERS, value) for value in VALUES]
    if path == "/v1/invoices":
        wrong += [{name: value} for name in FRAMING for value in VALUES]
    await _try(open_, ((asked, each) for each in wrong), caplog)
