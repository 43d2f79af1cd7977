"""A customer, what is to their credit, and what they spent of it."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from kassa.core.ids import CustomerId, InvoiceId, SpendId, StoreId

NOTE_LENGTH = 200
"""Characters, at most, of why something was written off."""


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a store can credit. `reference` is the store's own name for them."""

    id: CustomerId
    store_id: StoreId
    reference: str | None
    name: str | None
    metadata: str  # JSON text, kept as it was sent
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Spend:
    """Credit that paid a part of an invoice: a fact, never changed.

    `rate` is that of the asset in the store's currency, for the books (None: there was none), with where it comes from,
    of when it is, and the record of how it came about, as JSON.
    """

    id: SpendId
    store_id: StoreId
    customer_id: CustomerId
    invoice_id: InvoiceId
    asset: str
    units: int
    rate: Fraction | None
    made_at: datetime
    made_by: str
    rate_source: str | None = None
    rate_at: datetime | None = None
    rate_method: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What a customer has in one asset: `available` to spend, and `pending` in deposits that are not yet settled.

    `owed` is what they spent and was then taken back, `written_off` how much of that is a loss already.
    """

    asset: str
    available: int
    pending: int
    owed: int
    written_off: int
