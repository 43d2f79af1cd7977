"""The clock's gate: invoices and payment links whose deadline has passed, and what needs no longer be kept."""

import asyncio
from datetime import datetime, timedelta

import kassa.people.session_store as sessions
import kassa.stores.store as stores
import kassa.watch.store as watch
from kassa import flow
from kassa.core.correlation import correlated
from kassa.house import House

TICK_SECONDS = 0.5
BATCH = 100
KEEP_ANSWERS = timedelta(hours=48)
FORGOTTEN_AT_ONCE = 5_000
_FORGET_EVERY = timedelta(minutes=10)
_NOTED_EVERY = timedelta(seconds=flow.ROUNDS[flow.DEADLINES])


async def tick(house: House) -> None:
    """Reassess invoices at their deadlines until cancelled; any number of processes may do it side by side."""
    forgotten_at = house.clock.now()
    noted_at = forgotten_at - _NOTED_EVERY
    while True:
        now = house.clock.now()
        with correlated():
            done = await house.database.run_to_end(lambda tx, now=now: flow.on_deadlines(tx, house, now, BATCH))  # type: ignore[misc]
        done = max(done, await house.database.run(lambda tx, now=now: flow.on_link_deadlines(tx, house, now, BATCH)))  # type: ignore[misc]
        await house.database.run(lambda tx, now=now: flow.on_wallet_changes(tx, house, now))  # type: ignore[misc]
        if abs(now - noted_at) >= _NOTED_EVERY:
            await house.database.run(lambda tx, now=now: flow.note_round(tx, house, flow.DEADLINES, now))  # type: ignore[misc]
            noted_at = now
        # Also where the clock was set back: else neither were done until it is as late again.
        if abs(now - forgotten_at) > _FORGET_EVERY:
            await house.database.run(watch.note_caught_up)
            if await _forget(house, now) < FORGOTTEN_AT_ONCE:
                forgotten_at = now
        if done < BATCH:
            await asyncio.sleep(TICK_SECONDS)


async def _forget(house: House, now: datetime) -> int:
    """Delete one bite: what a long stop or a flood has left must not keep invoices from their deadlines."""
    answers = await house.database.run(lambda tx: stores.forget_answers(tx, now - KEEP_ANSWERS, FORGOTTEN_AT_ONCE))
    return max(answers, await house.database.run(lambda tx: sessions.forget(tx, now, FORGOTTEN_AT_ONCE)))
