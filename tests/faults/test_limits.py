"""E41, E43, E44: who asks too often waits, whoever they say they are, and whatever was restarted meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from kassa.checkout.pages import handlers
from kassa.core.errors import Throttled
from kassa.flow.taking import count_issued
from kassa.house import House, limits_of
from kassa.limits.limiter import Limiter
from kassa.limits.model import Kind, Limit
from kassa.limits.rules import MOST_ISSUED
from kassa.settings import Limits
from kassa.stores.model import Store
from tests.api.conftest import house as house  # noqa: PLC0414  # a fixture
from tests.api.served import ORDER, Caller, Served, serve, until
from tests.house import BITCOIN, SetClock, add_store

NONE = Limits(0, 0, 0, 0, 0)
CLIENTS = [{"x-forwarded-for": f"198.51.100.{last}"} for last in (1, 2)]


@pytest.fixture
async def store(house: House) -> Store:
    async with house.database.transaction() as tx:
        return await add_store(tx, house)


@asynccontextmanager
async def limited(house: House, store: Store, proxies: tuple[str, ...] = (), **limits: int) -> AsyncIterator[Served]:
    """Serve a house with some limits, as one process does."""
    http = replace(house.settings.http, trusted_proxies=tuple(map(ip_network, proxies)))
    settings = replace(house.settings, http=http, limits=replace(NONE, **limits))
    one = replace(house, settings=settings, limits=Limiter(limits_of(settings.limits)))
    async with serve(one, store, handlers(one)) as served:
        yield served


def move(house: House, seconds: int) -> None:
    assert isinstance(house.clock, SetClock)
    house.clock.move(seconds)


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(house: House, store: Store) -> None:
    async with limited(house, store, requests_per_key=3) as served:
        other = await served.key()
        answers = [await served.all.get("/v1/store") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[3].code == "rate_limited"
        wait = int(answers[3].headers["retry-after"])  # type: ignore[index,call-overload]
        assert 60 < wait <= 120
        assert (await other.get("/v1/store")).status == 200
        move(house, wait - 1)
        assert (await served.all.get("/v1/store")).status == 429
        move(house, 1)
        assert (await served.all.get("/v1/store")).status == 200


async def test_keys_of_one_store_share_its_limit(house: House, store: Store) -> None:
    async with limited(house, store, requests_per_store=3) as served:
        keys = [await served.key() for _ in range(5)]
        assert [(await key.get("/v1/store")).status for key in keys] == [200, 200, 200, 429, 429]


async def test_an_order_that_is_decided_again_is_counted_once(house: House, store: Store) -> None:
    bounds = {"requests_per_key": 3, "requests_per_store": 3, "addresses_per_store": 3}
    async with limited(house, store, **bounds) as served:
        statuses = []
        for ppm in range(4):  # what its invoice was priced by has changed when it is written
            await house.database.pool.execute("update stores set spread_ppm = $1", ppm)
            statuses.append((await served.all.post("/v1/invoices", ORDER)).status)
        assert statuses == [201, 201, 201, 429]


async def test_limits_survive_a_restart_and_hold_for_all_processes(house: House, store: Store) -> None:
    async with (
        limited(house, store, requests_per_store=6) as first,
        limited(house, store, requests_per_store=6) as second,
    ):
        for served in (first, second):
            assert [(await served.all.get("/v1/store")).status for _ in range(3)] == [200] * 3

        async def is_refused() -> bool:
            return (await first.all.get("/v1/store")).status == 429

        await until(is_refused)  # a second later each knows what the other let in
    total = await house.database.pool.fetchval("select sum(count) from request_counts where kind = 'store'")
    assert 6 <= total <= 12
    async with limited(house, store, requests_per_store=6) as third:
        assert (await third.all.get("/v1/store")).status == 429


async def test_what_one_process_let_in_counts_for_another_in_the_next_window(house: House, store: Store) -> None:
    async def shared(count: int) -> bool:
        total = "select sum(count) from request_counts where kind = 'store'"
        return await house.database.pool.fetchval(total) == count

    async with (
        limited(house, store, requests_per_store=6) as first,
        limited(house, store, requests_per_store=6) as second,
    ):
        assert [(await first.all.get("/v1/store")).status for _ in range(6)] == [200] * 6
        await until(lambda: shared(6))
        move(house, 60 - int(house.clock.now().timestamp()) % 60)
        let_in = 0
        while (await second.all.get("/v1/store")).status == 200:
            let_in += 1
            await until(lambda let_in=let_in: shared(6 + let_in))  # type: ignore[misc]
    assert 1 <= let_in <= 3  # the first, and what comes before it heard of the others


async def test_e24_guessing_keys_ends_after_some_tries_from_one_address(house: House, store: Store) -> None:
    async with limited(house, store, ("127.0.0.1",), refusals_per_address=4) as served:
        guess = served.caller("kassa_test_" + "A" * 43)
        one, two = CLIENTS
        assert [(await guess.get("/v1/store", headers=one)).status for _ in range(6)] == [401] * 4 + [429] * 2
        assert (await guess.post("/v1/invoices", ORDER, headers=one)).status == 429
        assert (await guess.get("/v1/store", headers=two)).status == 401


async def test_whoever_shares_an_address_with_strangers_is_not_shut_out_by_them(house: House, store: Store) -> None:
    async with limited(house, store, ("127.0.0.1",), refusals_per_address=4) as served:
        guess, there = served.caller("kassa_test_" + "A" * 43), CLIENTS[0]
        while (await guess.get("/v1/store", headers=there)).status != 429:
            pass
        assert (await served.all.get("/v1/store", headers=there)).status == 200
        assert (await served.all.post("/v1/invoices", ORDER, headers=there)).status == 201
        assert (await served.all.post("/v1/invoices", ORDER, headers=there)).status == 201  # by what was read before
        assert (await guess.get("/v1/store", headers=there)).status == 429


async def test_paths_that_nobody_serves_are_counted_as_pages_are(house: House, store: Store) -> None:
    async with limited(house, store, ("127.0.0.1",), requests_per_address=5) as served:
        paths = ("/v1/nothing", "/v1/invoices/inv_1/a/b", "/health/other")
        got = [(await served.all.get(path, headers=CLIENTS[0])).status for path in paths * 3]
        assert got == [404] * 5 + [429] * 4
        assert (await served.all.get("/v1/invoices", headers=CLIENTS[0])).status == 200
        assert (await served.all.get("/health/live", headers=CLIENTS[0])).status == 200


async def test_a_proxy_that_was_not_named_is_told_of_once(
    house: House, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    async with limited(house, store, ("127.0.0.1",)) as served:
        await served.all.get("/v1/store", headers=CLIENTS[0])
    assert "trusted_proxies" not in "".join(capsys.readouterr())
    async with limited(house, store) as served:
        for each in CLIENTS:
            await served.all.get("/v1/store", headers=each)
    assert "".join(capsys.readouterr()).count("name it if it is yours") == 1


@pytest.mark.parametrize(
    ("proxies", "headers"),
    [
        # The caller invents a new address each time; the proxy appends the true one.
        (("127.0.0.1",), [{"x-forwarded-for": f"203.0.113.{n}, 198.51.100.7"} for n in range(9)]),
        (
            ("127.0.0.1", "10.0.0.0/8"),
            [{"x-forwarded-for": f"203.0.113.{n}, 198.51.100.7, 10.1.1.1"} for n in range(9)],
        ),
        # It has a /64 to itself.
        (("127.0.0.1",), [{"x-forwarded-for": f"2001:db8::{n}"} for n in range(9)]),
        # Garbage counts as the proxy itself, which is not counted only as long as it is this machine.
        (("127.0.0.1", "192.0.2.1"), [{"x-forwarded-for": f"garbage{n}, 192.0.2.1"} for n in range(9)]),
    ],
)
async def test_e41_no_header_helps_whoever_asks_for_pages_too_often(
    house: House, store: Store, proxies: tuple[str, ...], headers: list[dict[str, str]]
) -> None:
    async with limited(house, store, proxies, requests_per_address=5) as served:
        payer = Caller(served.session, served.all.base, None)
        invoice = await served.all.invoice()
        got = [(await payer.get(f"/i/{invoice['id']}", headers=each)).status for each in headers]
        assert got == [200] * 5 + [429] * 4
        # A key in the header makes a page no API call.
        assert (await served.all.get(f"/i/{invoice['id']}", headers=headers[0])).status == 429
        assert (await payer.get(f"/i/{invoice['id']}", headers={"x-forwarded-for": "192.0.2.99"})).status == 200
        assert (await payer.get("/health/live", headers=headers[0])).status == 200


async def test_e41_the_audit_log_names_the_true_address(house: House, store: Store) -> None:
    async with limited(house, store, ("127.0.0.1",)) as served:
        hook = {"url": "https://shop.example/hook", "events": ["*"]}
        await served.all.post("/v1/webhooks", hook, headers={"x-forwarded-for": "203.0.113.9, 198.51.100.7"})
        assert (await served.all.get("/v1/audit")).json["data"][0]["address"] == "198.51.100.7"
    async with limited(house, store) as served:
        await served.all.post("/v1/webhooks", hook, headers={"x-forwarded-for": "203.0.113.9"})
        assert (await served.all.get("/v1/audit")).json["data"][0]["address"] == "127.0.0.1"


async def test_e43_a_store_takes_no_more_addresses_than_its_quota(house: House, store: Store) -> None:
    async with limited(house, store, addresses_per_store=4) as served:
        answers = await asyncio.gather(*[served.all.post("/v1/invoices", ORDER) for _ in range(10)])
        assert sorted(answer.status for answer in answers) == [201] * 4 + [429] * 6
        customer = (await served.all.post("/v1/customers", {})).json
        deposit = await served.all.post(f"/v1/customers/{customer['id']}/addresses", {"asset": f"BTC@{BITCOIN}"})
        assert deposit.status == 429
        issued: Any = await house.database.pool.fetchrow("select count(*), max(next_index) from addresses, keychains")
        assert tuple(issued) == (4, 4)
        move(house, 7200)
        assert (await served.all.post("/v1/invoices", ORDER)).status == 201


async def test_e43_a_live_store_has_a_quota_out_of_the_box_and_a_test_store_none(
    house: House, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.house.MOST_ISSUED", 2)
    as_installed = replace(house, limits=Limiter(limits_of(Limits())))
    for livemode, most in ((True, 2), (False, 5)):
        given, shop = 0, replace(store, livemode=livemode)
        for _ in range(5):
            try:
                count_issued(as_installed, shop, house.clock.now())
            except Throttled:
                continue
            given += 1
        assert given == most
    assert MOST_ISSUED >= 20_000  # what no honest shop meets


def test_e43_where_there_is_no_room_who_was_counted_longest_ago_is_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.limits.store.MOST", 3)
    limiter, now = Limiter({Kind.ADDRESS: Limit(2, 60)}), house.clock.now()
    for who in ("one", "two", "three", "one", "four"):
        limiter.check(Kind.ADDRESS, who, now)
    with pytest.raises(Throttled):
        limiter.check(Kind.ADDRESS, "one", now)


def test_e43_addresses_without_number_are_counted_in_bounded_memory(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.limits.store.MOST", 100)
    limiter, now = Limiter(dict.fromkeys((Kind.ADDRESS, Kind.REFUSED), Limit(10, 60))), house.clock.now()
    payer = "198.51.100.1"
    for _ in range(10):
        limiter.check(Kind.ADDRESS, payer, now)
    for number in range(1_000):  # of one IPv6 /48
        limiter.check(Kind.ADDRESS, f"2001:db8:0:{number:x}::/64", now)
    with pytest.raises(Throttled, match="too many requests from this address"):
        limiter.check(Kind.ADDRESS, payer, now)  # whose count was not crowded out
    for number in range(300):
        limiter.check(Kind.ADDRESS, f"203.0.113.{number}", now)
    limiter.check(Kind.REFUSED, payer, now)
    assert len(limiter._unsent) <= 100
    assert sorted(map(len, limiter._rooms.values())) == [1, 100, 100]
    assert list(limiter._rooms[Kind.ADDRESS, False])[-1] == "203.0.113.299"
