"""Who watches the watchers, on a real PostgreSQL: looks, starts that are none, and processes side by side."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import kassa.alerts.detector_store as detectors
from kassa import flow
from kassa.alerts.model import Kind
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.doctor import Verdict as Said
from kassa.doctor import examine
from kassa.house import House
from kassa.main import keep_running
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


async def test_a_process_that_just_started_leaves_the_judgement_of_others_to_those_that_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.workers.detect.LOOK_SECONDS", 0.1)
    await house.database.pool.execute("update networks set lease_until = now() - interval '1 hour'")
    loops = [asyncio.create_task(detect(house, BY_NAME["nodes"]))]
    try:
        await until(lambda: _beats(house, "nodes", "enlisted_at"))
        house.clock.move(59)  # type: ignore[attr-defined]
        loops.append(asyncio.create_task(detect(house, BY_NAME["nodes"])))
        await asyncio.sleep(1)
        assert await open_alerts(house) == {}
        house.clock.move(1)  # type: ignore[attr-defined]
        await until(lambda: _beats(house, "nodes"))
        assert set(await open_alerts(house)) == {Kind.NOT_FOLLOWED}
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_after_the_database_was_away_nobody_is_judged_before_they_could_come_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kassa.workers.detect.LOOK_SECONDS", 0.1)
    pool, names = house.database.pool, ("nodes", "watch")
    loops = [asyncio.create_task(keep_running(name, partial(detect, house, BY_NAME[name]))) for name in names]
    try:
        await until(lambda: _beats(house, "watch"))
        house.clock.move(60)  # type: ignore[attr-defined]
        await until(lambda: _beats(house, "nodes"))
        await look(house, *(name for name in BY_NAME if name not in names))
        await come_round(house)
        assert await open_alerts(house) == {}

        failed = [_failures(name) for name in names]
        await pool.execute("alter table detectors rename to away")
        await pool.execute("update networks set lease_until = now() - interval '1 hour'")  # nobody could prolong it
        await until(lambda: _have_failed(names, failed))
        house.clock.move(3_600)  # type: ignore[attr-defined]
        back = house.clock.now()
        await pool.execute("alter table away rename to detectors")
        looked = "select ended_at = $1 from detectors where name = 'watch'"
        await until(lambda: pool.fetchval(looked, back), 30)
        await until(lambda: pool.fetchval("select enlisted_at = $1 from detectors where name = 'nodes'", back), 30)
        await asyncio.sleep(3)  # longer than the pauses before the loops begin again
        assert await open_alerts(house) == {}
        house.clock.move(60)  # type: ignore[attr-defined]
        await until(lambda: pool.fetchval("select ended_at > $1 from detectors where name = 'nodes'", back), 30)
        assert set(await open_alerts(house)) == {Kind.NOT_FOLLOWED}
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_a_detector_is_run_by_one_of_several_processes_and_not_before_its_time(house: House) -> None:
    loops = [asyncio.create_task(detect(house, BY_NAME["solvency"])) for _ in range(3)]
    try:
        await until(lambda: _beats(house, "solvency"))
        async with house.database.transaction() as tx:
            assert not await detectors.begin(tx, "solvency", 60, house.clock.now())
            assert await detectors.begin(tx, "solvency", 60, house.clock.now() + timedelta(seconds=60))
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def _beats(house: House, name: str, what: str = "ended_at") -> bool:
    beat = (await detectors.beats(house.database.pool)).get(name)
    return beat is not None and getattr(beat, what) is not None


def _failures(name: str) -> float:
    return REGISTRY.get_sample_value("kassa_loop_failures_total", {"loop": name}) or 0


async def _have_failed(names: Sequence[str], before: Sequence[float]) -> bool:
    return all(_failures(name) > was for name, was in zip(names, before, strict=True))
