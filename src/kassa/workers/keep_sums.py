"""The endless loop that adds what is over to the sums that pages are answered from."""

import asyncio

from kassa import flow
from kassa.house import House

EVERY_SECONDS = 600


async def keep_sums(house: House) -> None:
    """Add them up until cancelled; any number of processes may do it. Where none did, answers take longer."""
    while True:
        if not await house.database.run(lambda tx: flow.keep_sums(tx, house.clock.now())):
            await asyncio.sleep(EVERY_SECONDS)
