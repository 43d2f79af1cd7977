"""What the market said of payments when they were seen and settled, beside the rates that were locked: the SQL."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from asyncpg import Record

from kassa.core.ids import StoreId, first_id
from kassa.db.pool import Tx
from kassa.rates.spreads import Drift, Line, Measured, Valued

# What an invoice does not offer has no rate of its own; what is priced in itself needs none.
_VALUED = """
select p.id, p.store_id, p.invoice_id, p.asset, a.decimals, i.currency, p.units, coalesce(p.late_rate, o.rate) as rate,
    coalesce((coalesce(p.late_rate_method, o.rate_method) ->> 'spread_ppm')::integer, 0) as spread_ppm, {at} as at
from payments p
join invoices i on i.id = p.invoice_id
join payment_options o on o.invoice_id = p.invoice_id and o.asset = p.asset and o.rate_source <> 'same'
join assets a on a.id = p.asset
"""
_UNSEEN = (
    _VALUED.format(at="p.first_seen_at")
    + """
where p.id >= $1 and not exists (select from payment_markets m where m.payment_id = p.id) order by p.id limit $2
"""
)
_UNSETTLED = (
    _VALUED.format(at="p.settled_at")
    + """
join payment_markets m on m.payment_id = p.id
where m.settled_at is null and m.seen_at >= $1 and p.settled_at is not null order by m.seen_at limit $2
"""
)


async def unseen(tx: Tx, since: datetime, limit: int) -> list[Valued]:
    """Return payments since a moment of which the market at first sight was not looked up yet, oldest first."""
    return [_valued(row) for row in await tx.fetch(_UNSEEN, first_id("pay", since), limit)]


async def unsettled(tx: Tx, since: datetime, limit: int) -> list[Valued]:
    """Return payments that were seen since a moment, have settled, and lack the market of that, oldest first."""
    return [_valued(row) for row in await tx.fetch(_UNSETTLED, since, limit)]


async def put_seen(tx: Tx, measured: Sequence[Measured]) -> None:
    """Keep the market at first sight of payments."""
    await tx.executemany(
        """insert into payment_markets (payment_id, store_id, invoice_id, asset, currency, spread_ppm, seen_at,
               value_units, seen_units, seen_ppm)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing""",
        [(*_columns(each.valued), each.value_units, each.market_units, each.ppm) for each in measured],
    )


async def put_settled(tx: Tx, measured: Sequence[Measured]) -> None:
    """Keep the market at the settlement of payments."""
    await tx.executemany(
        "update payment_markets set settled_at = $2, settled_units = $3, settled_ppm = $4 where payment_id = $1",
        [(each.valued.payment_id, each.valued.at, each.market_units, each.ppm) for each in measured],
    )


async def drifts(tx: Tx, since: datetime) -> list[Drift]:
    """Return what each store had of its rates since a moment, by pair; of living payments alone."""
    rows = await tx.fetch(
        """select m.store_id, split_part(m.asset, '@', 1) as base, m.currency, count(*) as payments,
               round(sum(m.seen_units * m.seen_ppm) / sum(m.seen_units)) as realised,
               round(sum(m.seen_units * m.spread_ppm) / sum(m.seen_units)) as intended,
               max(abs(m.seen_ppm - m.spread_ppm)) as largest,
               (array_agg(m.invoice_id order by abs(m.seen_ppm - m.spread_ppm) desc, m.payment_id))[1:5] as invoices
           from payment_markets m join payments p on p.id = m.payment_id
           where m.seen_at >= $1 and m.seen_units > 0 and p.status in ('detected', 'confirming', 'settled')
           group by 1, 2, 3 order by 1, 2, 3""",
        since,
    )
    return [
        Drift(r["store_id"], r["base"], r["currency"], r["payments"], int(r["realised"]), int(r["intended"]),
              int(r["largest"]), tuple(r["invoices"]))
        for r in rows
    ]  # fmt: skip


async def lines(tx: Tx, store_id: StoreId, first: datetime, end: datetime, invoice: str | None) -> list[Line]:
    """Return what a store's payments first seen in a time came to (`end` is not part of it), by asset and currency."""
    rows = await tx.fetch(
        """select m.asset, m.currency, count(*), count(*) filter (where m.seen_units is null),
               coalesce(sum(m.value_units) filter (where m.seen_units is not null), 0),
               coalesce(sum(m.seen_units), 0),
               coalesce(round(sum(m.seen_units * m.spread_ppm) / nullif(sum(m.seen_units), 0)), 0),
               coalesce(sum(m.value_units) filter (where m.settled_units is not null), 0),
               coalesce(sum(m.settled_units), 0)
           from payment_markets m join payments p on p.id = m.payment_id
           where m.store_id = $1 and m.seen_at >= $2 and m.seen_at < $3 and ($4::text is null or m.invoice_id = $4)
             and p.status in ('detected', 'confirming', 'settled') group by 1, 2 order by 1, 2""",
        store_id,
        first,
        end,
        invoice,
    )
    return [Line(row[0], row[1], *(int(number) for number in list(row)[2:])) for row in rows]


def _columns(valued: Valued) -> tuple[object, ...]:
    about = valued.payment_id, valued.store_id, valued.invoice_id, valued.asset, valued.currency
    return *about, valued.spread_ppm, valued.at


def _valued(row: Record) -> Valued:
    return Valued(
        row["id"],
        row["store_id"],
        row["invoice_id"],
        row["asset"],
        row["decimals"],
        row["currency"],
        int(row["units"]),
        Fraction(row["rate"]),
        row["spread_ppm"],
        row["at"],
    )
