"""How far the addresses of a keychain were issued and used: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asyncpg.pool import Pool

from kassa.db.pool import Tx

_OPEN = timedelta(days=1)
_FIRST_SECONDS = 3_600
# Every index from a first one up to an end that was paid, with its distance from the one before.
_STEPS = """
used as (
    select distinct a.index from addresses a
    where a.keychain_id = asked.id and a.index >= (select first from bounds) and a.index < (select until from bounds)
      and exists (select from payments p where p.address_id = a.id and p.block_height is not null)
), steps as (
    select index, index - lag(index, 1, (select last_used from bounds)) over (order by index) as step from used
)
"""
_GAPS = f"""
select asked.id, asked.next_index, gap.last_used, gap.longest from keychains asked cross join lateral (
    with kept as (select below, last_used, longest from keychain_gaps where keychain_id = asked.id), bounds as (
        select coalesce((select below from kept), 0) as first, 2::bigint << 40 as until,
            coalesce((select last_used from kept), -1) as last_used
    ), {_STEPS}
    select coalesce((select max(index) from steps), nullif(b.last_used, -1)) as last_used,
        greatest((select max(step) from steps), (select longest from kept), 0) as longest
    from bounds b
) gap where asked.id = any($1::bigint[])
"""  # noqa: S608  # constants of this file
_KEEPING = f"""
with bounds as (
    select 0::bigint as first, -1::bigint as last_used, coalesce((
        select a.index + 1 from addresses a where a.keychain_id = $1 and a.created_at < $2 order by a.index desc limit 1
    ), 0) as until
), {_STEPS.replace("asked.id", "$1")}
insert into keychain_gaps (keychain_id, below, last_used, longest, kept_at)
select $1, (select until from bounds), (select max(index) from steps), coalesce((select max(step) from steps), 0), $3
on conflict (keychain_id) do update
set below = excluded.below, last_used = excluded.last_used, longest = excluded.longest, kept_at = excluded.kept_at
"""  # noqa: S608  # constants of this file


@dataclass(frozen=True, slots=True)
class Gap:
    """How far a keychain was issued and used. `longest` is the largest step from one used index to the next."""

    next_index: int
    last_used: int | None
    longest: int

    @property
    def limit(self) -> int:
        """The gap limit with which the merchant's own wallet sees every coin, those that may still come included.

        A wallet looks on until so many addresses in a row are unused (BIP 44: 20).
        """
        ahead = self.next_index - 1 - (-1 if self.last_used is None else self.last_used)
        return max(self.longest, ahead, 1)


async def gap_of(tx: "Tx | Pool[Any]", keychain_id: int) -> Gap:
    """Return how far a keychain was issued and used: see `gaps_of`."""
    return (await gaps_of(tx, [keychain_id]))[keychain_id]


async def gaps_of(tx: "Tx | Pool[Any]", keychain_ids: Sequence[int]) -> dict[int, Gap]:
    """Return how far keychains were issued and used, by id, with the longest run of unused indexes before a used one.

    Of addresses that are older than two days it is known as it was within the last day: where one of them was paid
    since, the run may be shorter.
    """
    rows = await tx.fetch(_GAPS, keychain_ids)
    return {row["id"]: Gap(row["next_index"], row["last_used"], row["longest"]) for row in rows}


async def keep(tx: Tx, now: datetime, most: int) -> int:
    """Look anew, once a day, through the addresses that are older than a day; return of how many keychains it did."""
    due = await tx.fetch(
        """select k.id from keychains k left join keychain_gaps g on g.keychain_id = k.id
           where g.kept_at is null or g.kept_at <= $1 order by g.kept_at nulls first limit $2""",
        now - _OPEN,
        most,
    )
    for row in due:
        await tx.execute(_KEEPING, row["id"], now - _OPEN, now, timeout=_FIRST_SECONDS)
    return len(due)
