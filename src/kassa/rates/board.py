"""The last readings of each source in this process's memory: most invoices are priced without asking the database."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncpg.pool import Pool

import kassa.rates.store as rates
from kassa.db.pool import Database
from kassa.rates.model import Pair, Quote

KEPT = timedelta(seconds=1)
"""How long quotes are held. Each carries its own time, so none is ever used beyond the age that the settings allow."""

Asked = tuple[tuple[Pair, ...], tuple[str, ...], datetime]


class Board:
    """Holds the quotes of market pairs for `KEPT`, by our clock; callers of the same moment share one question."""

    def __init__(self) -> None:
        self._held: dict[Pair, tuple[datetime, tuple[Quote, ...]]] = {}

    async def readings(
        self, database: Database, pairs: Collection[Pair], sources: Sequence[str], now: datetime
    ) -> dict[Pair, tuple[Quote, ...]]:
        """Return what each source said last of pairs, and before; what was stored in the last second may be missing."""
        return (await self.readings_until(database, pairs, sources, now))[0]

    async def readings_until(
        self, database: Database, pairs: Collection[Pair], sources: Sequence[str], now: datetime
    ) -> tuple[dict[Pair, tuple[Quote, ...]], datetime]:
        """Return what `readings` does, and the moment until which it returns the same."""
        if not sources:
            return {}, now + KEPT
        found = {}
        oldest = now
        for pair in pairs:
            read_at, quotes = self._held.get(pair, (None, ()))
            if read_at is not None and now - KEPT < read_at <= now:
                found[pair] = quotes
                oldest = min(oldest, read_at)
        if old := tuple(pair for pair in pairs if pair not in found):
            asked = await database.ask(_ask, (old, tuple(sources), now))
            self._held |= {pair: (now, quotes) for pair, quotes in asked.items()}
            found |= asked
        return found, oldest + KEPT - timedelta.resolution


async def _ask(pool: "Pool[Any]", asked: Sequence[Asked]) -> list[dict[Pair, tuple[Quote, ...]]]:
    # All that ask at once are of one installation: the same sources, and nearly the same moment. The earliest one, for
    # nobody may be told what was not yet known at his own.
    pairs = {pair for each in asked for pair in each[0]}
    _, sources, _ = asked[0]
    found = await rates.readings(pool, sorted(pairs), sources, min(moment for _, _, moment in asked))
    return [{pair: found[pair] for pair in each[0]} for each in asked]
