"""What our unconfirmed transactions need to be left alone: what they spend, and what those spend that they hang on."""

from collections.abc import Mapping, Sequence
from typing import Any

from asyncpg.pool import Pool

from kassa.core.facts import Ancestor, Input, Transaction
from kassa.db.pool import Tx
from kassa.payments.rules import Victim


async def victims(tx: Tx, network: str, spenders: Sequence[Transaction]) -> dict[str, list[Victim]]:
    """Return our unconfirmed transactions by an outpoint that they need, for the outpoints that `spenders` spend."""
    outpoints = list({spent.outpoint for transaction in spenders for spent in transaction.inputs})
    if not outpoints:
        return {}
    rows = await tx.fetch(
        """with needed as (
               select outpoint, txid, txid as by from payment_inputs where network = $1 and outpoint = any($2)
               union
               select i.outpoint, a.txid, a.ancestor from ancestor_inputs i
               join payment_ancestors a on a.network = i.network and a.ancestor = i.ancestor
               where i.network = $1 and i.outpoint = any($2)
           )
           select distinct n.outpoint, n.txid, n.by from needed n
           join payments p on p.network = $1 and p.txid = n.txid and p.block_height is null""",
        network,
        outpoints,
    )
    found: dict[str, list[Victim]] = {}
    for row in rows:
        found.setdefault(row["outpoint"], []).append(Victim(row["txid"], row["by"]))
    return found


async def needed(pool: "Pool[Any]", network: str, above: int) -> dict[str, list[Input]]:
    """Return what our transactions spend, or those do that they hang on, by their ids.

    Of payments in blocks above a height, and of those that wait for one.
    """
    rows = await pool.fetch(
        """with ours as (
               select txid from payments where network = $1 and (block_height > $2 or block_height is null
                   and (status is null or status in ('detected', 'confirming', 'settled')))
           )
           select txid, outpoint, watch_key from payment_inputs where network = $1 and txid in (select txid from ours)
           union
           select a.txid, i.outpoint, i.watch_key from payment_ancestors a
           join ancestor_inputs i on i.network = a.network and i.ancestor = a.ancestor
           where a.network = $1 and a.txid in (select txid from ours)""",
        network,
        above,
    )
    found: dict[str, list[Input]] = {}
    for row in rows:
        found.setdefault(row["txid"], []).append(Input(row["outpoint"], row["watch_key"]))
    return found


async def put_ancestors(tx: Tx, network: str, ancestors: Mapping[str, Sequence[Ancestor]]) -> bool:
    """Keep which unconfirmed transactions our payments' transactions hang on (by their ids), and what those spend.

    Returns whether any of it is new. Asked for at every look, so what is known already is only read.
    """
    behind = {(txid, each.txid): each for txid, found in ancestors.items() for each in found}
    if not behind:
        return False
    new = await tx.fetch(
        """insert into payment_ancestors (network, txid, ancestor)
           select $1, a.txid, a.ancestor from unnest($2::text[], $3::text[]) as a (txid, ancestor)
           where exists (select from payments p where p.network = $1 and p.txid = a.txid) and not exists (
               select from payment_ancestors k where k.network = $1 and k.txid = a.txid and k.ancestor = a.ancestor)
           on conflict do nothing returning txid, ancestor""",
        network,
        [txid for txid, _ in behind],
        [ancestor for _, ancestor in behind],
    )
    rows = {
        (spent.outpoint, row["ancestor"], spent.key)
        for row in new
        for spent in behind[row["txid"], row["ancestor"]].inputs
    }
    if rows:
        await tx.execute(
            """insert into ancestor_inputs (network, outpoint, ancestor, watch_key)
               select $1, * from unnest($2::text[], $3::text[], $4::bigint[]) on conflict do nothing""",
            network,
            *map(list, zip(*sorted(rows), strict=True)),
        )
    return bool(new)
