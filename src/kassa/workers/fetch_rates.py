"""Fetch rates: ask each source in its own rhythm, store what it says, and say what is wrong, once when it begins."""

import asyncio
import os
import socket
from contextlib import suppress
from datetime import timedelta

import asyncpg
import structlog

import kassa.rates.store as rates
from kassa import flow
from kassa.core.errors import LeaseLost
from kassa.house import House
from kassa.rates.client import Client, Report
from kassa.rates.model import Alarm, AlarmKind, Pair
from kassa.rates.rules import backoff_seconds
from kassa.rates.sources import SOURCES, Source

log = structlog.get_logger()

LEASE_SECONDS = 15
TAKE_OVER_SECONDS = 1
ABSENT_SECONDS = 3_600
"""For so long a source is not asked again for a pair that it does not trade."""
THINNED_AT_ONCE = 10_000
_OF_SOURCES: tuple[AlarmKind, ...] = (AlarmKind.SOURCE_FAILED, AlarmKind.ANSWER_REFUSED)
_OF_PAIRS = tuple(kind for kind in AlarmKind if kind not in _OF_SOURCES)


async def fetch_rates(house: House) -> None:
    """Fetch until cancelled; stand by while another process does.

    Ends with `LeaseLost` when another process took the lease over: the caller starts it again.
    """
    fence = await _wait_for_lease(house)
    log.info("fetching rates", sources=",".join(house.settings.rates.sources))
    client = Client(house.clock, house.settings.rates.max_deviation)
    try:
        await _Fetcher(house, client, fence).run()
    finally:
        await client.close()
        await _release(house, fence)


async def _wait_for_lease(house: House) -> int:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    while True:
        async with house.database.transaction() as tx:
            fence = await rates.take_lease(tx, holder, LEASE_SECONDS)
            if fence is not None:
                await rates.end_alarms_of_others(tx, house.settings.rates.sources, house.clock.now())
        if fence is not None:
            return fence
        await asyncio.sleep(TAKE_OVER_SECONDS)


async def _release(house: House, fence: int) -> None:
    try:
        async with house.database.transaction() as tx:
            await rates.release_lease(tx, fence)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        # It runs out by itself; the next process only starts a few seconds later.
        log.warning("the lease on fetching rates could not be released", fault=str(fault))


class _Fetcher:
    """One holding of the lease. A task for each source, so that none waits for another, and one that judges."""

    def __init__(self, house: House, client: Client, fence: int) -> None:
        self._house, self._client, self._fence = house, client, fence
        self._stored = asyncio.Event()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_lease())
                group.create_task(self._judge_for_ever())
                for name in self._house.settings.rates.sources:
                    group.create_task(self._ask_for_ever(SOURCES[name]))
        except ExceptionGroup as faults:
            lost, others = faults.split(LeaseLost)
            if lost is None or others is not None:
                raise
            raise LeaseLost("another process asks the sources of rates now") from None

    async def _keep_lease(self) -> None:
        while True:
            async with self._house.database.transaction() as tx:
                await rates.hold(tx, self._fence, LEASE_SECONDS)
            await asyncio.sleep(LEASE_SECONDS / 4)

    async def _ask_for_ever(self, source: Source) -> None:
        settings = self._house.settings.rates
        url = settings.urls.get(source.name, source.url)
        every = max(settings.fetch_seconds, source.least_seconds)
        absent: dict[Pair, float] = {}
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            async with self._house.database.transaction() as tx:
                wanted = await flow.wanted_markets(tx, self._house)
            pairs = {pair for pair in wanted if absent.get(pair, 0) <= clock()}
            report = await self._client.ask(source, url, pairs)
            absent |= dict.fromkeys(report.absent, clock() + ABSENT_SECONDS)
            named = {pair for pair in wanted if source.path(pair) is not None}
            if report.failed is None and named and all(absent.get(pair, 0) > clock() for pair in named):
                # An exchange that moved its API says "not found" too.
                report.failed = "it trades none of the pairs that are needed"
            await self._store(source, report)
            failures = failures + 1 if report.failed else 0
            await asyncio.sleep(backoff_seconds(every, failures, report.retry_after))

    async def _store(self, source: Source, report: Report) -> None:
        now = self._house.clock.now()
        kinds = _OF_SOURCES
        present = [
            Alarm(AlarmKind.ANSWER_REFUSED, source.name, str(pair), said) for pair, said in report.refused.items()
        ]
        if report.failed is not None:
            # Not everything was asked: what was said of other answers stands.
            kinds, present = _OF_SOURCES[:1], [Alarm(AlarmKind.SOURCE_FAILED, source.name, "", report.failed)]
        async with self._house.database.transaction() as tx:
            await rates.hold(tx, self._fence, LEASE_SECONDS)
            await rates.put_quotes(tx, report.quotes)
            opened, closed = await rates.note_alarms(tx, kinds, source.name, present, now)
        _say(opened, closed)
        self._stored.set()

    async def _judge_for_ever(self) -> None:
        while True:
            # Quotes grow too old also when nobody stores any.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._house.settings.rates.fetch_seconds):
                    await self._stored.wait()
            await asyncio.sleep(1)  # sources answer together: judge what they say, not who was first
            self._stored.clear()
            await self._judge()

    async def _judge(self) -> None:
        now = self._house.clock.now()
        async with self._house.database.transaction() as tx:
            await rates.hold(tx, self._fence, LEASE_SECONDS)
            present = await flow.rate_alarms(tx, self._house, now)
            opened, closed = await rates.note_alarms(tx, _OF_PAIRS, None, present, now)
            kept = timedelta(days=self._house.settings.rates.keep_days)
            await rates.thin(tx, now - kept, THINNED_AT_ONCE)
            await flow.note_round(tx, self._house, flow.RATE_SOURCES, now)
        _say(opened, closed)


def _say(opened: list[Alarm], closed: list[Alarm]) -> None:
    for alarm in opened:
        log.warning(
            "rates: something is wrong", kind=alarm.kind, source=alarm.source, pair=alarm.pair, detail=alarm.detail
        )
    for alarm in closed:
        log.info("rates: it is well again", kind=alarm.kind, source=alarm.source, pair=alarm.pair)
