"""The endless loop of an API process that keeps its count of unpaid addresses true."""

import asyncio

from kassa import flow
from kassa.house import House

EVERY_SECONDS = 2.0


async def count_unpaid(house: House) -> None:
    """Read anew, now and then, how far the keychains are of which addresses are taken here."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        await count_once(house)


async def count_once(house: House) -> None:
    """Read what matters of those keychains; nothing is asked where nothing was ordered."""
    keychains = house.unpaid.to_read()
    if keychains:
        await flow.recount(house, keychains)
