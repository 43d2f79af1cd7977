"""Who watches the watchers, on a real PostgreSQL: looks, starts that are none, and processes side by side."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import kassa.alerts.detector_store as detectors
from kassa import flow
from kassa.alerts.model import Kind
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.doctor import Verdict as Said
from kassa.doctor import examine
from kassa.house import House
from kassa.settings import Settings
from kassa.workers.detect import detect
from tests.api.conftest import follow
from tests.api.served import serve, until
from tests.detecting import BY_NAME, look, open_alerts
from tests.house import add_store, build_house


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path)
    await follow(built)
    yield built
    await built.marks.close()


async def test_f16_whoever_asks_from_outside_hears_that_nobody_looks(
    house: House, database_url: str, tmp_path: Path
) -> None:
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
    async with serve(house, store) as served:
        nobody = served.caller(None)

        async def monitor() -> int:
            await asyncio.sleep(1)  # an answer is kept so long
            return (await nobody.get("/health/monitor")).status

        await start(house)
        assert await monitor() == 503  # a start is no look
        house.clock.move(3_600)  # type: ignore[attr-defined]
        every = [name for name in BY_NAME if name not in ("watch", "dust")]
        await look(house, *every)
        await come_round(house)
        # One that was taken away is named by the others, and all of them by whoever asks from outside.
        found = await look(house, "watch")
        assert [each.finding.subject for each in found[Kind.DETECTOR_SILENT]] == ["dust"]
        assert await monitor() == 503
        await look(house, "dust")
        assert (Kind.DETECTOR_SILENT in await look(house, "watch"), await monitor()) == (False, 200)
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path)
    said = {each.check: each for each in await examine(settings)}
    assert said["detectors"].verdict is Said.FAIL  # by this machine's clock, which stands far from the test's


async def start(house: House) -> None:
    """Do what a process with the role work does first."""
    await house.database.run(lambda tx: detectors.enlist(tx, flow.expected(house.settings), house.clock.now()))


async def come_round(house: House) -> None:
    for name in flow.ROUNDS:
        await house.database.run(lambda tx, name=name: flow.note_round(tx, house, name, house.clock.now()))  # type: ignore[misc]


async def test_f16_whoever_starts_again_and_again_without_a_look_is_silent(house: House) -> None:
    async def silent() -> int:
        return len((await look(house, "watch")).get(Kind.DETECTOR_SILENT, ()))

    await start(house)
    for _ in range(10):
        assert await silent() == 0
        house.clock.move(9)  # type: ignore[attr-defined]
        await start(house)
    house.clock.move(1)  # type: ignore[attr-defined]
    assert await silent() > 0
    every = [name for name in BY_NAME if name != "watch"]
    await look(house, *every)
    await come_round(house)
    house.clock.move(2 * 86_400)  # type: ignore[attr-defined]  # down, and started properly
    await start(house)
    assert await silent() == 0


async def test_a_process_that_just_started_leaves_the_judgement_of_others_to_those_that_run(house: House) -> None:
    await house.database.pool.execute("update networks set lease_until = now() - interval '1 hour'")
    now, nodes = house.clock.now(), BY_NAME["nodes"]
    loops = [asyncio.create_task(detect(house, nodes, now - timedelta(seconds=age))) for age in (0, 59)]
    try:
        await asyncio.sleep(1)
        assert await open_alerts(house) == {}
        loops.append(asyncio.create_task(detect(house, nodes, now - timedelta(seconds=60))))
        await until(lambda: _beats(house, "nodes"))
        assert set(await open_alerts(house)) == {Kind.NOT_FOLLOWED}
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_a_detector_is_run_by_one_of_several_processes_and_not_before_its_time(house: House) -> None:
    loops = [asyncio.create_task(detect(house, BY_NAME["solvency"], house.clock.now())) for _ in range(3)]
    try:
        await until(lambda: _beats(house, "solvency"))
        async with house.database.transaction() as tx:
            assert not await detectors.begin(tx, "solvency", 60, house.clock.now())
            assert await detectors.begin(tx, "solvency", 60, house.clock.now() + timedelta(seconds=60))
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def _beats(house: House, name: str) -> bool:
    beat = (await detectors.beats(house.database.pool)).get(name)
    return beat is not None and beat.ended_at is not None
