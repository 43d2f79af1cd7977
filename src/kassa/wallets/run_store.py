"""How many addresses in a row nobody paid: the SQL."""

from collections.abc import Sequence
from typing import Any

from asyncpg.pool import Pool

from kassa.db.pool import Tx
from kassa.wallets.model import Known


async def unpaid_of(tx: Tx, keychains: Sequence[tuple[int, int]]) -> list[Known]:
    """Return how far keychains are, each with how many of its newest addresses to look at.

    Indexes that were issued to nobody (a counter that jumped, an order that failed) are not counted.
    """
    rows = await tx.fetch(
        """select k.id as keychain_id, k.next_index, run.unpaid, run.by_links, run.paid
           from unnest($1::bigint[], $2::bigint[]) as asked (id, back) join keychains k on k.id = asked.id
           cross join lateral (
               with newest as (
                   select distinct a.index from addresses a where a.keychain_id = k.id
                   order by a.index desc limit asked.back
               ), seen as materialized (
                   select n.index, one.paid, one.by_link from newest n cross join lateral (
                       select bool_or(i.link_id is not null) as by_link, bool_or(exists (
                           select from payments p where p.address_id = a.id and p.block_height is not null)) as paid
                       from addresses a left join invoices i on i.id = a.invoice_id
                       where a.keychain_id = k.id and a.index = n.index) one
               ), last as (
                   select coalesce(max(index) filter (where paid), -1) as paid from seen
               )
               select count(*) as unpaid, count(*) filter (where by_link) as by_links, (select paid from last) as paid
               from seen where index > (select paid from last)) run""",
        [keychain for keychain, _ in keychains],
        [back for _, back in keychains],
    )
    return [Known(*row.values()) for row in rows]


async def live_keychains(tx: "Tx | Pool[Any]") -> frozenset[int]:
    """Return the keychains of live stores."""
    rows = await tx.fetch(
        "select distinct w.keychain_id from wallets w join stores s on s.id = w.store_id where s.livemode"
    )
    return frozenset(row["keychain_id"] for row in rows)
