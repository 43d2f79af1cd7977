"""A clock that was ahead and is set back, on a real PostgreSQL: nothing waits for what it noted to come true."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kassa.alerts.detector_store as detectors
import kassa.alerts.store as alerts
import kassa.alerts.telling_store as telling
import kassa.ledger.audit_store as audits
import kassa.metrics.store as metrics
import kassa.people.session_store as sessions
import kassa.rates.store as rates
import kassa.watch.store as watch
import kassa.webhooks.queue_store as queue
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.alerts.service_rules import silent
from kassa.core.errors import Throttled
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.house import House
from kassa.limits.limiter import Limiter
from kassa.limits.model import Kind as Counted
from kassa.limits.model import Limit
from kassa.people.rules import FORGOTTEN, FREE_TRIES
from kassa.settings import Alerts
from kassa.webhooks.rules import GIVE_UP_AFTER, LONGEST_WAITS
from kassa.workers.detect import detect
from kassa.workers.tell_operator import tell_operator
from kassa.workers.tick import tick
from tests.api.conftest import follow
from tests.detecting import BY_NAME, look
from tests.house import BITCOIN, SetClock, build_house
from tests.tools.sending import open_shop, until
from tests.tools.sink import Sink, status

STEP = 7_200


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def house(database: Database, tmp_path: Path, clock: SetClock) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path, clock=clock)
    await follow(built)
    yield built
    await built.marks.close()


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def looked(house: House) -> None:
    for name in BY_NAME:
        await house.database.run(
            lambda tx, name=name: detectors.begin(tx, name, BY_NAME[name].every_seconds, house.clock.now())  # type: ignore[misc]
        )
    await look(house, *BY_NAME)
    for name in flow.ROUNDS:
        await house.database.run(lambda tx, name=name: flow.note_round(tx, house, name, house.clock.now()))  # type: ignore[misc]


async def is_silent(house: House, *, strictly: bool = False) -> list[str]:
    beats = await detectors.beats(house.database.pool)
    return silent(flow.expected(house.settings), beats, house.clock.now(), strictly=strictly)


async def test_detectors_look_at_once_and_their_silence_is_seen(house: House, clock: SetClock) -> None:
    await house.database.run(lambda tx: detectors.enlist(tx, flow.expected(house.settings), clock.now()))
    await looked(house)
    assert await is_silent(house, strictly=True) == []
    clock.move(-STEP)
    # Who asks from outside hears that nobody has looked yet; nobody is called for what is a minute old.
    assert await is_silent(house, strictly=True) == sorted(flow.expected(house.settings))
    assert Kind.DETECTOR_SILENT not in await look(house, "watch")
    for each in BY_NAME.values():
        assert await house.database.run(lambda tx, each=each: detectors.begin(tx, each.name, 1, clock.now()))  # type: ignore[misc]
        assert not await house.database.run(lambda tx, each=each: detectors.begin(tx, each.name, 1, clock.now()))  # type: ignore[misc]
    clock.move(3 * 60 + 61)
    found = await look(house, "watch")
    quiet = {name for name, every in flow.expected(house.settings).items() if every <= 60} - {"watch"}
    assert {each.finding.subject for each in found[Kind.DETECTOR_SILENT]} == quiet


async def test_a_step_of_seconds_makes_no_detector_look_twice(house: House, clock: SetClock) -> None:
    assert await house.database.run(lambda tx: detectors.begin(tx, "dust", 60, clock.now()))
    for _ in range(6):
        clock.move(-10)
        assert not await house.database.run(lambda tx: detectors.begin(tx, "dust", 60, clock.now()))


async def test_a_patient_detector_waits_no_longer_for_a_start_that_is_yet_to_come(
    house: House, clock: SetClock
) -> None:
    async with running(detect(house, BY_NAME["queues"])):
        await until(lambda: _is(house, "queues", "enlisted_at is not null"))
        clock.move(-STEP)
        await until(lambda: _is(house, "queues", "ended_at is not null"), 30)


async def _is(house: House, name: str, so: str) -> bool:
    return bool(await house.database.pool.fetchval(f"select true from detectors where name = $1 and {so}", name))


async def test_deadlines_note_their_rounds_again(house: House, clock: SetClock) -> None:
    async with running(tick(house)):
        noted = "select coalesce(max(ended_at) = $1, false) from detectors where name = 'deadlines'"
        await until(lambda: house.database.pool.fetchval(noted, clock.now()))
        clock.move(-STEP)
        await until(lambda: house.database.pool.fetchval(noted, clock.now()))


async def test_tries_at_signing_in_are_forgotten_though_nobody_signs_in(house: House, clock: SetClock) -> None:
    pool, mine = house.database.pool, {"person": "a@b.example"}
    async with running(tick(house)):
        clock.move(-STEP)
        await house.database.run(lambda tx: sessions.take_try(tx, mine, clock.now()))
        clock.move(FORGOTTEN.total_seconds() + 1)
        await until(lambda: pool.fetchval("select count(*) = 0 from sign_in_tries"))


async def test_limits_let_in_again_also_in_a_process_that_starts(database: Database, clock: SetClock) -> None:
    limits = {Counted.ADDRESS: Limit(3, 60), Counted.ISSUED: Limit(3, 3_600)}
    clock.move(STEP)

    def room(limiter: Limiter, kind: Counted) -> int:
        for taken in range(10):
            try:
                limiter.check(kind, "192.0.2.7", clock.now())
            except Throttled:
                return taken
        return 10

    first, second = Limiter(limits), Limiter(limits)
    async with first.keeping(database, clock):
        assert [room(first, kind) for kind in limits] == [3, 3]
        clock.move(-STEP)
        assert [room(first, kind) for kind in limits] == [3, 3]
    async with second.keeping(database, clock):
        assert [room(second, kind) for kind in limits] == [0, 0]  # what is counted since holds
        clock.move(7_200)
        assert [room(second, kind) for kind in limits] == [3, 3]


async def test_one_wrong_password_keeps_nobody_out_for_hours(house: House, clock: SetClock) -> None:
    mine, run = {"person": "a@b.example"}, house.database.run
    for _ in range(FREE_TRIES["person"]):
        assert not await run(lambda tx: sessions.take_try(tx, mine, clock.now()))
    assert await run(lambda tx: sessions.take_try(tx, mine, clock.now()))
    clock.move(-STEP)
    wait = await run(lambda tx: sessions.take_try(tx, mine, clock.now()))
    assert timedelta(0) < wait <= timedelta(minutes=1)  # the pause that was begun begins now
    assert await run(lambda tx: sessions.take_try(tx, mine, clock.now())) == wait  # once
    clock.move(wait.total_seconds())
    assert not await run(lambda tx: sessions.take_try(tx, mine, clock.now()))
    assert await run(lambda tx: sessions.take_try(tx, mine, clock.now()))  # and the tries are remembered


async def test_a_pause_that_a_clock_a_little_ahead_of_ours_began_is_not_cut_short(
    house: House, clock: SetClock
) -> None:
    mine, run = {"person": "a@b.example"}, house.database.run
    for _ in range(FREE_TRIES["person"]):
        assert not await run(lambda tx: sessions.take_try(tx, mine, clock.now() + timedelta(seconds=59)))
    assert await run(lambda tx: sessions.take_try(tx, mine, clock.now())) == timedelta(seconds=60)


@pytest.mark.parametrize("restarted", [False, True])
async def test_deliveries_are_sent_now_whoever_wrote_them_or_put_them_off(
    database: Database, tmp_path: Path, restarted: bool
) -> None:
    shop = await open_shop(database, tmp_path)
    async with Sink(status(500)) as sink:
        await shop.endpoint(sink.url)
        await shop.write(shop.event(7, 7, url=f"{sink.url}/own"))  # nothing else that arrives there hurries it
        shop.clock.ahead = timedelta(seconds=STEP)
        await shop.events(3)
        async with shop.sending():
            await shop.attempted(5)
            if not restarted:
                sink.default = status(200)
                await shop.pass_time(timedelta(seconds=-STEP))
                await shop.until_states(delivered=5)
        if restarted:
            sink.default = status(200)
            await shop.pass_time(timedelta(seconds=-STEP))
            async with shop.sending():
                await shop.until_states(delivered=5)


async def test_what_waits_too_long_for_what_failed_so_often_is_due_now_and_a_claim_begins_now(
    database: Database, tmp_path: Path
) -> None:
    shop = await open_shop(database, tmp_path)
    await shop.endpoint("https://shop.example/hook")
    # Seconds from now of its making and of its turn, how often it failed, whether it is claimed; and its turn then.
    cases = [
        (0, 780, 0, False, 780), (0, 785, 0, False, 0),  # 12 minutes for another's turn, and one of a clock's doubt
        (300, 300, 0, False, 0), (59, 59, 0, False, 59),  # due when it was made
        (0, 780, 4, False, 780), (0, 785, 4, False, 0), (0, 785, 5, False, 785), (0, STEP, 10, False, STEP),
        (0, STEP, 0, True, 30), (0, 30, 0, True, 30),
    ]  # fmt: skip
    await shop.events(len(cases))
    now = shop.clock.now()
    ids = [row["id"] for row in await database.pool.fetch("select id from deliveries order by id")]
    for id_, (made, due, attempts, claimed, _) in zip(ids, cases, strict=True):
        await database.pool.execute(
            "update deliveries set created_at = $2, due_at = $3, attempts = $4,"
            " claimed_until = case when $5 then $3::timestamptz end where id = $1",
            id_, now + timedelta(seconds=made), now + timedelta(seconds=due), attempts, claimed,
        )  # fmt: skip
    await database.run(lambda tx: queue.pull_back(tx, now, now + timedelta(seconds=30), whole=True))
    rows = await database.pool.fetch("select due_at, claimed_until from deliveries order by id")
    assert [(row["due_at"] - now).total_seconds() for row in rows] == [turn for *_, turn in cases]
    assert [row["claimed_until"] for row in rows] == [
        row["due_at"] if claimed else None for row, (_, _, _, claimed, _) in zip(rows, cases, strict=True)
    ]


async def test_what_a_machine_ahead_of_us_writes_is_sent_now_and_put_off_as_ever(
    database: Database, tmp_path: Path
) -> None:
    shop = await open_shop(database, tmp_path)
    async with Sink(status(500)) as sink, shop.sending():
        await shop.endpoint(sink.url)
        async with database.transaction() as tx:
            await events.write(tx, [shop.event(1)], shop.clock.now() + timedelta(seconds=STEP))
        await shop.attempted(2)
        assert sink.got[1].at - sink.got[0].at > 3  # the first pause, or nearly


async def test_a_sender_that_starts_hurries_nothing_that_waits_as_it_should(database: Database, tmp_path: Path) -> None:
    shop = await open_shop(database, tmp_path)
    async with Sink(status(500)) as sink:
        await shop.endpoint(sink.url)
        await shop.events(2, invoices=1)
        async with shop.sending():
            for tries in range(1, 5):
                await shop.attempted(tries)
                if tries < 4:
                    await shop.due_now()
        assert len(sink.got) == 4
        waits = "select min(due_at) from deliveries where attempts = 0"
        assert await database.pool.fetchval(waits) > shop.clock.now() + timedelta(minutes=7)  # for the first
        async with shop.sending():
            await asyncio.sleep(2)
        assert len(sink.got) == 4


async def test_the_operators_receiver_is_tried_again(database: Database, tmp_path: Path, clock: SetClock) -> None:
    async with Sink(status(503)) as sink:
        built = await build_house(database, tmp_path, clock=clock)
        told = Alerts(Secret(f"{sink.url}/ops"), Secret("whsec_" + "QUJD" * 8))
        house = replace(built, settings=replace(built.settings, alerts=told))
        broken = Finding(Kind.NOBODY_SENDS, "queue", Severity.CRITICAL, "nobody sends")
        async with database.transaction() as tx:
            await alerts.open_alert(tx, broken, clock.now())
        async with running(tell_operator(house)):
            put_off = "select tell_at > $1 and tell_at < $1 + interval '20 seconds' from alerts"  # no claim
            await until(lambda: database.pool.fetchval(put_off, clock.now()))
            sink.default = status(200)
            clock.move(-STEP)
            await sink.until(lambda: len(sink.got) == 2)
        await built.marks.close()


async def test_what_is_to_be_told_waits_as_long_as_it_may(house: House, clock: SetClock) -> None:
    now, minute = clock.now(), timedelta(minutes=1)
    async with house.database.transaction() as tx:
        await alerts.open_alert(tx, Finding(Kind.NOBODY_SENDS, "queue", Severity.CRITICAL, "nobody sends"), now)
        for seconds, is_due in ((STEP, True), (781, True), (780, False), (1, False), (0, True)):
            await tx.execute("update alerts set tell_at = $1", now + timedelta(seconds=seconds))
            told = await telling.claim(tx, now, now + minute, GIVE_UP_AFTER, LONGEST_WAITS)
            assert bool(told) is is_due, seconds
            await tx.execute("update alerts set tell_attempts = 0")


async def test_books_are_compared_again_and_grow_old_from_now(house: House, clock: SetClock) -> None:
    pool, hour, run = house.database.pool, timedelta(hours=1), house.database.run
    clock.move(STEP)
    assert await run(lambda tx: audits.begin(tx, BITCOIN, clock.now(), hour))
    await pool.execute("update reconciliations set ended_at = $1, first_at = $1", clock.now())
    clock.move(-STEP)
    assert await run(lambda tx: audits.begin(tx, BITCOIN, clock.now(), hour))
    assert not await run(lambda tx: audits.begin(tx, BITCOIN, clock.now(), hour))
    assert Kind.BOOKS_UNCOMPARED not in await look(house, "watch")
    assert await pool.fetchval("select ended_at from reconciliations") == clock.now()


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ((STEP, -STEP), (0, -STEP)),
        ((-STEP, STEP), (-STEP, 0)),  # begun by one clock, ended by another: what is old stays old
        ((None, STEP), (None, 0)),
        ((STEP, None), (0, None)),
        ((59, -59), (59, -59)),  # clocks differ
    ],
)
async def test_only_what_is_yet_to_come_is_taken_for_noted_now(
    house: House, clock: SetClock, noted: tuple[int | None, int | None], expected: tuple[int | None, int | None]
) -> None:
    pool, now, run = house.database.pool, clock.now(), house.database.run

    def moments(seconds: tuple[int | None, int | None]) -> tuple[datetime | None, ...]:
        return tuple(None if each is None else now + timedelta(seconds=each) for each in seconds)

    assert await run(lambda tx: audits.begin(tx, BITCOIN, now, timedelta(hours=1)))
    assert await run(lambda tx: detectors.begin(tx, "dust", 60, now))
    if noted[1] is not None:  # every run of the books has begun once
        await pool.execute("update reconciliations set ended_at = $1, first_at = $2", *moments(noted))
        await run(lambda tx: audits.pull_back(tx, now))
        assert tuple(await pool.fetchrow("select ended_at, first_at from reconciliations")) == moments(expected)
    await pool.execute("update detectors set ended_at = $1, enlisted_at = $2", *moments(noted))
    await run(lambda tx: detectors.pull_back(tx, now))
    assert tuple(await pool.fetchrow("select ended_at, enlisted_at from detectors")) == moments(expected)


async def test_leases_of_a_database_whose_clock_was_ahead_are_over(house: House) -> None:
    async with house.database.transaction() as tx:
        for seconds, is_free in ((10, False), (69, False), (STEP, True)):
            await tx.execute("update networks set lease_until = now() + make_interval(secs => $1)", seconds)
            assert (await watch.take_lease(tx, BITCOIN, "other", 10) is not None) is is_free
            await tx.execute("update rate_fetching set lease_until = now() + make_interval(secs => $1)", seconds)
            assert (await rates.take_lease(tx, "other", 10) is not None) is is_free


async def test_nothing_was_seen_up_to_a_moment_that_is_yet_to_come(house: House, clock: SetClock) -> None:
    async def observed(seconds: int) -> bool:
        moment = clock.now() + timedelta(seconds=seconds)
        await house.database.run(lambda tx: watch.note_observed(tx, BITCOIN, moment))
        return bool(await house.database.pool.fetchval("select observed_at = $1 from networks", moment))

    assert [await observed(seconds) for seconds in (STEP, STEP - 60, 0)] == [True, False, True]


async def test_a_backup_that_is_yet_to_be_made_says_nothing_for_long(database: Database) -> None:
    await database.pool.execute(
        "insert into backups (made_at, bytes, sha256) values (now() + interval '30 days', 1, '')"
    )
    age = await metrics.backup_age(database.pool)
    assert age is not None
    assert age > 29 * 86_400
