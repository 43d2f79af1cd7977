"""What people wrote off of what customers owe: the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import CustomerId, StoreId
from kassa.customers.model import Balance
from kassa.customers.store import read_balance
from kassa.db.pool import Tx


@dataclass(frozen=True, slots=True)
class Owing:
    """A customer who owes something in an asset."""

    customer_id: CustomerId
    reference: str | None
    balance: Balance


async def owing(tx: Tx, store_id: StoreId) -> Sequence[Owing]:
    """Return the customers of a store who owe something, oldest first, by asset; what is on its way is left out."""
    rows = await tx.fetch(
        """select c.id, c.reference, b.asset, b.units as available, 0 as pending, b.owed, b.written_off
           from customer_balances b join customers c on c.id = b.customer_id
           where c.store_id = $1 and b.owed > 0 order by c.id, b.asset""",
        store_id,
    )
    return [Owing(CustomerId(row["id"]), row["reference"], read_balance(row)) for row in rows]


async def hold_owed(tx: Tx, customer_id: CustomerId, asset: str) -> tuple[int, int]:
    """Lock a purse and return what is owed of it, and how much of that is written off."""
    row = await tx.fetchrow(
        """select owed, written_off from customer_balances where customer_id = $1 and asset = $2
           for no key update""",
        customer_id,
        asset,
    )
    return (0, 0) if row is None else (int(row["owed"]), int(row["written_off"]))


async def write_off(
    tx: Tx, store_id: StoreId, customer_id: CustomerId, asset: str, units: int, note: str, by: str, now: datetime
) -> None:
    """Keep that units of a purse that is held are written off."""
    await tx.execute(
        "update customer_balances set written_off = written_off + $3 where customer_id = $1 and asset = $2",
        customer_id,
        asset,
        units,
    )
    await tx.execute(
        """insert into write_offs (store_id, customer_id, asset, units, note, decided_at, decided_by)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        store_id,
        customer_id,
        asset,
        units,
        note,
        now,
        by,
    )
