"""Verify from the stored facts alone: where each invoice and payment stands is worked out anew. Reads only."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import kassa.ledger.store as ledger
import kassa.ledger.verify_store as verification
import kassa.watch.restraint_store as restraints
from kassa.core.ids import InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.flow import deposits
from kassa.flow import picture as pictures
from kassa.flow.accounts import bookings
from kassa.flow.booking import Booking
from kassa.flow.picture import Picture
from kassa.flow.projection import Raised, before_deadline, deposit_differences, differences, is_due
from kassa.flow.reading import Id, Read, read_each
from kassa.house import House
from kassa.ledger.rules import delta
from kassa.ledger.verify_store import CHECKS, SHOWN, Check

PAGE = 200

Report = Callable[[str, int, int | None], None]
"""Hear what is being verified, how much of it is, and of how much (None: not known)."""
_BOOKS = "the books of every payment and spend are what its standing asks for"
_STORED = "what is stored of every invoice and payment is where it stands"


@dataclass(slots=True)
class Verified:
    """What came of one check: of how many it does not hold, and the ids of the first of them."""

    name: str
    failures: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, offender: str) -> None:
        self.failures += 1
        if len(self.first) < SHOWN:
            self.first.append(offender)


@dataclass(slots=True)
class Verification:
    """What came of all checks; `counts` is how much was verified, `due` how many invoices wait for the clock's gate."""

    checks: list[Verified] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    due: int = 0

    @property
    def failures(self) -> int:
        return sum(check.failures for check in self.checks)


async def verify(house: House, report: Report) -> Verification:
    """Verify everything; each page of invoices and deposits, and each other check, sees one moment of its own."""
    done = Verification()
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        done.counts = await verification.counts(tx)
        raised = await restraints.ever_raised(tx)
    for check in CHECKS:
        done.checks.append(await _check(house, check, report))
    round_ = _Round(house, raised, done)
    seen, after = 0, ""
    while page := await round_.invoices(after):
        after, seen = page[-1], seen + len(page)
        report("invoices", seen, done.counts["invoices"])
    seen, after = 0, ""
    while found := await round_.deposits(after):
        after, seen = found[-1], seen + len(found)
        report("deposits", seen, None)
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        for payment in await verification.unowned_wrong(tx):
            round_.books.add(payment)
    return done


async def _check(house: House, check: Check, report: Report) -> Verified:
    report(check.name, 0, None)
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        return Verified(check.name, *await verification.offenders(tx, check))


class _Round:
    """One round over all invoices and deposits: what is stored and what is booked, against where each stands."""

    def __init__(self, house: House, raised: Raised, done: Verification) -> None:
        self._house, self._raised, self._done = house, raised, done
        self.books, self._stored = Verified(_BOOKS), Verified(_STORED)
        done.checks += [self.books, self._stored]

    async def invoices(self, after: str) -> Sequence[InvoiceId]:
        """Verify a page of invoices and return their ids."""
        async with self._house.database.transaction() as tx:
            await verification.only_read(tx)
            page = await verification.invoices(tx, after, PAGE)
            now = self._house.clock.now()
            taken = await self._read(partial(pictures.take, tx, self._house, now=now), page)
            should = [booking for picture in taken for booking in bookings(self._judged(picture, now))]
            await self._compare(tx, should)
        return page

    def _judged(self, picture: Picture, now: datetime) -> Picture:
        """Compare what is stored of an invoice; return the picture of it that it agrees with, if with any."""
        found = differences(picture, self._raised, now)
        if found and is_due(picture, now):
            # What the clock alone changed is stored and booked when its gate comes by: until then it was right.
            earlier = before_deadline(picture)
            if not differences(earlier, self._raised, now):
                self._done.due += 1
                return earlier
        for each in found:
            self._stored.add(each)
        return picture

    async def deposits(self, after: str) -> Sequence[PaymentId]:
        """Verify a page of deposits and return their ids."""
        async with self._house.database.transaction() as tx:
            await verification.only_read(tx)
            page = await verification.deposits(tx, after, PAGE)
            now = self._house.clock.now()
            taken = await self._read(partial(deposits.take, tx, self._house), page)
            for deposit in taken:
                for each in deposit_differences(deposit, self._raised, now):
                    self._stored.add(each)
            await self._compare(tx, [deposits.booking(each) for each in taken])
        return page

    async def _read(self, take: Callable[[Sequence[Id]], Awaitable[list[Read]]], page: Sequence[Id]) -> list[Read]:
        taken, faults = await read_each(take, page)
        for id_, reason in faults.items():
            self._stored.add(f"{id_} ({reason})")
        return taken

    async def _compare(self, tx: Tx, should: Sequence[Booking]) -> None:
        posted = await ledger.posted(tx, [booking.entry.cause for booking in should])
        for booking in should:
            if delta(posted.get(booking.entry.cause, {}), booking.should, None):
                self.books.add(str(booking.entry.cause))
