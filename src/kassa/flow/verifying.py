"""Verify the books from the stored facts alone: what each payment should say is worked out anew. Reads only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import kassa.ledger.store as ledger
import kassa.ledger.verify_store as verification
from kassa.core.ids import InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.flow import deposits
from kassa.flow import picture as pictures
from kassa.flow.accounts import bookings
from kassa.flow.booking import Booking
from kassa.house import House
from kassa.ledger.rules import delta
from kassa.ledger.verify_store import CHECKS, SHOWN, Check

PAGE = 200

Report = Callable[[str, int, int | None], None]
"""Hear what is being verified, how much of it is, and of how much (None: not known)."""
_STANDINGS = "the books of every payment and spend are what its standing asks for"


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
    """Verify everything; each page of payments, and each other check, sees one moment of its own."""
    done = Verification()
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        done.counts = await verification.counts(tx)
    for check in CHECKS:
        done.checks.append(await _check(house, check, report))
    standings = Verified(_STANDINGS)
    done.checks.append(standings)
    seen, after, of = 0, "", done.counts["payments"] + done.counts["spends"]
    while page := await _invoices(house, after, standings, done):
        after, seen = page[0], seen + page[1]
        report("payments", seen, of)
    after = ""
    while page := await _deposits(house, after, standings):
        after, seen = page[0], seen + page[1]
        report("payments", seen, of)
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        for payment in await verification.unowned_wrong(tx):
            standings.add(payment)
    return done


async def _check(house: House, check: Check, report: Report) -> Verified:
    report(check.name, 0, None)
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        return Verified(check.name, *await verification.offenders(tx, check))


async def _invoices(house: House, after: str, found: Verified, done: Verification) -> tuple[str, int] | None:
    """Verify a page of invoices; return the last id and how many payments and spends there were, or None at the end."""
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        page: Sequence[InvoiceId] = await verification.invoices_with_money(tx, after, PAGE)
        if not page:
            return None
        now = house.clock.now()
        should: list[Booking] = []
        for picture in await pictures.take(tx, house, page, now):
            deadline = picture.announced.deadline
            if deadline is not None and deadline <= now:
                # What the clock alone changed is booked when its gate comes by: moments ago it was right.
                done.due += 1
                continue
            should += bookings(picture)
        await _compare(tx, should, found)
    return page[-1], len(should)


async def _deposits(house: House, after: str, found: Verified) -> tuple[str, int] | None:
    async with house.database.transaction() as tx:
        await verification.only_read(tx)
        page: Sequence[PaymentId] = await verification.deposits(tx, after, PAGE)
        if not page:
            return None
        await _compare(tx, [deposits.booking(each) for each in await deposits.take(tx, house, page)], found)
    return page[-1], len(page)


async def _compare(tx: Tx, should: Sequence[Booking], found: Verified) -> None:
    posted = await ledger.posted(tx, [booking.entry.cause for booking in should])
    for booking in should:
        if delta(posted.get(booking.entry.cause, {}), booking.should, None):
            found.add(str(booking.entry.cause))
