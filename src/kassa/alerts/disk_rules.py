"""What is wrong with the volumes that Kassa writes to. Pure."""

from collections.abc import Iterable, Mapping

from kassa.alerts.model import Finding, Kind, Severity
from kassa.alerts.seen import Disk, LastBackup
from kassa.core.disks import LEAST_FREE, LITTLE_FREE, said

BACKUPS = "backups"
_FIT = 2  # backups like the last one: the next is written before an old one goes


def on_disks(seen: Iterable[Disk], backup: LastBackup | None, known: Mapping[str, Severity]) -> list[Finding]:
    """Judge what is left on the volumes of the processes' folders, and where the last backup was written.

    There it is what is left now where a process looks at that volume, else what the backup left.
    `known`: what is found already, by subject; it ends with a quarter more room, so that none comes and goes.
    """
    seen = tuple(seen)
    found = [
        _filling(each, subject, severity)
        for each in seen
        for subject in [f"{each.host}:{each.folder}"]
        for severity in [_severity(each.free_bytes, known.get(subject))]
        if severity is not None
    ]
    if backup is not None:
        left = next((each.free_bytes for each in seen if _holds(each, backup)), backup.free_bytes)
        if left < _enough(_FIT * backup.bytes, BACKUPS in known):
            found.append(_no_room(backup, left))
    return found


def _holds(disk: Disk, backup: LastBackup) -> bool:
    return (disk.host, disk.folder) == (backup.host, backup.folder)


def _enough(bound: int, known: bool) -> int:
    return bound + bound // 4 if known else bound


def _severity(free_bytes: int, before: Severity | None) -> Severity | None:
    if free_bytes < _enough(LEAST_FREE, before is Severity.CRITICAL):
        return Severity.CRITICAL
    return Severity.WARNING if free_bytes < _enough(LITTLE_FREE, before is not None) else None


def _filling(seen: Disk, subject: str, severity: Severity) -> Finding:
    left = said(seen.free_bytes, seen.size_bytes)
    return Finding(
        Kind.DISK_FILLS,
        subject,
        severity,
        f"{left} under {seen.folder} on {seen.host}: make room, for on a full volume no order is taken any more",
        about={"free_bytes": seen.free_bytes, "size_bytes": seen.size_bytes},
        measure=(LITTLE_FREE // max(1, seen.free_bytes)).bit_length(),  # news again when it has halved
    )


def _no_room(backup: LastBackup, left: int) -> Finding:
    return Finding(
        Kind.DISK_FILLS,
        BACKUPS,
        Severity.WARNING,
        f"the last backup has {backup.bytes / 2**30:.1f} GiB, and {left / 2**30:.1f} GiB are left on the volume of"
        f" {backup.folder} on {backup.host}: make room, or keep fewer (--keep), before the next one does not fit",
        about={"free_bytes": left, "bytes": backup.bytes},
        measure=(_FIT * backup.bytes // max(1, left)).bit_length(),
    )
