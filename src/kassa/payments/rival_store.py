"""What our unconfirmed transactions need to be left alone: what they spend, and what those spend that they hang on."""

from collections.abc import Sequence

from kassa.core.facts import Transaction
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


async def put_ancestors(tx: Tx, network: str, transactions: Sequence[Transaction]) -> None:
    """Keep which unconfirmed transactions our payments' transactions hang on, and what those spend.

    Asked for at every look, so what is known already is only read.
    """
    behind = {(said.txid, each.txid): each for said in transactions if said.transfers for each in said.ancestors}
    if not behind:
        return
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
