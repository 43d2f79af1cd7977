"""The guard's round: every wallet, every open invoice's addresses and every customer's, over and over."""

import asyncio
from time import monotonic

from kassa import flow
from kassa.house import House
from kassa.invoices.deadline_store import FIRST_TURN, Turn

ROUND_SECONDS = 60
"""Rest between two rounds."""
PAGE = 100
REST = 9
"""Times that a page took, to rest after it: at most a tenth of a core is used, however many invoices are open."""


async def check_addresses(house: House) -> None:
    """Check wallets and addresses until cancelled; any number of processes may do it side by side."""
    while True:
        await house.database.run(lambda tx: flow.check_wallets(tx, house, house.clock.now()))
        turn: Turn | None = FIRST_TURN
        while turn is not None:
            began = monotonic()
            now = house.clock.now()
            turn = await house.database.run(
                lambda tx, turn=turn, now=now: flow.check_addresses(tx, house, turn, PAGE, now)  # type: ignore[misc]
            )
            await asyncio.sleep(REST * (monotonic() - began))
        place: str | None = ""
        while place is not None:
            began = monotonic()
            now = house.clock.now()
            place = await house.database.run(
                lambda tx, place=place, now=now: flow.check_deposits(tx, house, place, PAGE, now)  # type: ignore[misc]
            )
            await asyncio.sleep(REST * (monotonic() - began))
        await house.database.run(lambda tx: flow.note_round(tx, house, flow.ADDRESSES, house.clock.now()))
        await asyncio.sleep(ROUND_SECONDS)
