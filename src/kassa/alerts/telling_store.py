"""What the operator's own receiver has been told of alerts: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import kassa.alerts.store as alerts
from kassa.alerts.model import Alert
from kassa.core.ahead import AHEAD
from kassa.db.pool import Tx

MOST = 20
_IS_DUE = """(tell_at <= $1
    or tell_at - make_interval(secs => ($6::int[])[least(tell_attempts, cardinality($6) - 1) + 1]) > $5)"""


@dataclass(frozen=True, slots=True)
class Telling:
    """An alert whose opening, or closing, this process may tell now; `attempts` were made before."""

    alert: Alert
    closing: bool
    attempts: int
    restored: bool = False
    """It happened before the chain was caught up with after a restore: it may have been told before, by another id."""

    @property
    def happened_at(self) -> datetime:
        """When the alert was opened, or closed."""
        return self.alert.closed_at if self.closing and self.alert.closed_at else self.alert.opened_at


async def claim(
    tx: Tx, now: datetime, until: datetime, oldest: timedelta, longest_waits: Sequence[int]
) -> Sequence[Telling]:
    """Take what is due to be told, oldest first; nobody else does before `until`. What ended long ago is left out.

    Kinds take turns: a thousand alerts of one kind do not keep the first of another waiting. `longest_waits`: seconds
    after which what failed 0, 1, … times is tried again at the latest; what is to wait longer was put off by a clock
    that was ahead.
    """
    rows = await tx.fetch(
        f"""update alerts set tell_at = $2, tell_attempts = tell_attempts + 1 where id in (
               select id from alerts join (
                   select id, row_number() over (partition by kind order by id) as turn from alerts
                   where (told_opened_at is null or (closed_at is not null and told_closed_at is null))
                     and {_IS_DUE} and (closed_at is null or closed_at > $3)
               ) due using (id)
               where {_IS_DUE}
               order by turn, id limit $4 for update of alerts skip locked)
           returning id, told_opened_at is not null as closing, tell_attempts - 1 as attempts,
               exists (select from restores r where coalesce(r.caught_up_at, 'infinity') >
                   case when told_opened_at is null then opened_at else closed_at end) as restored""",  # noqa: S608  # constants of this file
        now,
        until,
        now - oldest,
        MOST,
        now + AHEAD,
        list(longest_waits),
    )
    return [
        Telling(await alerts.get(tx, None, row["id"]), row["closing"], row["attempts"], row["restored"])
        for row in sorted(rows, key=lambda row: str(row["id"]))
    ]


async def note_told(tx: Tx, told: Telling, now: datetime) -> None:
    """Keep that an opening or closing was told, or given up."""
    await tx.execute(
        """update alerts set told_opened_at = coalesce(told_opened_at, $2), tell_at = '-infinity', tell_attempts = 0,
               told_closed_at = case when $3 then $2 end where id = $1""",
        told.alert.id,
        now,
        told.closing,
    )


async def note_untold(tx: Tx, telling: Telling, again_at: datetime) -> None:
    """Keep that telling failed, and when to try again."""
    await tx.execute("update alerts set tell_at = $2 where id = $1", telling.alert.id, again_at)
