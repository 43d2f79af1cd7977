"""What processes tell of their volumes, and where the last backup went: the SQL."""

from collections.abc import Iterable

from kassa.alerts.seen import Disk, LastBackup
from kassa.core.disks import Room
from kassa.db.pool import Tx


async def keep(tx: Tx, host: str, rooms: Iterable[Room]) -> None:
    """Keep what a machine sees of its volumes now, and forget what nobody has told for a day."""
    for room in rooms:
        await tx.execute(
            """insert into disks (host, folder, free_bytes, size_bytes, seen_at) values ($1, $2, $3, $4, now())
               on conflict (host, folder) do update
               set free_bytes = excluded.free_bytes, size_bytes = excluded.size_bytes, seen_at = excluded.seen_at""",
            host,
            str(room.folder),
            room.free_bytes,
            room.size_bytes,
        )
    await tx.execute("delete from disks where seen_at < now() - interval '1 day'")


async def told(tx: Tx) -> list[Disk]:
    """Return what machines told within the hour: who is longer silent may be no more."""
    rows = await tx.fetch(
        """select host, folder, free_bytes, size_bytes from disks
           where seen_at > now() - interval '1 hour' order by host, folder"""
    )
    return [Disk(*row.values()) for row in rows]


async def last_backup(tx: Tx) -> LastBackup | None:
    """Return what the last backup took and left; None before the first that says so."""
    row = await tx.fetchrow("select host, folder, bytes, free_bytes from backups order by made_at desc limit 1")
    return None if row is None or row["free_bytes"] is None else LastBackup(*row.values())
