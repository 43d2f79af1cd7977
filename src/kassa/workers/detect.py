"""A detector's round: it looks, again and again, and what it finds is told."""

import asyncio

import kassa.alerts.detector_store as detectors
from kassa import flow
from kassa.house import House

LOOK_SECONDS = 5


async def detect(house: House, detector: flow.Detector) -> None:
    """Let a detector look once per interval until cancelled; of several processes one does it."""
    while True:
        now = house.clock.now()
        if await house.database.run(
            lambda tx, now=now: detectors.begin(tx, detector.name, detector.every_seconds, now)  # type: ignore[misc]
        ):
            await house.database.run(lambda tx, now=now: flow.detect(tx, house, detector, now))  # type: ignore[misc]
        await asyncio.sleep(LOOK_SECONDS)
