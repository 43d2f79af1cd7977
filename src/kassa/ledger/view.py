"""The books as they are read: entries with their postings, and what stands on an account."""

from dataclasses import dataclass
from datetime import datetime

from kassa.ledger.model import Amount


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries to list; None: any."""

    account: str | None = None
    payment_id: str | None = None
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stand:
    """What stands on an account in one asset."""

    account: str
    asset: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class Line:
    """A posting that was written. `rate` is the exact text ("60000", "1/3"); None: nothing says what it was worth."""

    account: str
    asset: str
    amount: Amount
    rate: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry that was written."""

    number: int
    booked_at: datetime
    reason: str
    payment_id: str | None
    spend_id: str | None
    customer_id: str | None
    invoice_id: str | None
    decision_id: int | None
    lines: tuple[Line, ...]
