"""Tell the others what room is left on the volumes of this process: a detector judges them, wherever it runs."""

import asyncio
import socket

import kassa.alerts.disk_store as disks
from kassa.core.disks import rooms
from kassa.house import House

LOOK_SECONDS = 10


async def look_at_disks(house: House) -> None:
    """Look again and again until cancelled; processes of one machine that share a folder tell the same."""
    host = socket.gethostname()
    while True:
        seen = rooms(house.settings.folders)
        await house.database.run(lambda tx, seen=seen: disks.keep(tx, host, seen))  # type: ignore[misc]
        await asyncio.sleep(LOOK_SECONDS)
