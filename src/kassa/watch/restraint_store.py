"""What is held back on networks, and for how long: the SQL."""

from datetime import datetime

from kassa.db.pool import Tx
from kassa.watch.model import Restraint


async def put(tx: Tx, alert_id: str, restraint: Restraint, network: str) -> None:
    """Hold something back on a network, because of an alert."""
    await tx.execute(
        """insert into restraints (alert_id, kind, network, asset, store_id, blocks, made_at)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        alert_id,
        restraint.kind,
        network,
        restraint.asset,
        restraint.store_id,
        restraint.blocks,
        restraint.made_at,
    )


async def lift(tx: Tx, alert_id: str, now: datetime) -> list[str]:
    """End all that is held back because of an alert; return the networks concerned."""
    rows = await tx.fetch(
        "update restraints set lifted_at = $2 where alert_id = $1 and lifted_at is null returning network",
        alert_id,
        now,
    )
    return sorted({row["network"] for row in rows})


async def ever_raised(tx: Tx) -> dict[str, frozenset[int]]:
    """Return, by network, the confirmations that were ever asked for at least, because of a danger."""
    rows = await tx.fetch(
        "select network, array_agg(distinct blocks) as blocks from restraints where kind = 'raised' group by 1"
    )
    return {row["network"]: frozenset(row["blocks"]) for row in rows}
