"""Send webhooks: number new events, claim what is due, post it, write down what came of it."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from secrets import randbelow
from typing import Any

import structlog

from kassa import measures, tracing
from kassa.core.ahead import AHEAD
from kassa.core.correlation import correlated
from kassa.core.crashpoint import crashpoint
from kassa.db.pool import Tx
from kassa.events import store as events
from kassa.events.model import Published
from kassa.events.resource import event_resource
from kassa.house import House
from kassa.webhooks import queue_store as queue
from kassa.webhooks.model import Answer, Claimed, Delivered, GaveUp, Gone, Lane, Outcome, Postponed, Result, RetryAt
from kassa.webhooks.poster import Poster
from kassa.webhooks.rules import holds_back, outcome, sign

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
"""After this, a claimed delivery is assumed to have died with its process. No post begins in its second half."""
FINISH_SECONDS = 7
"""Of the ten within which a process must be gone, for posts under way; one that is cut off is sent again."""
POSTS = 256
"""Posts under way in this process; at most half of them for one store."""
PULL_BACK_EVERY = timedelta(seconds=1)
BATCH = 50
FIRST_WIDTH, MAX_WIDTH = 4, 32
"""Posts under way in one lane: at first, and for a receiver that keeps taking them. One that is mute gets one."""
LANES_AT_ONCE = 200
RESULTS = {Delivered: "delivered", RetryAt: "retry", GaveUp: "gave_up", Gone: "gone"}
_PAUSES = (0.005, 0.02, 0.1, 1.0)
# Seconds to the next look unless woken, longer after each that found nothing: a hint may be early (see
# `events.CHANNEL`), or lost.


async def send_webhooks(house: House) -> None:
    """Send until cancelled, then let the posts under way be answered, for some seconds, and write down what came.

    Any number of processes may do it side by side; one that dies loses nothing.
    """
    poster = Poster(private=house.settings.webhooks.allow_private_addresses)
    try:
        async with asyncio.TaskGroup() as posts:
            sender = _Sender(house, poster, posts)
            recorder = posts.create_task(sender.record())
            try:
                async with asyncio.TaskGroup() as loops:
                    loops.create_task(sender.listen())
                    loops.create_task(sender.dispatch())
            finally:
                await sender.finish(recorder)
    finally:
        await poster.close()


class _Sender:
    """What this process has under way. Everything that matters after its death is in the database."""

    def __init__(self, house: House, poster: Poster, group: asyncio.TaskGroup) -> None:
        self._house, self._poster, self._group = house, poster, group
        self._woken = asyncio.Event()
        self._done: asyncio.Queue[Result | Postponed] = asyncio.Queue()
        self._trains: set[asyncio.Task[None]] = set()
        self._lanes: Counter[str] = Counter()  # trains under way
        self._stores: Counter[str] = Counter()
        self._width: dict[str, int] = {}
        self._posted = measures.Posted()
        self._waking: asyncio.TimerHandle | None = None
        self._behind = ""  # the lane at which the next turn goes on
        self._ending = False
        self._looked_at = datetime.max.replace(tzinfo=UTC)  # for what waits for a moment that is too far away
        self._verbose = house.settings.log.level == "debug"

    async def finish(self, recorder: asyncio.Task[None]) -> None:
        """Begin no more posts; wait for those under way and for what came of them to be written down."""
        self._ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS), asyncio.TaskGroup() as group:
                written = group.create_task(self._written())
                # It may have failed; then nothing is written any more.
                await asyncio.wait([written, recorder], return_when=asyncio.FIRST_COMPLETED)
                written.cancel()

    async def _written(self) -> None:
        while self._trains:
            await asyncio.wait(self._trains)
        await self._done.join()

    async def listen(self) -> None:
        """Wake the dispatcher whenever events were committed. Without a connection, it looks every second by itself."""
        async with self._house.database.pool.acquire() as connection:
            closed = asyncio.Event()
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(events.CHANNEL, self._wake)
            try:
                await closed.wait()
            finally:
                if not connection.is_closed():
                    await connection.remove_listener(events.CHANNEL, self._wake)
        raise ConnectionError("the database closed the connection that listens for events")

    def _wake(self, *_: Any) -> None:  # asyncpg's connection, process, channel, payload
        self._woken.set()

    async def dispatch(self) -> None:
        """Look for work, hand it out, wait for more."""
        idle = 0
        while True:
            self._woken.clear()
            published, found = await self._house.database.run(self._take)
            for each in published:
                measures.published(each.type, each.network, each.seconds)
            for train in found:
                self._start(train)
            idle = 0 if found else min(idle + 1, len(_PAUSES) - 1)
            if await self._wait(_PAUSES[idle]):
                idle = 0

    async def _wait(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._woken.wait()
        except TimeoutError:
            return False

    async def _take(self, tx: Tx) -> tuple[list[Published], list[tuple[Claimed, ...]]]:
        published = await events.number(tx)
        now = self._house.clock.now()
        if not timedelta() <= now - self._looked_at < PULL_BACK_EVERY:
            await queue.pull_back(tx, now, now + LEASE, whole=now < self._looked_at - AHEAD)
            self._looked_at = now
        # Round the lanes from where the last turn ended, so that each gets its turn however many there are.
        for behind in dict.fromkeys((self._behind, "")):
            after = behind
            while page := await queue.lanes(tx, after, LANES_AT_ONCE):
                after = page[-1].name
                room = self._room(page, now)
                if room and (trains := await queue.claim(tx, room, now, now + LEASE)):
                    self._behind = list(room)[-1]
                    return published, trains
        return published, []

    def _room(self, lanes: Iterable[Lane], now: datetime) -> dict[str, int]:
        room: dict[str, int] = {}
        wanted = min(BATCH, POSTS - self._lanes.total())
        for lane in lanes:
            free = self._width.get(lane.name, FIRST_WIDTH) - self._lanes[lane.name]
            store_full = self._stores[_store(lane.name)] >= POSTS // 2
            if wanted > 0 and lane.due_at is not None and lane.due_at <= now and free > 0 and not store_full:
                room[lane.name] = min(free, wanted)
                wanted -= min(free, FIRST_WIDTH)
        return room

    def _start(self, train: tuple[Claimed, ...]) -> None:
        self._lanes[train[0].lane] += 1
        self._stores[_store(train[0].lane)] += 1
        sending = self._group.create_task(self._send(train))
        self._trains.add(sending)
        sending.add_done_callback(self._trains.discard)

    async def _send(self, train: tuple[Claimed, ...]) -> None:
        crashpoint("webhook.claimed")
        stop = self._house.clock.now() + LEASE / 2
        not_before: datetime | None = None
        taken = False
        try:
            for delivery in train:
                # To a receiver that takes what comes, what it passes goes first: claimed anew, even before its time.
                yields = self._ending or (taken and delivery.passes)
                if not_before is None and (yields or self._house.clock.now() > stop):
                    not_before = min(stop, self._house.clock.now())
                if not_before is not None:
                    self._done.put_nowait(Postponed(delivery, not_before))
                    continue
                with correlated(delivery.correlation), tracing.span("delivery", delivery=delivery.id):
                    result = await self._post(delivery)
                self._done.put_nowait(result)
                not_before = _rest_until(result)
                taken = taken or isinstance(result.outcome, Delivered)
        finally:
            self._end(train[0].lane)

    async def _post(self, delivery: Claimed) -> Result:
        started = self._house.clock.now()
        clock = asyncio.get_running_loop().time
        began = clock()
        body = event_resource(delivery.event, livemode=delivery.livemode)
        timestamp = int(started.timestamp())
        headers = {
            "webhook-id": delivery.event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(delivery.secrets, delivery.event.id, timestamp, body),
        }
        if delivery.restored:
            headers["webhook-restored"] = "true"
        reply = await self._poster.post(delivery.url, headers, body)
        crashpoint("webhook.sent")
        seconds = clock() - began
        answer = Answer(started, round(seconds * 1000), reply.status_code, reply.error, reply.response)
        jitter = Fraction(randbelow(1000), 1000)
        decided = outcome(
            reply.status_code, delivery.attempts + 1, delivery.created_at, self._house.clock.now(), jitter
        )
        self._tell(delivery, answer, RESULTS[type(decided)])
        measures.ATTEMPTS.labels(RESULTS[type(decided)]).inc()
        self._posted.note(delivery.lane, delivered=isinstance(decided, Delivered))
        measures.ATTEMPT_SECONDS.observe(seconds)
        self._widen(delivery.lane, reply.status_code, decided)
        return Result(delivery, answer, decided)

    def _tell(self, delivery: Claimed, answer: Answer, result: str) -> None:
        if result == "delivered" and not self._verbose:
            return
        log.info(
            "webhook", delivery=delivery.id, event_id=delivery.event.id, type=delivery.event.type, result=result,
            status=answer.status_code, error=answer.error, ms=answer.duration_ms,
        )  # fmt: skip

    def _widen(self, lane: str, status_code: int | None, decided: Outcome) -> None:
        width = self._width.get(lane, FIRST_WIDTH)
        if isinstance(decided, Delivered):
            self._width[lane] = min(MAX_WIDTH, width + 1)
        else:
            # No answer at all costs a slot for ten seconds; an answer, even a bad one, does not.
            self._width[lane] = 1 if status_code is None else max(1, width // 2)

    def _end(self, lane: str) -> None:
        for counter, name in ((self._lanes, lane), (self._stores, _store(lane))):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        if len(self._width) > 10_000:
            self._width = {name: width for name, width in self._width.items() if name in self._lanes}
        self._wake_soon()

    def _wake_soon(self) -> None:
        # Room comes one post at a time: a look for each of them would cost more than the posts.
        if self._waking is None or self._waking.when() <= asyncio.get_running_loop().time():
            self._waking = asyncio.get_running_loop().call_later(_PAUSES[0], self._woken.set)

    async def record(self) -> None:
        """Write down results, all that have gathered while the last ones were written."""
        while True:
            gathered = [await self._done.get()]
            while len(gathered) < 500 and not self._done.empty():
                gathered.append(self._done.get_nowait())
            results = [each for each in gathered if isinstance(each, Result)]
            postponed = [each for each in gathered if isinstance(each, Postponed)]
            now = self._house.clock.now()
            await self._house.database.run(
                lambda tx, r=results, p=postponed, now=now: queue.record(tx, r, p, now)  # type: ignore[misc]
            )
            for _ in gathered:
                self._done.task_done()
            crashpoint("webhook.recorded")
            self._wake_soon()


def _rest_until(result: Result) -> datetime | None:
    match result.outcome:
        case RetryAt(at) if holds_back(result.delivery.attempts + 1):
            return at
        case Gone():
            return result.answer.started_at  # put aside, with everything that waits for the endpoint
        case _:
            return None


def _store(lane: str) -> str:
    return lane.partition(" ")[0]
