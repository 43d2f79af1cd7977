"""The high-water mark of issued addresses, kept outside the database: a restored backup must not issue them again.

No index at or above its keychain's mark leaves this process before the mark has been raised past it on disk. A clean
exit lowers the mark to the counter; after any other end it stands a little higher, and the next start moves the counter
up to it. Those skipped addresses are never issued, so a step stays below the gap of 20 that wallets bridge by default
(BIP 44); it grows only while addresses are issued so fast that the disk would become the limit.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic

import asyncpg
import structlog

import kassa.audit.store as audit
import kassa.wallets.store as wallets
from kassa.audit.model import KASSA
from kassa.core.clock import SystemClock
from kassa.core.errors import DatabaseError, Unavailable
from kassa.core.files import locked, usable, write_whole
from kassa.db.pool import Database
from kassa.wallets.model import Wallet
from kassa.wallets.store import Keychain

log = structlog.get_logger()

STEP, LARGEST_STEP = 16, 1024
FILE = "address-marks.json"
_BEHIND = "Kassa was not stopped cleanly, or the database is an older backup"
_LOST = "the database handed out an address that was issued: it has lost its last commits"

Marks = dict[str, "Mark"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Indexes below `index` may have been issued. `made` tells a keychain from its namesake of an earlier life."""

    index: int
    made: str


class AddressMarks:
    """The marks of one data folder. Processes may share it; the highest mark holds."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._path = data_dir / FILE
        self._known: dict[int, Mark] = {}
        self._issued: dict[int, int] = {}
        self._given: dict[int, int] = {}
        self._steps: dict[int, tuple[int, float]] = {}
        self._raising = asyncio.Lock()
        self._users = -1

    @classmethod
    async def start(cls, database: Database, data_dir: Path) -> "AddressMarks":
        """Read the marks and move every counter that stands below its mark up to it; such a jump is logged and kept.

        Only where nobody else works with the file, or on another timeline of the database than its users saw last.
        Raises `DatabaseError` when the file cannot be read, or its folder not be used.
        """
        marks = cls(database, data_dir)
        try:
            with usable(data_dir):
                alone = await asyncio.to_thread(marks._open)
        except OSError as fault:
            raise DatabaseError(
                f"{data_dir} cannot hold the marks of issued addresses ({fault.strerror}): let data_dir name a folder"
                " that this user can write to"
            ) from fault
        try:
            stored = await asyncio.to_thread(_read, marks._path)
            anew = await asyncio.to_thread(marks._is_anew, database.lives.timeline)
            # Where others work with the file, a mark above the counter is their reserve, not the sign of an old backup;
            # but not on a new timeline: there they are about to end.
            for keychain in await wallets.keychains(database.pool) if alone or anew else ():
                if mark := stored.get(mark_name(keychain)):
                    await marks._keep_above(keychain, mark, _BEHIND)
            await asyncio.to_thread(marks._note_timeline, database.lives.timeline)
            fcntl.flock(marks._users, fcntl.LOCK_SH)
        except BaseException:
            os.close(marks._users)
            raise
        return marks

    async def cover(self, wallet: Wallet, index: int) -> None:
        """Return when the mark on disk is above `index`: from then on the address may be shown.

        Raises `Unavailable` when the wallet's counter had to be moved first: the same request will succeed; or when the
        marks cannot be used.
        """
        if not self.covers(wallet.keychain_id, index):
            await self.raise_past(wallet, index)
        self._issued[wallet.keychain_id] = max(index, self._issued.get(wallet.keychain_id, 0))

    def given(self, keychain_id: int) -> int:
        """Return the highest index that an invoice or customer has from this process; -1 where there is none."""
        return self._given.get(keychain_id, -1)

    def give(self, keychain_id: int, index: int) -> None:
        """Take note that an index is somebody's, in the database."""
        self._given[keychain_id] = max(index, self.given(keychain_id))

    async def refuse_given(self, given: Iterable[tuple[int, int, int]]) -> None:
        """Refuse indexes, each with its keychain and what was `given` when it was asked for, that are not above that.

        Such a database has lost commits. Raises `Unavailable` when the counters of their keychains were moved past all
        that was issued: the same request will succeed.
        """
        again = [keychain for keychain, index, highest in given if index <= highest]
        if not again:
            return
        async with self._raising:
            stored = await asyncio.to_thread(_read, self._path)
            for each in again:
                keychain = await wallets.keychain(self._database.pool, each)
                least = Mark(self.given(each) + 1, _made(keychain))
                mark = max(stored.get(mark_name(keychain), least), least, key=lambda mark: mark.index)
                await self._keep_above(keychain, mark, _LOST)
        raise Unavailable(
            "the database had lost its last commits, and handed out addresses that were issued; the counter has been"
            " moved past them: send the request again",
            code="wallet_counter_moved",
        )

    def covers(self, keychain_id: int, index: int) -> bool:
        """Tell whether the mark on disk is above `index`."""
        mark = self._known.get(keychain_id)
        return mark is not None and index < mark.index

    async def close(self) -> None:
        """Lower the marks to the counters, unless another process works with the same file."""
        async with self._raising:
            if self._users < 0:
                return
            try:
                counters = {mark_name(keychain): keychain for keychain in await wallets.keychains(self._database.pool)}
                await asyncio.to_thread(self._settle, counters)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
                log.warning("address marks stay as they are", fault=str(fault))
            finally:
                os.close(self._users)
                self._users = -1

    async def raise_past(self, wallet: Wallet, index: int) -> None:
        """Return when the mark on disk is above `index`, which nobody is shown yet; raises as `cover` does."""
        try:
            await self._raise_past(wallet, index)
        except DatabaseError as fault:
            log.error("no address can be issued", fault=str(fault))
            raise Unavailable("no address can be issued now; send the same request again") from fault

    async def _raise_past(self, wallet: Wallet, index: int) -> None:
        async with self._raising:
            known = self._known.get(wallet.keychain_id)
            if known is not None and index < known.index:
                return
            keychain = await wallets.keychain(self._database.pool, wallet.keychain_id)
            if known is None:
                stored = (await asyncio.to_thread(_read, self._path)).get(mark_name(keychain))
                if stored is not None and stored.made != _made(keychain) and index < stored.index:
                    await self._keep_above(keychain, stored, _BEHIND)
                    raise Unavailable(
                        "this wallet's addresses were issued before the database was restored; its counter has been"
                        " moved past them: send the request again",
                        code="wallet_counter_moved",
                    )
            mark = Mark(min(index + self._step(wallet.keychain_id), 2**31), _made(keychain))
            self._known[wallet.keychain_id] = await asyncio.to_thread(self._write, mark_name(keychain), mark)

    def _step(self, keychain_id: int) -> int:
        step, at = self._steps.get(keychain_id, (STEP, 0.0))
        now = monotonic()
        step = min(step * 2, LARGEST_STEP) if now - at < 1 else STEP
        self._steps[keychain_id] = step, now
        return step

    async def _keep_above(self, keychain: Keychain, mark: Mark, why: str) -> None:
        if keychain.next_index < mark.index:
            reason = f"{FILE} stands at {mark.index}: {why}"
            async with self._database.transaction() as tx:
                moved = await wallets.jump(tx, keychain.id, mark.index, reason)
                if moved:
                    told = {"index": keychain.next_index}, {"index": mark.index, "reason": reason}
                    at, subject = SystemClock().now(), f"keychain {keychain.id}"
                    await audit.record(tx, KASSA, "wallet.counter_jumped", subject, at, before=told[0], after=told[1])
            if moved:
                log.warning("address counter moved", space=keychain.space, to_index=mark.index, reason=reason)
        self._known[keychain.id] = await asyncio.to_thread(
            self._write, mark_name(keychain), Mark(mark.index, _made(keychain))
        )

    def _open(self) -> bool:
        """Join the users of the file and tell whether nobody else is one; waits for another's start."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._users = os.open(self._path.with_suffix(".users"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return False
        return True

    def _is_anew(self, timeline: str | None) -> bool:
        """Tell whether whoever used the marks before saw another timeline of the database."""
        seen = os.pread(self._users, 8, 0).decode(errors="replace")
        return bool(seen) and timeline is not None and seen != timeline

    def _note_timeline(self, timeline: str | None) -> None:
        if timeline is not None:
            os.pwrite(self._users, timeline.encode(), 0)

    def _write(self, name: str, mark: Mark) -> Mark:
        def raised(marks: Marks) -> Marks:
            old = marks.get(name, mark)
            return marks | {name: Mark(max(old.index, mark.index), mark.made)}

        return _change(self._path, raised)[name]

    def _settle(self, counters: Mapping[str, Keychain]) -> None:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return

        def lowered(marks: Marks) -> Marks:
            return {name: self._lowest(mark, counters.get(name)) for name, mark in marks.items()}

        _change(self._path, lowered)

    def _lowest(self, mark: Mark, keychain: Keychain | None) -> Mark:
        if keychain is None or mark.made != _made(keychain):
            return mark
        issued = self._issued.get(keychain.id, -1)
        return Mark(min(mark.index, max(keychain.next_index, issued + 1)), mark.made)


def read_marks(data_dir: Path) -> Mapping[str, Mark]:
    """Return the marks on disk by the name that `mark_name` gives a keychain; raises `DatabaseError`."""
    return _read(data_dir / FILE)


def mark_name(keychain: Keychain) -> str:
    """Return the name under which a keychain's mark is kept: its space and a digest of its descriptor."""
    return f"{keychain.space}/{sha256(keychain.descriptor.encode()).hexdigest()}"


def mark_of(keychain: Keychain, index: int) -> Mark:
    """Make a keychain's mark."""
    return Mark(min(index, 2**31), _made(keychain))


def parse_marks(text: bytes) -> Mapping[str, Mark]:
    """Read the text of a file of marks; raises `ValueError`, `TypeError`, `KeyError` or `AttributeError`."""
    return {name: Mark(int(mark["index"]), str(mark["made"])) for name, mark in json.loads(text).items()}


def raise_marks(data_dir: Path, marks: Mapping[str, Mark]) -> Mapping[str, Mark]:
    """Write marks, none of them below what is there, and return all; nobody else may be working with the file."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def raised(there: Marks) -> Marks:
        return there | {
            name: Mark(max(mark.index, there[name].index if name in there else 0), mark.made)
            for name, mark in marks.items()
        }

    return _change(data_dir / FILE, raised)


def _made(keychain: Keychain) -> str:
    return keychain.created_at.isoformat()


def _read(path: Path) -> Marks:
    try:
        with usable(path.parent):
            return dict(parse_marks(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise DatabaseError(
            f"{path} cannot be read ({type(fault).__name__}: {fault}): restore it, or remove it if you are certain that"
            " the database is not an older backup"
        ) from fault


def _change(path: Path, change: Callable[[Marks], Marks]) -> Marks:
    with usable(path.parent), locked(path):
        marks = change(_read(path))
        write_whole(path, json.dumps({name: {"index": m.index, "made": m.made} for name, m in sorted(marks.items())}))
        return marks
