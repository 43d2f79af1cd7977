"""Up to which entry sums that are kept of the books go: chosen by transactions, not by clocks."""

from kassa.db.pool import Tx

NOTHING = -(2**63)
"""Before every entry."""


async def advance(tx: Tx, table: str) -> tuple[int, int]:
    """Return after which entry, and up to which one, to add to sums now; remembers the newest for the next call.

    An entry gets its number before it is committed: below the newest one others may be on their way, in transactions
    that run at that moment. So what was the newest at the last call is added once those have ended. A database that was
    restored elsewhere numbers its transactions anew. Holds the row of `table` (`…_until`), and so all who add.
    """
    row = await tx.fetchrow(
        f"""select entry, next_entry, pg_snapshot_xmin(pg_current_snapshot()) >= next_before as ended,
                coalesce(next_before > pg_snapshot_xmax(pg_current_snapshot()), true) as unknown
            from {table} for update"""
    )
    entry, until = int(row["entry"]), int(row["entry"])
    if row["ended"] and not row["unknown"] and row["next_entry"] is not None:
        until = max(entry, int(row["next_entry"]))
        await tx.execute(f"update {table} set entry = $1", until)
    if row["ended"] is not False or row["unknown"]:
        await tx.execute(
            f"""update {table} set next_entry = (select max(id) from entries),
                    next_before = pg_snapshot_xmax(pg_current_snapshot())"""
        )
    return entry, until


async def begin_again(tx: Tx, table: str) -> None:
    """Note that nothing is in the sums any more."""
    await tx.execute(f"update {table} set entry = $1, next_entry = null", NOTHING)
