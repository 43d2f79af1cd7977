"""What to look for in blocks: the search keys of all our addresses and of what our payments spend.

Eight bytes per address, sorted, so a million addresses take 8 MB and a block's outputs are searched in one vector
operation. The database decides every match by the whole script; a key only says where to look.
"""

from datetime import timedelta
from typing import Any

import numpy as np
from asyncpg.pool import Pool
from numpy.typing import NDArray

from kassa.core.clock import Clock, SystemClock
from kassa.core.facts import Opened
from kassa.core.ids import first_id

Keys = NDArray[np.int64]
_EMPTY: Keys = np.empty(0, np.int64)
MOST_OPEN = 2_000
LATE = timedelta(days=7)
"""How long after it was issued an address is asked about though its business is over: somebody may pay late."""
_OPEN = """
select script, bool_or(open) as open from (
    select a.id, a.script, true as open
    from invoices i join payment_options o on o.invoice_id = i.id join addresses f on f.id = o.address_id
        join addresses a on a.keychain_id = f.keychain_id and a.index = f.index and a.network = $1
    where i.deadline is not null
    union all
    select id, script, true from addresses where customer_id is not null and network = $1
    union all
    select id, script, true from addresses where watched_for is not null and network = $1
    union all
    (select id, script, false from addresses where network = $1 and id >= $3 order by id desc limit $2 + 1)
) as asked group by id, script order by bool_or(open) desc, id desc limit $2 + 1
"""
# Rows of a database that was restored from a dump name transactions of another server, which may lie far ahead of this
# one's: they are read once, by the first refresh, and not again by each.
_REFRESH = """
with unborn as (
    select case when $2 = '0' then '18446744073709551615' else pg_snapshot_xmax(pg_current_snapshot()) end as first
)
select pg_snapshot_xmin(pg_current_snapshot())::text as horizon,
    (select array_agg(watch_key) from addresses
     where network = $1 and made_by >= $2::text::xid8 and made_by < (select first from unborn)) as destinations,
    (select array_agg(watch_key) from (
        select network, watch_key, made_by from payment_inputs
        union all select network, watch_key, made_by from ancestor_inputs
     ) as needed
     where network = $1 and made_by >= $2::text::xid8 and made_by < (select first from unborn)) as outpoints
"""


class WatchedKeys:
    """The keys of one network, kept in step with the database by `refresh`.

    A row's id, or its time, is handed out before its transaction commits, so "newer than the newest seen" would lose
    rows. Every row carries the transaction that made it; a refresh asks for all rows of transactions that were not yet
    finished at the refresh before.
    """

    def __init__(self, pool: "Pool[Any]", network: str, clock: Clock | None = None) -> None:
        self._pool = pool
        self._clock = clock or SystemClock()
        self._network = network
        self._unfinished = "0"
        self.destinations: Keys = _EMPTY
        self.outpoints: Keys = _EMPTY

    async def refresh(self) -> None:
        """Add the keys committed since the last refresh."""
        # One statement, one snapshot: its xmin is the oldest transaction that may still bring rows.
        row = await self._pool.fetchrow(_REFRESH, self._network, self._unfinished)
        self._unfinished = row["horizon"]
        self.destinations = _merged(self.destinations, row["destinations"])
        self.outpoints = _merged(self.outpoints, row["outpoints"])

    async def open(self) -> Opened:
        """Return the addresses of customers and of invoices still open, then those issued lately; `MOST_OPEN` at most.

        The newest first. Those of an invoice count on every network where it has one, offered there or not.
        """
        rows = await self._pool.fetch(_OPEN, self._network, MOST_OPEN, first_id("adr", self._clock.now() - LATE))
        return Opened(tuple([row["script"] for row in rows[:MOST_OPEN]]), left_out=len(rows) > MOST_OPEN)

    def add(self, destinations: list[int]) -> None:
        """Look for these destinations too."""
        self.destinations = _merged(self.destinations, destinations)


def _merged(held: Keys, found: list[int] | None) -> Keys:
    if found is None:
        return held
    # Not np.unique over everything: that takes 1.5 s for one key more in a million, an insertion 2 ms.
    fresh = np.sort(np.array(found, np.int64))
    fresh = fresh[np.concatenate(([True], fresh[1:] != fresh[:-1]))]
    if held.size:
        fresh = fresh[held[np.minimum(np.searchsorted(held, fresh), held.size - 1)] != fresh]
    if fresh.size == 0:
        return held
    # The array is replaced, never changed: a scan that runs in a thread keeps the one it began with.
    return np.insert(held, np.searchsorted(held, fresh), fresh)
