"""A payment link: what it asks for, the invoices that were made to pay it, and where it stands because of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kassa.core.ids import InvoiceId, LinkId, StoreId
from kassa.core.money import Currency
from kassa.invoices.model import Status as InvoiceStatus


class Status(StrEnum):
    """Where a link stands."""

    OPEN = "open"
    PROCESSING = "processing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CLOSED = "closed"


class Flag(StrEnum):
    """What a person should know besides the status. Written in this order."""

    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    LATE = "late"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Fixed:
    """This amount is asked for, in units of the link's currency."""

    units: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The payer chooses an amount between these bounds, both included; None: as much as they like."""

    least: int
    most: int | None


Ask = Fixed | Chosen


@dataclass(frozen=True, slots=True)
class Link:
    """A payment link. What it asks for never changes; its words, its end and whether it is closed may.

    A link that is not `reusable` is used up by one payment of its amount, in whatever parts that comes. `asset` is what
    it is priced in, and then the only way to pay it. `show_received`: its page says what all payers together paid.
    """

    id: LinkId
    store_id: StoreId
    title: str
    ask: Ask
    currency: Currency
    reusable: bool
    created_at: datetime
    asset: str | None = None
    payment_options: tuple[str, ...] | None = None
    description: str | None = None
    reference: str | None = None
    metadata: str = "{}"  # JSON text, kept as it was sent
    show_received: bool = True
    invoice_seconds: int = 900
    redirect_url: str | None = None
    expires_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """So many invoices of a link that stand alike, with what they ask for and got together, in the link's currency.

    Of a link that is paid once, they are alike in every amount, too. Of a reusable one, neither what they ask for nor
    their flags are told.
    """

    status: InvoiceStatus
    late: bool
    reversed: bool
    asked_units: int
    paid_units: int
    settled_units: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a link stands: a pure function of the link, its invoices' standings and the clock.

    `paid_units` and `settled_units` are what living payments brought, but for invoices that were called invalid.
    `due_units` is what is still asked for; None where nothing particular is. `deadline` as in an invoice's standing.
    """

    status: Status
    flags: tuple[Flag, ...]
    paid_units: int
    settled_units: int
    due_units: int | None
    over_units: int
    invoices: Mapping[InvoiceStatus, int]
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Announced:
    """What was last announced of a link; of a reusable one, no sums."""

    status: Status
    flags: tuple[Flag, ...]
    paid_units: int
    settled_units: int


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays: a hash of what only their browser holds, and one of the address that it asks from, where it has one."""

    mark: bytes
    origin: bytes | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Someone began to pay a link: the payer in question (`mine`), or somebody at the same address (`near`).

    `invoice` is None while it is being made, or if it could not be.
    """

    mine: bool
    began_at: datetime
    invoice: InvoiceId | None = None
    status: InvoiceStatus | None = None
    asked_units: int = 0
    paid_units: int = 0
    expires_at: datetime | None = None
    near: bool = False


MAKING = timedelta(seconds=20)
"""So long an attempt without an invoice counts as one that is being made."""
