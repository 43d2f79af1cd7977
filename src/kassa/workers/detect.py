"""A detector's round: it looks, again and again, and what it finds is told."""

import asyncio
from datetime import datetime, timedelta

import kassa.alerts.detector_store as detectors
from kassa import flow
from kassa.house import House

LOOK_SECONDS = 5
PATIENCE = timedelta(minutes=1)


async def detect(house: House, detector: flow.Detector) -> None:
    """Let a detector look once per interval until cancelled; of several processes one does it.

    A process that started a moment ago leaves patient ones to the others, whose judgement it does not hold up. So does
    one whose database was away, by which this ended and began again: what it judges has to come back as well.
    """
    started_at = house.clock.now()
    await house.database.run(lambda tx: detectors.enlist(tx, flow.expected(house.settings), started_at))
    while True:
        now = house.clock.now()
        if not detector.patient or abs(now - started_at) >= PATIENCE:
            await _look(house, detector, now)
        await asyncio.sleep(LOOK_SECONDS)


async def _look(house: House, detector: flow.Detector, now: datetime) -> None:
    if await house.database.run(lambda tx: detectors.begin(tx, detector.name, detector.every_seconds, now)):
        await house.database.run(lambda tx: flow.detect(tx, house, detector, now))
