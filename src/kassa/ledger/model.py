"""Double entry: a posting moves units of an asset on an account; an entry's postings sum to zero per asset."""

from dataclasses import dataclass

from kassa.core.ids import InvoiceId, PaymentId, StoreId


@dataclass(frozen=True, slots=True)
class Posting:
    """Units of an asset added to an account (negative: taken from it)."""

    account: str
    asset: str
    units: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written, and why."""

    store_id: StoreId | None
    payment_id: PaymentId
    invoice_id: InvoiceId | None
    reason: str
    postings: tuple[Posting, ...]
