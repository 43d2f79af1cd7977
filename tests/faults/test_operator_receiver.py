"""The operator's own receiver hears of every alert, whatever it concerns, and through its own failures."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import kassa.alerts.store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.house import House
from kassa.settings import Alerts
from kassa.webhooks.rules import sign
from kassa.workers.tell_operator import tell_operator
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
            house.clock.move(10)  # type: ignore[attr-defined]
            await sink.until(lambda: len(sink.got) == 2)
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
