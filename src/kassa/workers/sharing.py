"""Part of following a network: what a keychain issued elsewhere, before it came here, is watched here."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from kassa import flow
from kassa.house import House
from kassa.wallets.store import Keychain

log = structlog.get_logger()

SETTLED = timedelta(minutes=1)
"""After so long no invoice is made any more by how the wallets were before: it is looked through once more then."""


class Sharing:
    """Which keychains were looked through for a network. Forgotten with its follower: each looks through all anew."""

    def __init__(self, house: House, network: str) -> None:
        self._house = house
        self._network = network
        self._again: dict[int, datetime | None] = {}

    async def go_on(self, keychains: Sequence[Keychain]) -> None:
        """Look through those of a network's keychains that are new here, or whose second time has come."""
        now = self._house.clock.now()
        for keychain in keychains:
            if len(keychain.networks) <= 1:
                continue
            if keychain.id not in self._again:
                await self._share(keychain)
                self._again[keychain.id] = now + SETTLED
            elif (due := self._again[keychain.id]) is not None and due <= now:
                await self._share(keychain)
                self._again[keychain.id] = None

    async def _share(self, keychain: Keychain) -> None:
        below: int | None = flow.ABOVE_ALL
        while below is not None:
            below = await self._house.database.run(
                lambda tx, below=below: flow.share_addresses(  # type: ignore[misc]
                    tx, self._house, keychain.id, keychain.descriptor, self._network, below
                )
            )
            if below is not None:
                log.info("addresses issued elsewhere are watched here too", network=self._network, down_to_index=below)
