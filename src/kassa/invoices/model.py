"""An invoice: its terms, a person's decisions, and the standing that follows from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from kassa.core.ids import AddressId, InvoiceId, StoreId
from kassa.core.money import Asset, Currency
from kassa.payments.model import PaymentStanding, Sight, Tier
from kassa.wallets.model import Place


class Status(StrEnum):
    """Where an invoice stands."""

    NEW = "new"
    PROCESSING = "processing"
    SETTLED = "settled"
    EXPIRED = "expired"
    INVALID = "invalid"


class Flag(StrEnum):
    """What a person should know besides the status. Written in this order."""

    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    LATE = "late"
    REVERSED = "reversed"
    MARKED = "marked"


class Decision(StrEnum):
    """A person's word on an invoice; the last one counts."""

    SETTLED = "settled"
    INVALID = "invalid"


class Withheld(StrEnum):
    """Why the address of an option is not shown: it is not what its wallet derives, or nothing can derive it here."""

    ADDRESS_MISMATCH = "address_mismatch"
    NETWORK_REMOVED = "network_removed"


@dataclass(frozen=True, slots=True)
class Order:
    """What a merchant asks for: well formed, but not yet priced or even possible."""

    amount: str
    currency: str
    payment_options: tuple[str, ...] | None = None
    reference: str | None = None
    description: str | None = None
    metadata_json: str = "{}"
    customer_id: str | None = None
    expires_in: int = 900
    redirect_url: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way to pay: an asset, the address issued for it and where that comes from, what is due, the locked rate.

    `rate_method` is the record of how the rate came about, as JSON.
    """

    asset: Asset
    address_id: AddressId
    address: str
    place: Place
    due_units: int
    rate: Fraction
    rate_source: str
    rate_at: datetime
    tiers: tuple[Tier, ...]
    rate_method: str = "{}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed when the invoice was made; none of it ever changes.

    `tolerance` is the share of the price that may be missing (0 ≤ tolerance < 1).
    """

    id: InvoiceId
    store_id: StoreId
    livemode: bool
    amount_units: int
    currency: Currency
    tolerance: Fraction
    created_at: datetime
    expires_at: datetime
    options: tuple[Option, ...]
    reference: str | None = None
    description: str | None = None
    metadata: str = "{}"  # JSON text, kept as it was sent
    customer_id: str | None = None
    redirect_url: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What "now" means for a decision: our clock, and how far we see on the networks of an invoice's payments."""

    now: datetime
    sights: Mapping[str, Sight]

    def judged_at(self, networks: Iterable[str]) -> datetime:
        """Return the moment up to which nothing can still turn up on these networks.

        An invoice expires by this moment on the networks that it offers, not by the clock alone.
        """
        sights = [self.sights[network] for network in networks]
        return min([self.now, *(sight.observed_at for sight in sights if sight.followed)])


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an invoice stands: a pure function of terms, payments, decisions and view.

    `paid_share` and `settled_share` are exact shares of the price by living payments. `deadline` is the next moment at
    which the clock alone may change this standing.
    """

    status: Status
    flags: tuple[Flag, ...]
    is_final: bool
    paid_units: int
    settled_units: int
    due_units: int
    over_units: int
    paid_share: Fraction
    settled_share: Fraction
    payments: tuple[PaymentStanding, ...]
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Announced:
    """The standing that was last announced."""

    status: Status
    flags: tuple[Flag, ...]
    is_final: bool
    paid_units: int
    settled_units: int
    settled_at: datetime | None
    deadline: datetime | None
