"""When a volume fills up, when that is over, and what a backup must have left."""

from dataclasses import replace
from pathlib import Path

import pytest

from kassa.alerts.disk_rules import BACKUPS, on_disks
from kassa.alerts.model import Severity
from kassa.alerts.seen import Disk, LastBackup
from kassa.core.disks import Room, rooms

GIB = 2**30
DATA = "pay1:/var/lib/kassa"
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(
    ("free", "before", "severity"),
    [
        (5 * GIB, None, None),
        (5 * GIB - 1, None, WARNING),
        (6 * GIB, WARNING, WARNING),
        (25 * GIB // 4, WARNING, None),
        (GIB, WARNING, WARNING),
        (GIB - 1, WARNING, CRITICAL),
        (GIB - 1, None, CRITICAL),
        (5 * GIB // 4 - 1, CRITICAL, CRITICAL),
        (5 * GIB // 4, CRITICAL, WARNING),
        (0, CRITICAL, CRITICAL),
    ],
)
def test_a_volume_is_low_below_a_bound_and_until_there_is_a_quarter_more(
    free: int, before: Severity | None, severity: Severity | None
) -> None:
    known = {} if before is None else {DATA: before}
    found = on_disks([Disk("pay1", "/var/lib/kassa", free, 20 * GIB)], None, known)
    assert [(each.subject, each.severity) for each in found] == ([] if severity is None else [(DATA, severity)])


def test_what_is_left_is_said_and_is_news_again_when_it_has_halved() -> None:
    [little] = on_disks([Disk("pay1", "/var/lib/kassa", 4 * GIB, 20 * GIB)], None, {})
    [less] = on_disks([Disk("pay1", "/var/lib/kassa", 2 * GIB, 20 * GIB)], None, {})
    assert little.reason.startswith("4.0 of 20.0 GiB are left under /var/lib/kassa on pay1: make room")
    assert less.measure > little.measure


@pytest.mark.parametrize(
    ("left", "before", "found"),
    [(20, {}, []), (19, {}, [BACKUPS]), (24, {BACKUPS: WARNING}, [BACKUPS]), (25, {BACKUPS: WARNING}, [])],
)
def test_the_next_backup_must_fit_beside_the_last_and_then_one_more(
    left: int, before: dict[str, Severity], found: list[str]
) -> None:
    backup = LastBackup("pay1", "/srv/backups", 10 * GIB, left * GIB)
    assert [each.subject for each in on_disks([], backup, before)] == found


@pytest.mark.parametrize(("now", "found"), [(19, [BACKUPS]), (20, [])])
def test_where_a_process_looks_at_the_volume_of_the_backups_it_is_what_is_left_now(now: int, found: list[str]) -> None:
    then = LastBackup("pay1", "/var/lib/kassa", 10 * GIB, (39 - now) * GIB)
    disk = Disk("pay1", "/var/lib/kassa", now * GIB, 100 * GIB)
    assert [each.subject for each in on_disks(iter([disk]), then, {})] == found
    for other in (replace(disk, host="pay2"), replace(disk, folder="/srv/backups")):
        assert [each.subject for each in on_disks([other], then, {})] != found


def test_each_volume_is_asked_once_and_a_folder_that_is_yet_to_come_by_its_parent(tmp_path: Path) -> None:
    [room] = rooms([tmp_path / "data", tmp_path / "data" / "postgres"])
    assert room.folder == tmp_path.resolve()
    assert isinstance(room, Room)
    assert 0 < room.free_bytes <= room.size_bytes


def test_a_folder_that_cannot_be_asked_hides_no_other(tmp_path: Path) -> None:
    [room] = rooms([tmp_path / ("x" * 10_000), tmp_path])
    assert room.folder == tmp_path.resolve()
