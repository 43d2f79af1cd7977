"""How far addresses may have been issued since a backup, and the counters moved past them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import kassa.audit.store as audit
import kassa.wallets.store as wallets
from kassa.backup.rules import MOST_ESTIMATED, Pace, skipped
from kassa.backup.store import Counter
from kassa.core.ahead import AHEAD
from kassa.core.clock import rfc3339
from kassa.core.errors import BackupError
from kassa.operations.acting import operator
from kassa.wallets.mark import FILE, Mark, mark_name, mark_of, raise_marks
from kassa.wallets.store import Keychain

Json = dict[str, Any]
Way = Literal["estimate", "mark", "skip"]
"""How it is known: from pace and age, from the mark of this machine, or by the operator's word."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a restore knows of addresses: the marks of this machine and of the backup's, the operator's word, the age.

    A mark of this machine alone proves nothing: it may have stood aside since another one issued addresses.
    """

    here: Mapping[str, Mark]
    there: Mapping[str, Mark]
    skip: int | None
    backup_at: datetime
    now: datetime

    def of(self, counter: Counter) -> tuple[int, Way]:
        """Return the index below which a keychain's addresses may have been issued; raises `BackupError`."""
        name = mark_name(_keychain(counter))
        reached = max(counter.next_index, self.there[name].index if name in self.there else 0)
        if self.skip is not None:
            return reached + self.skip, "skip"
        if self.backup_at > self.now + AHEAD:
            raise BackupError(
                f"the backup was made at {rfc3339(self.backup_at)}, which is yet to come: a clock was wrong, or is, and"
                " nothing tells how many addresses were issued since: say by --skip how many of each wallet are to be"
                " passed over"
            )
        estimate = skipped(_pace(counter, self.backup_at), self.now - self.backup_at)
        if estimate > MOST_ESTIMATED:
            raise BackupError(
                f"a wallet ({counter.space}) issued so fast before {rfc3339(self.backup_at)} that {estimate} addresses"
                " may be forgotten by now: say by --skip how many of each wallet are to be passed over"
            )
        own = self.here[name].index if name in self.here else 0
        return (own, "mark") if own >= reached + estimate else (reached + estimate, "estimate")


def told_counter(counter: Counter) -> list[Any]:  # JSON
    """Return what a backup's manifest says of a counter."""
    made = rfc3339(counter.created_at)
    return [counter.space, counter.descriptor, counter.next_index, counter.issued_in_week, counter.issued_in_day, made]


def read_counters(about: Json) -> list[Counter]:
    """Read the counters of a manifest. A week's addresses of the first format may all be of its last day."""
    if about["format"] == 1:
        at = datetime.fromisoformat(about["at"])
        return [Counter(space, text, index, week, week, at) for space, text, index, week in about["counters"]]
    return [
        Counter(space, text, index, week, day, datetime.fromisoformat(made))
        for space, text, index, week, day, made in about["counters"]
    ]


def cover(data_dir: Path, reach: Reach, counters: Sequence[Counter]) -> None:
    """Raise the marks on disk to what may have been issued, before anything is loaded; raises `BackupError`."""
    found = {mark_name(_keychain(each)): mark_of(_keychain(each), reach.of(each)[0]) for each in counters}
    raise_marks(
        data_dir,
        {name: mark for name, mark in found.items() if name not in reach.here or reach.here[name].index < mark.index},
    )


async def pass_over(tx: Any, data_dir: Path, reach: Reach, counters: Sequence[Counter]) -> list[Json]:  # a connection
    """Move every counter past what may have been issued, and the marks with it; tell how far each went, and why.

    In the transaction that ends the restore: whoever works on the database afterwards begins above.
    """
    at = {(each.space, each.descriptor): each for each in counters}
    keychains = await wallets.keychains(tx)
    ways = {each.id: reach.of(at[each.space, each.descriptor]) for each in keychains}
    marks = raise_marks(data_dir, {mark_name(each): mark_of(each, ways[each.id][0]) for each in keychains})
    told = []
    for keychain in keychains:
        index, (asked, way) = marks[mark_name(keychain)].index, ways[keychain.id]
        passed: Json = {
            "space": keychain.space, "networks": list(keychain.networks), "descriptor": keychain.descriptor,
            "from_index": keychain.next_index, "to_index": index,
            "by": "mark" if index > asked else way, "mark_here": mark_name(keychain) in reach.here,
        }  # fmt: skip
        await _jump(tx, keychain, passed, reach)
        told.append(passed)
    return told


async def _jump(tx: Any, keychain: Keychain, passed: Json, reach: Reach) -> None:
    why = {
        "estimate": "by its pace and age",
        "mark": f"as far as {FILE} stands",
        "skip": "so many as the operator said",
    }[passed["by"]]
    reason = f"the backup of {rfc3339(reach.backup_at)} was restored: what may have been issued since, {why}"
    if not await wallets.jump(tx, keychain.id, passed["to_index"], reason):
        return
    before, after = {"index": passed["from_index"]}, {"index": passed["to_index"], "reason": reason}
    subject = f"keychain {keychain.id}"
    await audit.record(tx, operator(), "wallet.counter_jumped", subject, reach.now, before=before, after=after)


def _pace(counter: Counter, at: datetime) -> Pace:
    return Pace(counter.issued_in_week, counter.issued_in_day, at - counter.created_at)


def _keychain(counter: Counter) -> Keychain:
    return Keychain(0, counter.space, counter.descriptor, counter.next_index, counter.created_at)
