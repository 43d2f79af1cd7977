"""Questions of the same moment are asked together, and nobody is forgotten."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from kassa.core.errors import Conflict
from kassa.db.batch import Batch


class Oracle:
    """Answers every number by its double, when it is let; a negative one spoils the whole question."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()
        self.fault = fault or Conflict("negative")

    async def ask(self, keys: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(keys))
        await self.open.wait()
        if min(keys) < 0:
            raise self.fault
        return [2 * key for key in keys]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_come_while_a_query_runs_share_the_next_one() -> None:
    oracle = Oracle()
    batch = Batch(oracle.ask)
    first = asyncio.create_task(batch.get(1))
    await settle()
    rest = [asyncio.create_task(batch.get(key)) for key in (2, 2, 3)]
    await settle()

    oracle.open.set()

    assert await asyncio.gather(first, *rest) == [2, 4, 4, 6]
    assert oracle.asked == [[1], [2, 2, 3]]


async def test_the_next_query_begins_before_the_answers_of_the_last_are_handed_out() -> None:
    oracle = Oracle()
    batch = Batch(oracle.ask)
    seen: list[list[int]] = []

    async def get(key: int) -> None:
        await batch.get(key)
        seen.append(oracle.asked[-1])

    asking = [asyncio.create_task(get(1))]
    await settle()
    asking.append(asyncio.create_task(get(2)))
    await settle()
    oracle.open.set()
    await asyncio.gather(*asking)

    assert seen == [[2], [2]]


async def test_one_bad_question_spoils_no_other() -> None:
    oracle = Oracle()
    oracle.open.set()
    batch = Batch(oracle.ask)

    told = await asyncio.gather(*(batch.get(key) for key in (1, 2, -3, 4)), return_exceptions=True)

    assert [told[0], told[1], told[3]] == [2, 4, 8]
    assert isinstance(told[2], Conflict)
    assert await batch.get(5) == 10


async def test_what_may_have_been_written_is_not_asked_again() -> None:
    oracle = Oracle(ConnectionResetError())
    oracle.open.set()
    batch = Batch(oracle.ask)

    told = await asyncio.gather(*(batch.get(key) for key in (1, -2)), return_exceptions=True)

    assert [type(answer) for answer in told] == [ConnectionResetError, ConnectionResetError]
    assert oracle.asked == [[1, -2]]


@pytest.mark.parametrize("victim", range(4))
async def test_whoever_is_cancelled_takes_nobody_along(victim: int) -> None:
    oracle = Oracle()
    batch = Batch(oracle.ask)
    asking = []
    for key in range(4):
        asking.append(asyncio.create_task(batch.get(key)))
        await settle()

    asking[victim].cancel()
    await settle()
    oracle.open.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*asking, return_exceptions=True)

    others = [key for key in range(4) if key != victim]
    assert [told[key] for key in others] == [2 * key for key in others]
    assert isinstance(told[victim], asyncio.CancelledError)
    assert await batch.get(7) == 14


@pytest.mark.parametrize("steps", range(4))
async def test_nobody_waits_for_a_task_that_was_cancelled(steps: int) -> None:
    oracle = Oracle()
    batch = Batch(oracle.ask)
    asking = [asyncio.create_task(batch.get(1))]
    await asyncio.sleep(0)
    for _ in range(steps):  # before its first step, in it, while the query runs
        await asyncio.sleep(0)
    asking.append(asyncio.create_task(batch.get(2)))
    await asyncio.sleep(0)
    assert batch._asking is not None
    batch._asking.cancel()
    await settle()
    oracle.open.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*asking, return_exceptions=True)
    assert told[1] in (2 * 2, told[0])
    assert all(isinstance(each, int | ConnectionAbortedError) for each in told)  # one is asked for again or told
    assert await batch.get(7) == 14


@pytest.mark.parametrize("seed", range(20))
async def test_no_order_of_coming_going_and_failing_leaves_anyone_waiting(seed: int) -> None:
    chance = random.Random(seed)

    async def ask(keys: Sequence[int]) -> Sequence[int]:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.2:
            raise chance.choice([Conflict("no"), OSError()])
        return [2 * key for key in keys]

    batch = Batch(ask)
    asking = []
    for key in range(200):
        asking.append(asyncio.create_task(batch.get(key)))
        if chance.random() < 0.2:
            chance.choice(asking).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        told = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(answer, BaseException) or answer == 2 * key for key, answer in enumerate(told))


async def test_whoever_comes_the_moment_an_answer_arrives_is_asked_for_too() -> None:
    oracle = Oracle()
    oracle.open.set()
    batch = Batch(oracle.ask)

    async def one_after_the_other() -> None:
        for key in range(50):
            assert await batch.get(key) == 2 * key

    async with asyncio.timeout(5):
        await asyncio.gather(*(one_after_the_other() for _ in range(3)))
