"""Double entry: a posting moves an asset on an account; an entry's postings sum to zero per asset, also in value.

Debit is positive. What is on our addresses is on `wallet:NETWORK`; all other accounts say to whom or what it belongs.
"""

from dataclasses import dataclass
from fractions import Fraction

from kassa.core.ids import CustomerId, InvoiceId, PaymentId, SpendId, StoreId
from kassa.core.money import value_units

UNSETTLED = "unsettled"
SALES = "sales"
OVER = "over"
UNDER = "under"
RECEIVABLES = "receivables"
LOSSES = "losses"
UNEXPECTED = "unexpected"
UNOWNED = "unowned"
INCOME = "income"

Cause = PaymentId | SpendId | CustomerId
"""What an entry is about. The sum of all entries with one cause is what the books say of it."""


def wallet(network: str) -> str:
    """Return the account of what is on our addresses on a network."""
    return f"wallet:{network}"


def customer(customer_id: CustomerId) -> str:
    """Return the account of what we owe a customer."""
    return f"customer:{customer_id}"


def owner(assigned_to: str) -> str:
    """Return the account of whom money was assigned to: a customer's, or the store's own income."""
    return INCOME if assigned_to == INCOME else customer(CustomerId(assigned_to))


@dataclass(frozen=True, slots=True)
class Amount:
    """Units of an asset, and what they were worth in units of the store's currency."""

    units: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class Worth:
    """Values an asset for the books: `rate` whole units of the store's currency per whole unit (None: not known)."""

    rate: Fraction | None
    decimals: int
    currency_decimals: int

    def of(self, units: int) -> Amount:
        """Return units with their value, rounded half-even; without a rate they have none."""
        value = 0 if self.rate is None else value_units(units, self.decimals, self.rate, self.currency_decimals)
        return Amount(units, value)


@dataclass(frozen=True, slots=True)
class Posting:
    """Units of an asset added to an account (negative: taken from it), their value, and the rate behind it."""

    account: str
    asset: str
    units: int
    value: int
    rate: Fraction | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written, and why."""

    store_id: StoreId | None
    reason: str
    payment_id: PaymentId | None = None
    spend_id: SpendId | None = None
    customer_id: CustomerId | None = None
    invoice_id: InvoiceId | None = None
    decision_id: int | None = None
    postings: tuple[Posting, ...] = ()

    @property
    def cause(self) -> Cause:
        cause = self.payment_id or self.spend_id or self.customer_id
        assert cause is not None
        return cause
