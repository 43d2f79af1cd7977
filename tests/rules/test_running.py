"""A loop that fails starts again, later each time, and stays alone in its failure."""

import asyncio
import subprocess
import sys

import pytest

from kassa import main
from kassa.core.errors import ChainInvalid, LeaseLost


# The last is what CPython 3.11 may leave behind where several parts of nested groups fail in the same moment.
@pytest.mark.parametrize(
    "fault",
    [ValueError("unforeseen"), ChainInvalid("other chain"), LeaseLost("other"), None, asyncio.CancelledError()],
)
async def test_a_loop_that_ends_starts_again(monkeypatch: pytest.MonkeyPatch, fault: BaseException | None) -> None:
    monkeypatch.setattr(main, "FIRST_PAUSE_SECONDS", 0)
    runs, enough = 0, asyncio.Event()

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
        if fault is not None:
            raise fault

    task = asyncio.create_task(main.keep_running("test", loop))
    async with asyncio.timeout(5):
        await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def remember(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            raise asyncio.CancelledError

    async def loop() -> None:
        raise ValueError("always")

    monkeypatch.setattr(main.asyncio, "sleep", remember)
    with pytest.raises(asyncio.CancelledError):
        await main.keep_running("test", loop)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_cancelled_loop_ends() -> None:
    task = asyncio.create_task(main.keep_running("test", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_loop_that_fails_as_it_is_cancelled_ends() -> None:
    begun = asyncio.Event()

    async def fail() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it ended")

    async def loop() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    task = asyncio.create_task(main.keep_running("test", loop))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


def test_a_thread_that_never_ends_does_not_outlast_a_signal() -> None:
    # What a look-up at a mute name server is. It ends by itself so that a failure of this test ends, too.
    program = """
import asyncio, signal, threading, time
from kassa import main
main.EXIT_SECONDS = 0.5
async def run():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main._stop_soon, stop)
    threading.Thread(target=time.sleep, args=(150,)).start()
    signal.raise_signal(signal.SIGTERM)
    await stop.wait()
asyncio.run(run())
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=100, capture_output=True)

    assert ended.returncode == 1
