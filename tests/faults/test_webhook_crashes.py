"""Crashes and outages on the way to a receiver: every event arrives, in order; repeats share their id."""

import asyncio
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest

from kassa.db.pool import Database, Tx
from kassa.main import serve
from kassa.webhooks import poster
from kassa.webhooks import store as webhooks
from kassa.webhooks.model import Change
from kassa.workers.send_webhooks import FINISH_SECONDS, send_webhooks
from tests.sizes import size
from tests.tools.sending import Shop, open_shop, until
from tests.tools.sink import Sink, hang, reset, status

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> Shop:
    return await open_shop(database, tmp_path)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as opened:
        yield opened


@asynccontextmanager
async def sender(database_url: str, folder: Path, crash: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the real sender in a process of its own, killed at the end (or by itself, at its crash point)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "tests.tools.sending", database_url, str(folder)),
        cwd=ROOT,
        env=os.environ | {"KASSA_CRASH": crash},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("ends", ["cancelled", "stopped"])
async def test_a_post_under_way_is_finished_and_recorded_before_the_end(shop: Shop, sink: Sink, ends: str) -> None:
    ending = threading.Event()

    async def answered_at_the_end(writer: asyncio.StreamWriter) -> None:
        while not ending.is_set():  # noqa: ASYNC110  # it is another thread's
            await asyncio.sleep(0.01)
        await status(200)(writer)

    sink.default = answered_at_the_end
    await shop.endpoint(sink.url, "invoice.*")  # not what detectors may find meanwhile
    stop = asyncio.Event()
    running = send_webhooks(shop.house) if ends == "cancelled" else serve(shop.house, ["work"], stop)
    sending = asyncio.ensure_future(running)
    # One train of one invoice: the first is under way when the end comes.
    await shop.write(*(shop.event(n) for n in range(3)))
    await sink.until(lambda: len(sink.got) == 1)

    if ends == "cancelled":
        sending.cancel()
    stop.set()
    await asyncio.sleep(0.5)  # the sender's own steps to its end take none of the clock
    ending.set()
    await asyncio.wait([sending], timeout=30)

    assert sending.done()
    assert await shop.states() == {"delivered": 1, "due": 2}
    assert [attempt["status_code"] for attempt in await shop.attempts()] == [200]
    assert len(sink.got) == 1
    claimed = "select count(*) from deliveries where claimed_until is not null or due_at > now()"
    assert await shop.database.pool.fetchval(claimed) == 0


async def test_a_receiver_that_never_answers_holds_the_end_up_for_seconds_only(
    shop: Shop, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster, "TOTAL_SECONDS", 100)  # so that it is not the post that ends
    sink.default = hang
    await shop.endpoint(sink.url)
    sending = asyncio.create_task(send_webhooks(shop.house))
    await shop.write(shop.event(1))
    await sink.until(lambda: len(sink.got) == 1)
    sending.cancel()
    await asyncio.wait([sending], timeout=FINISH_SECONDS + 30)
    assert sending.done()
    assert await shop.states() == {"due": 1}


@pytest.mark.parametrize("point", ["webhook.claimed", "webhook.sent", "webhook.recorded"])
@pytest.mark.parametrize("passes", [1, 3])
async def test_d2_a_process_killed_anywhere_loses_nothing(
    shop: Shop, sink: Sink, database_url: str, tmp_path: Path, point: str, passes: int
) -> None:
    await shop.endpoint(sink.url)
    written = 0
    async with sender(database_url, tmp_path, f"{point}:{passes}") as process:

        async def dead() -> bool:
            nonlocal written
            # Enough for the next pass: a machine on which it starts slowly would have thousands to send in the end.
            if process.returncode is None and (await shop.states()).get("due", 0) < 10:
                await shop.write(shop.event(written, written))
                written += 1
            return process.returncode is not None

        await until(dead)
        assert process.returncode == -signal.SIGKILL
    await shop.due_now(dead=True)
    async with sender(database_url, tmp_path):
        await shop.until_states(delivered=written)
    _each_arrived_under_one_id(sink, written)
    assert len(sink.got) > written or point != "webhook.sent"


async def test_d2_a_thousand_that_were_queued_survive_two_kills(
    shop: Shop, sink: Sink, database_url: str, tmp_path: Path
) -> None:
    await shop.endpoint(sink.url)
    await shop.events(1000)
    for point in ("webhook.recorded:2", "webhook.sent:40"):
        async with sender(database_url, tmp_path, point) as process:
            assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
        assert (await shop.states())["due"] > 0
        await shop.due_now(dead=True)
    async with sender(database_url, tmp_path):
        await shop.until_states(delivered=1000)
    _each_arrived_under_one_id(sink, 1000)


def _each_arrived_under_one_id(sink: Sink, count: int) -> None:
    ids = {(got.event["data"]["object"]["n"], got.headers["webhook-id"]) for got in sink.got}
    assert sorted(n for n, _ in ids) == list(range(count))


async def test_d2_a_dead_process_holds_its_claims_for_half_a_minute_only(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = hang
    async with shop.sending():
        await shop.write(shop.event(1))
        await sink.until(lambda: len(sink.got) == 1)
    sink.default = status(200)
    async with shop.sending():
        assert await shop.states() == {"due": 1}
        shop.clock.ahead += timedelta(seconds=31)
        await shop.until_states(delivered=1)
    assert len({got.headers["webhook-id"] for got in sink.got}) == 1


@pytest.mark.catalogue
async def test_d16_six_hours_of_errors_and_three_kills_lose_nothing(
    shop: Shop, sink: Sink, database_url: str, tmp_path: Path
) -> None:
    """Six hours by the clock of shop and sender, which is moved when nothing is under way; the pauses are real."""
    await shop.endpoint(sink.url)
    steps, written = size(8, 24), 0
    for answer in (status(500), status(503), reset):
        sink.default = answer
        async with sender(database_url, tmp_path):
            for _ in range(steps):
                await shop.pass_time(timedelta(hours=2) / steps)
                await shop.write(*[shop.event(written + n, (written + n) % 4) for n in range(4)])
                written += 4
                await shop.rested()
            sink.default, before = hang, len(sink.got)
            await shop.pass_time(timedelta(hours=3))  # whatever waits is due
            await sink.until(lambda before=before: len(sink.got) > before)  # type: ignore[misc]
        # It was killed while the receiver was silent.
    assert await shop.states() == {"due": written}
    down, sink.default = len(sink.got), status(200)
    assert down < 15 * written  # each by its own pauses, and the oldest once more when a younger one is due
    async with sender(database_url, tmp_path):
        await shop.pass_time(timedelta(minutes=1))  # what the dead one held is free
        await shop.until_states(delivered=written)
    _all_in_order(sink, down, written)


def _all_in_order(sink: Sink, down: int, written: int) -> None:
    """Check that, from a message on, every event has come, and those of each invoice in their order."""
    taken = [got.event for got in sink.got[down:]]
    assert sorted(event["data"]["object"]["n"] for event in taken) == list(range(written))
    for invoice in range(4):
        mine = [event["sequence"] for event in taken if event["data"]["object"]["id"] == f"inv_{invoice}"]
        assert mine == sorted(mine)


async def test_d16_one_success_hurries_what_still_waits(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    sink.default = status(500)
    async with shop.sending():
        await shop.events(10)
        await shop.attempted(10)
        sink.default = status(200)
        # The first to be due again finds the receiver well; the others do not wait out their hours.
        await shop.database.pool.execute(
            "update deliveries set due_at = due_at + interval '3 hours' where position > 1"
        )
        await shop.until_states(delivered=10)


async def test_d18_several_processes_keep_the_order_of_an_invoice(
    shop: Shop, sink: Sink, database_url: str, tmp_path: Path
) -> None:
    hooks = [await shop.endpoint(f"{sink.url}/{n}") for n in range(10)]

    async def switch(tx: Tx, *, disabled: bool) -> None:
        for hook in hooks:
            await webhooks.update_endpoint(tx, shop.store_id, hook.id, Change(disabled=disabled), shop.clock.now())

    async with sender(database_url, tmp_path), sender(database_url, tmp_path), sender(database_url, tmp_path):
        for n in range(1, 4):
            await shop.events(100, invoices=20)
            # They were away; once they are back, every process finds the same work at the same moment.
            for disabled in (True, False):
                await shop.database.run(partial(switch, disabled=disabled))
                await shop.rested()
            await shop.until_states(delivered=1000 * n)
    came = defaultdict(list)
    for got in sink.got:
        came[got.path, got.event["data"]["object"]["id"]].append(got.event["sequence"])
    assert [line for line in came.values() if line != sorted(line)] == []
    assert len(sink.got) == 3000


@pytest.mark.catalogue
async def test_d18_a_naive_receiver_that_checks_the_sequence_ends_at_the_truth(shop: Shop, sink: Sink) -> None:
    await shop.endpoint(sink.url)
    random, invoices = Random(18), size(100, 1_000)
    flaky = [status(200)] * 6 + [status(500), reset, status(200, delay=0.02)]

    async def moody(writer: asyncio.StreamWriter) -> None:
        await random.choice(flaky)(writer)

    sink.default = moody
    # A history of one event at least, and of as many more as chance has it.
    happened = [*range(invoices), *random.choices(range(invoices), k=5 * invoices)]
    async with shop.sending():
        for start in range(0, len(happened), 100):
            part = happened[start : start + 100]
            await shop.write(*[shop.event(start + n, invoice) for n, invoice in enumerate(part)])
        for _ in range(size(200, 1_000)):
            await shop.due_now()
            await asyncio.sleep(0.05)
            if await shop.states() == {"delivered": len(happened)}:
                break
        sink.default = status(200)

        async def all_came() -> bool:
            await shop.due_now()  # again and again: what was under way at the first may have failed, and wait for hours
            return await shop.states() == {"delivered": len(happened)}

        await until(all_came, size(30, 300))
    last: dict[str, tuple[int, int]] = {}
    for event in sink.bodies():
        seen = event["data"]["object"]
        if event["sequence"] > last.get(seen["id"], (0, 0))[0]:
            last[seen["id"]] = (event["sequence"], seen["n"])
    assert {invoice: n for invoice, (_, n) in last.items()} == {
        f"inv_{invoice}": n for n, invoice in enumerate(happened)
    }
