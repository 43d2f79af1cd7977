"""Who may do what: keys, scopes, and that nothing is open by oversight."""

import base64
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from kassa.api.app import create_app
from kassa.api.auth import ANY_KEY, PUBLIC, Uses, authenticate
from kassa.api.document import document
from kassa.api.endpoint import Call, Endpoint
from kassa.api.routes import ENDPOINTS
from kassa.api.serving import Asked, Desk, body_decoder
from kassa.core.errors import Forbidden
from kassa.db.pool import Tx
from kassa.house import House
from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.served import Served

PATHS = msgspec.json.decode(document(ENDPOINTS, "http://kassa.test"))["paths"]
OPERATIONS = [(method.upper(), path, one["x-access"]) for path, item in PATHS.items() for method, one in item.items()]
IDS = {"invoices": "inv", "payments": "pay", "wallets": "wal", "webhooks": "whk", "deliveries": "dlv", "alerts": "alt"}


def _path(path: str) -> str:
    return path.replace("{id}", f"{IDS.get(path.split('/')[2], 'inv')}_{'0' * 29}")


async def test_g9_every_route_declares_its_access(house: House) -> None:
    app = create_app(house).framework
    declared = {
        (route.path_format, method): handler.opt.get("access")
        for route in app.routes
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items()
        if method != "OPTIONS"  # says which methods a path has
    }

    assert {(path, method) for method, path, _ in OPERATIONS} <= declared.keys()
    assert {access for access in declared.values() if access not in SCOPES} <= {ANY_KEY, PUBLIC}
    assert {path for (path, _), access in declared.items() if access == PUBLIC} == {
        "/health/live",
        "/health/monitor",
        "/health/networks",
        "/health/ready",
    }
    assert {path for (path, _), access in declared.items() if access == ANY_KEY} == {
        "/v1/openapi.json", "/v1/assets", "/v1/networks", "/v1/rates", "/v1/rates/history",
    }  # fmt: skip


def test_g9_an_endpoint_without_a_known_access_cannot_be_made() -> None:
    async def work(_tx: Tx, _call: Call) -> None: ...

    with pytest.raises(TypeError, match="access"):
        Endpoint(method="GET", path="/v1/x", name="x", summary="x", work=work, result=None)  # type: ignore[call-arg]
    with pytest.raises(AssertionError, match="declares no known access"):
        Endpoint(method="GET", path="/v1/x", name="x", summary="x", work=work, result=None, access="invoices")


@pytest.fixture
def text(served: Served) -> str:
    assert served.all.key is not None
    return served.all.key


async def test_e14_only_bearer_opens(served: Served, text: str) -> None:
    nobody = served.caller(None)
    basic = base64.b64encode(f"{text}:".encode()).decode()

    for value in (
        f"Basic {basic}", f"Basic {text}", text, f"Token {text}", f"Bearer {text}x", f"Bearer {text[:-1]}", "Bearer",
        f"Bearer {text.upper()}", f"Bearer {text} {text}", "Bearer \x80", f"Bearer {text.replace('test', 'live')}",
    ):  # fmt: skip
        assert (await nobody.get("/v1/invoices", headers={"authorization": value})).status == 401, value
    assert (await nobody.get("/v1/invoices", headers={"authorization": f"bearer {text}"})).status == 200
    assert (await nobody.get(f"/v1/invoices?api_key={text}")).status == 401
    assert (await nobody.get("/v1/invoices", headers={"cookie": f"authorization={text}"})).status == 401


async def test_e9_a_revoked_key_opens_nothing_from_the_next_request_on(served: Served) -> None:
    now = served.house.clock.now()
    async with served.house.database.transaction() as tx:
        key_id, text = await stores.create_key(tx, served.store, now)
    caller = served.caller(text)
    before = await caller.get("/v1/invoices")

    async with served.house.database.transaction() as tx:
        await stores.revoke_key(tx, key_id, now)

    assert (before.status, (await caller.get("/v1/invoices")).status) == (200, 401)
    assert (await served.all.get("/v1/invoices")).status == 200


async def test_an_expired_key_opens_nothing(served: Served) -> None:
    now = served.house.clock.now()
    async with served.house.database.transaction() as tx:
        _, text = await stores.create_key(tx, served.store, now, expires_at=now + timedelta(minutes=1))
    caller = served.caller(text)

    before = await caller.get("/v1/invoices")
    served.house.clock.move(60)  # type: ignore[attr-defined]
    after = await caller.get("/v1/invoices")

    assert (before.status, after.status) == (200, 401)


async def test_last_use_is_noted_apart_from_the_requests(house: House, tmp_path: Path) -> None:
    now = house.clock.now()
    async with house.database.transaction() as tx:
        store = await stores.create_store(tx, "Shop", "EUR", False, now)
        _, text = await stores.create_key(tx, store, now)
    uses = Uses(house.database)

    async def used_at() -> object:
        return await house.database.pool.fetchval("select last_used_at from api_keys")

    async def use() -> None:
        moment = house.clock.now()
        uses.note(await authenticate(house.database, f"Bearer {text}".encode(), moment), moment)

    await use()
    assert await used_at() is None
    await uses.write()
    assert await used_at() == now
    house.clock.move(59)  # type: ignore[attr-defined]
    await use()
    await uses.write()
    assert await used_at() == now
    later = house.clock.move(2)  # type: ignore[attr-defined]
    await use()
    await uses.write()
    assert await used_at() == later


async def test_e10_a_person_without_the_right_of_an_endpoint_gets_nothing_of_it(served: Served) -> None:
    async def read() -> bytes:
        return b""

    desk = Desk(served.house)
    for one in ENDPOINTS:
        if one.access != ANY_KEY:
            asked = Asked(one, body_decoder(one), one.path, b"", {}, read, None)
            call = Call(served.house, served.store, "per_1", served.house.clock.now(), None)
            with pytest.raises(Forbidden):
                await desk.ask(asked, call, frozenset(SCOPES) - {one.access})
