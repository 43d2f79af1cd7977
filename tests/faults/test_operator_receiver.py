"""The operator's own receiver hears of every alert, whatever it concerns, and through its own failures."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.alerts.telling_store import MOST, claim
from kassa.core.errors import Invalid
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import House
from kassa.operations import alerts as operations
from kassa.settings import Alerts, Settings
from kassa.webhooks.rules import LONGEST_WAITS, sign
from kassa.workers.tell_operator import LEASE, tell_operator
from tests.house import build_house
from tests.tools.sink import Sink, status

SECRET = "whsec_" + "QUJD" * 8
BROKEN = Finding(Kind.NOBODY_SENDS, "queue", Severity.CRITICAL, "nobody sends", detail="run `kassa work`")


@asynccontextmanager
async def telling(house: House) -> AsyncIterator[None]:
    loops = [asyncio.create_task(tell_operator(house)) for _ in range(2)]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def tried_again(house: House, sink: Sink, number: int) -> None:
    """Let the pause be over that was written down after the attempt before, and wait for the next one.

    Not sooner, and not for longer: who posts has the alert for half a minute, and then it is another's to post as well.
    """
    now = house.clock.now()
    async with asyncio.timeout(20):
        while (due := await house.database.pool.fetchval("select tell_at from alerts")) == now + LEASE:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    house.clock.move((due - now).total_seconds())  # type: ignore[attr-defined]
    await sink.until(lambda: len(sink.got) == number)


async def test_an_alert_of_no_store_is_told_signed_again_after_a_failure_and_once_it_is_closed(
    database: Database, tmp_path: Path
) -> None:
    async with Sink(status(503)) as sink:
        told = Alerts(Secret(f"{sink.url}/ops"), Secret(SECRET))
        built = await build_house(database, tmp_path)
        house = replace(built, settings=replace(built.settings, alerts=told))
        now = house.clock.now()
        async with database.transaction() as tx:
            opened = await alerts.open_alert(tx, BROKEN, now)
        assert opened is not None
        async with telling(house):
            await sink.until(lambda: len(sink.got) == 1)
            sink.default = status(200)
            await tried_again(house, sink, 2)
            async with database.transaction() as tx:
                await alerts.close_alert(tx, BROKEN.kind, BROKEN.subject, "it is over", house.clock.now())
            await sink.until(lambda: len(sink.got) == 3)
            done = "select told_closed_at is not null and tell_attempts = 0 from alerts"
            async with asyncio.timeout(20):  # it is written once the receiver's answer came
                while not await database.pool.fetchval(done):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.02)
        bodies = [json.loads(one.body) for one in sink.got]
        assert [each["type"] for each in bodies] == ["alert.opened", "alert.opened", "alert.closed"]
        assert [one.headers["webhook-id"] for one in sink.got] == [f"{opened.id}.opened"] * 2 + [f"{opened.id}.closed"]
        assert (bodies[0]["data"]["kind"], bodies[0]["data"]["detail"]) == ("nobody_sends", "run `kassa work`")
        for one in sink.got:
            id_, at = one.headers["webhook-id"], int(one.headers["webhook-timestamp"])
            assert one.headers["webhook-signature"] == sign([Secret(SECRET)], id_, at, one.body)
        await built.marks.close()


async def test_what_is_still_wrong_is_told_however_long_it_has_stood(database: Database, tmp_path: Path) -> None:
    async with Sink(status(503)) as sink:
        told = Alerts(Secret(f"{sink.url}/ops"), Secret(SECRET))
        built = await build_house(database, tmp_path)
        house = replace(built, settings=replace(built.settings, alerts=told))
        async with database.transaction() as tx:
            await alerts.open_alert(tx, BROKEN, house.clock.now())
        house.clock.move(4 * 24 * 3600)  # type: ignore[attr-defined]  # no receiver was named until now
        async with telling(house):
            await sink.until(lambda: len(sink.got) == 1)
            sink.default = status(200)
            await tried_again(house, sink, 2)
        await built.marks.close()


async def test_a_storm_of_one_kind_keeps_no_other_alert_waiting(database: Database, tmp_path: Path) -> None:
    house = await build_house(database, tmp_path)
    now = house.clock.now()
    async with database.transaction() as tx:
        for n in range(3 * MOST):
            storm = Finding(Kind.ADDRESS_MISMATCH, f"inv_{n}", Severity.CRITICAL, "why")
            await alerts.open_alert(tx, storm, now + timedelta(milliseconds=n))
        await alerts.open_alert(tx, BROKEN, now + timedelta(seconds=1))
        asked = now + timedelta(seconds=2), now + timedelta(seconds=32), timedelta(hours=72), LONGEST_WAITS
        first = await claim(tx, *asked)
        second = await claim(tx, *asked)
    assert len(first) == len(second) == MOST
    assert BROKEN.kind in {each.alert.finding.kind for each in first}
    assert {each.alert.id for each in first}.isdisjoint(each.alert.id for each in second)
    await house.marks.close()


async def test_all_alerts_of_a_kind_are_closed_by_one_command_an_act_each(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    house = await build_house(database, tmp_path)
    async with database.transaction() as tx:
        for n in range(120):
            lasting = Finding(Kind.ADDRESS_MISMATCH, f"inv_{n}", Severity.CRITICAL, "why", lasting=True)
            await alerts.open_alert(tx, lasting, house.clock.now())
        await alerts.open_alert(tx, BROKEN, house.clock.now())
    await house.marks.close()
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path)

    assert await operations.close_alerts(settings, "address_mismatch", "mended") == {
        "kind": "address_mismatch",
        "closed": 120,
    }
    left = await operations.list_alerts(settings, closed=False)
    assert ([each["kind"] for each in left["data"]], left["more"]) == ([BROKEN.kind.value], False)
    assert await database.pool.fetchval("select count(*) from acts where kind = 'alert.closed'") == 120
    with pytest.raises(Invalid, match="known: "):
        await operations.close_alerts(settings, "address", "mended")


async def test_d26_what_is_told_after_a_restore_says_so_until_the_chain_is_caught_up_with(
    database: Database, tmp_path: Path
) -> None:
    async with Sink(status(200)) as sink:
        built = await build_house(database, tmp_path)
        house = replace(
            built, settings=replace(built.settings, alerts=Alerts(Secret(f"{sink.url}/ops"), Secret(SECRET)))
        )
        now = house.clock.now()
        await database.pool.execute("insert into restores (restored_at, backup_at) values ($1, $1)", now)
        async with telling(house):
            async with database.transaction() as tx:
                await alerts.open_alert(tx, BROKEN, now)
            await sink.until(lambda: len(sink.got) == 1)
            await database.pool.execute("update restores set caught_up_at = $1", house.clock.move(5))  # type: ignore[attr-defined]
            async with database.transaction() as tx:
                await alerts.close_alert(tx, BROKEN.kind, BROKEN.subject, "it is over", house.clock.move(5))  # type: ignore[attr-defined]
            await sink.until(lambda: len(sink.got) == 2)
        assert [one.headers.get("webhook-restored") for one in sink.got] == ["true", None]
        await built.marks.close()
