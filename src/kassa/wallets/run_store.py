"""How many addresses in a row nobody paid: the SQL."""

from collections.abc import Sequence

from kassa.db.pool import Tx


async def paid_up_to(tx: Tx, keychains: Sequence[int], back: int) -> list[tuple[int, int, int]]:
    """Return keychains with their next index and the highest one that was paid in a block, -1 where none was.

    It looks no further than `back` indexes: if none of those was paid, the one before them stands for all.
    """
    rows = await tx.fetch(
        """select k.id, k.next_index, coalesce(
               (select a.index from addresses a
                where a.keychain_id = k.id and a.index >= k.next_index - $2::bigint
                  and exists (select from payments p where p.address_id = a.id and p.block_height is not null)
                order by a.index desc limit 1), greatest(-1, k.next_index - 1 - $2)) as paid
           from keychains k where k.id = any($1::bigint[])""",
        keychains,
        back,
    )
    return [(row["id"], row["next_index"], row["paid"]) for row in rows]
