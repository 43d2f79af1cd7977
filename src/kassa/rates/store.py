"""Quotes, alarms and the fetcher's lease in the database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from asyncpg.pool import Pool

from kassa.core.errors import LeaseLost
from kassa.db.pool import Tx
from kassa.rates.model import Alarm, AlarmKind, Pair, Quote

_MOST_PLACES = 150  # of a number as `reading.number` takes it, and of the middle of two
_QUOTE = "q.base, q.quote, q.source, q.bid, q.ask, q.price, q.at, q.fetched_at"

# One probe of an index for each pair, moment and source, whatever the number of quotes.
_NEWEST = f"""
select {_QUOTE}, p.moment from unnest($1::text[], $2::text[], $3::timestamptz[]) as p (base, quote, moment)
cross join unnest($4::text[]) as s (source) cross join lateral (
    select * from rate_quotes r
    where r.base = p.base and r.quote = p.quote and r.source = s.source and r.fetched_at <= p.moment
    order by r.fetched_at desc, r.id desc limit 1
) q
"""
# And one more: what it said before. The same answer given again (its time is the same) is no other reading.
_READINGS = f"""
select {_QUOTE}, n.moment from ({_NEWEST}) n cross join lateral (
    select {_QUOTE.replace("q.", "n.")} union all (
        select {_QUOTE.replace("q.", "r.")} from rate_quotes r
        where r.base = n.base and r.quote = n.quote and r.source = n.source and r.fetched_at < n.fetched_at
            and r.at < n.at
        order by r.fetched_at desc, r.id desc limit 1
    )
) q
"""


Asked = tuple[Pair, datetime]
"""A market pair, and the moment as of which it is asked for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A quote of the history, with its place there."""

    id: int
    quote: Quote


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm and since when it is open."""

    alarm: Alarm
    opened_at: datetime


async def put_quotes(tx: Tx, quotes: Sequence[Quote]) -> None:
    """Add quotes; nothing that was stored is ever changed."""
    if not quotes:
        return
    await tx.execute(
        """insert into rate_quotes (base, quote, source, bid, ask, price, at, fetched_at)
           select * from unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::numeric[],
               $7::timestamptz[], $8::timestamptz[])""",
        [quote.pair.base for quote in quotes],
        [quote.pair.quote for quote in quotes],
        [quote.source for quote in quotes],
        [_text(quote.bid) for quote in quotes],
        [_text(quote.ask) for quote in quotes],
        [_text(quote.price) for quote in quotes],
        [quote.at for quote in quotes],
        [quote.fetched_at for quote in quotes],
    )


async def newest(
    tx: "Tx | Pool[Any]", pairs: Collection[Pair], sources: Sequence[str], at: datetime
) -> dict[Pair, tuple[Quote, ...]]:
    """Return, for market pairs, the newest quote of each source that was stored at or before a moment."""
    found = await _read_quotes(tx, _NEWEST, [(pair, at) for pair in pairs], sources)
    return {pair: quotes for (pair, _), quotes in found.items()}


async def readings(
    tx: "Tx | Pool[Any]", pairs: Collection[Pair], sources: Sequence[str], at: datetime
) -> dict[Pair, tuple[Quote, ...]]:
    """Return, for market pairs, what each source said last at a moment, and what it had said before."""
    found = await readings_at(tx, [(pair, at) for pair in pairs], sources)
    return {pair: quotes for (pair, _), quotes in found.items()}


async def readings_at(
    tx: "Tx | Pool[Any]", asked: Collection[Asked], sources: Sequence[str]
) -> dict[Asked, tuple[Quote, ...]]:
    """Return what `readings` does for market pairs, each at a moment of its own, by one query."""
    return await _read_quotes(tx, _READINGS, asked, sources)


async def _read_quotes(
    tx: "Tx | Pool[Any]", query: str, asked: Collection[Asked], sources: Sequence[str]
) -> dict[Asked, tuple[Quote, ...]]:
    found: dict[Asked, tuple[Quote, ...]] = dict.fromkeys(asked, ())
    if not found or not sources:
        return found
    columns = [pair.base for pair, _ in found], [pair.quote for pair, _ in found], [moment for _, moment in found]
    for row in await tx.fetch(query, *columns, list(sources)):
        quote = _read(row)
        found[quote.pair, row["moment"]] += (quote,)
    return found


async def history(
    tx: Tx, pair: Pair, since: datetime | None, until: datetime | None, before: int | None, limit: int
) -> list[Kept]:
    """Return quotes of a market pair that were fetched within a time (both ends included), newest first."""
    rows = await tx.fetch(
        f"""select {_QUOTE}, q.id from rate_quotes q
            where q.base = $1 and q.quote = $2 and ($3::timestamptz is null or q.fetched_at >= $3)
              and ($4::timestamptz is null or q.fetched_at <= $4) and ($5::bigint is null or q.id < $5)
            order by q.id desc limit $6""",
        pair.base,
        pair.quote,
        since,
        until,
        before,
        limit,
    )
    return [Kept(row["id"], _read(row)) for row in rows]


async def thin(tx: Tx, before: datetime, limit: int) -> int:
    """Delete up to `limit` quotes that were fetched before a moment; return how many. Options keep what they used."""
    done: str = await tx.execute(
        """delete from rate_quotes where id in (
               select id from rate_quotes where fetched_at < $1 order by fetched_at limit $2)""",
        before,
        limit,
    )
    return int(done.removeprefix("DELETE "))


async def take_lease(tx: Tx, holder: str, seconds: int) -> int | None:
    """Become the one process that asks the sources; return the fence, or None while another one's lease runs."""
    fence: int | None = await tx.fetchval(
        """update rate_fetching set fence = fence + 1, holder = $1, lease_until = now() + make_interval(secs => $2)
           where lease_until is null or lease_until <= now()
               or lease_until > now() + make_interval(secs => $2 + 60) returning fence""",
        holder,
        seconds,
    )
    return fence


async def hold(tx: Tx, fence: int, seconds: int) -> None:
    """Lock the lease for this transaction and prolong it; raise `LeaseLost` if another process took it."""
    done = await tx.execute(
        "update rate_fetching set lease_until = now() + make_interval(secs => $2) where fence = $1", fence, seconds
    )
    if done != "UPDATE 1":
        raise LeaseLost("another process asks the sources of rates now")


async def release_lease(tx: Tx, fence: int) -> None:
    """Let the next process start at once."""
    await tx.execute("update rate_fetching set lease_until = now() where fence = $1", fence)


async def is_fetched(tx: "Tx | Pool[Any]") -> bool:
    """Tell whether some process asks the sources now."""
    return bool(await tx.fetchval("select coalesce(max(lease_until) > now(), false) from rate_fetching"))


async def open_alarms(tx: "Tx | Pool[Any]", sources: Sequence[str] | None = None) -> list[OpenAlarm]:
    """Return the alarms that are open, oldest first; where `sources` are given, those that they can end.

    Of a source that is asked no more nobody ends an alarm, and where none is asked nobody ends any.
    """
    rows = await tx.fetch(
        """select * from rate_alarms where closed_at is null
             and ($1::text[] is null or cardinality($1) > 0 and (source = '' or source = any($1))) order by id""",
        sources,
    )
    return [OpenAlarm(_alarm(row), row["opened_at"]) for row in rows]


async def end_alarms_of_others(tx: Tx, sources: Sequence[str], now: datetime) -> None:
    """Close the alarms of sources that are asked no more. The caller holds the lease."""
    await tx.execute(
        "update rate_alarms set closed_at = $2 where closed_at is null and source <> '' and source <> all($1)",
        sources,
        now,
    )


async def note_alarms(
    tx: Tx, kinds: Sequence[AlarmKind], source: str | None, present: Sequence[Alarm], now: datetime
) -> tuple[list[Alarm], list[Alarm]]:
    """Bring the open alarms of some kinds (and of one source, if given) in line; return those opened and closed.

    An alarm that stays open keeps its first detail. The caller holds the lease, so nobody else does this now.
    """
    rows = await tx.fetch(
        """select * from rate_alarms
           where closed_at is null and kind = any($1) and ($2::text is null or source = $2)""",
        kinds,
        source,
    )
    known = {_place(alarm): alarm for alarm in map(_alarm, rows)}
    wanted = {_place(alarm): alarm for alarm in present}
    over = [row["id"] for row in rows if _place(_alarm(row)) not in wanted]
    opened = [alarm for place, alarm in wanted.items() if place not in known]
    if over:
        await tx.execute("update rate_alarms set closed_at = $2 where id = any($1)", over, now)
    if opened:
        await tx.executemany(
            "insert into rate_alarms (kind, source, pair, detail, opened_at) values ($1, $2, $3, $4, $5)",
            [(alarm.kind, alarm.source, alarm.pair, alarm.detail, now) for alarm in opened],
        )
    return opened, [alarm for place, alarm in known.items() if place not in wanted]


def _place(alarm: Alarm) -> tuple[str, str, str]:
    return alarm.kind, alarm.source, alarm.pair


def _alarm(row: Mapping[str, Any]) -> Alarm:
    return Alarm(AlarmKind(row["kind"]), row["source"], row["pair"], row["detail"])


def _read(row: Mapping[str, Any]) -> Quote:
    bid, ask = (None if row[side] is None else Fraction(row[side]) for side in ("bid", "ask"))
    price = Fraction(row["price"])
    return Quote(Pair(row["base"], row["quote"]), row["source"], bid, ask, price, row["at"], row["fetched_at"])


def _text(price: Fraction | None) -> str | None:
    if price is None:
        return None
    for places in range(_MOST_PLACES):
        scaled = price * 10**places
        if scaled.denominator == 1:
            return f"{scaled.numerator}e-{places}"
    raise AssertionError(f"{price} is no decimal: sources tell decimals, and so is the middle of two")
