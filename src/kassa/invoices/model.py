"""An invoice: its terms, a person's decisions, and the standing that follows from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from kassa.core.ids import AddressId, InvoiceId, LinkId, PaymentId, SpendId, StoreId
from kassa.core.money import Asset, Currency
from kassa.invoices.policy import Policy
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


class Rule(StrEnum):
    """What decided about an invoice and its money. Written in this order."""

    MARKED = "marked"
    TOLERANCE = "tolerance"
    SHORT_FLAG = "short.flag"
    SHORT_ACCEPT = "short.accept"
    SHORT_CREDIT = "short.credit"
    LATE_FLAG = "late.flag"
    LATE_GRACE = "late.grace"
    LATE_RATE = "late.rate"
    OVER_FLAG = "over.flag"
    OVER_CREDIT = "over.credit"


class Decision(StrEnum):
    """A person's word on an invoice; the last one counts."""

    SETTLED = "settled"
    INVALID = "invalid"


class Withheld(StrEnum):
    """Why the address of an option is not shown: it is not what its wallet derives, or nothing can derive it here."""

    ADDRESS_MISMATCH = "address_mismatch"
    NETWORK_REMOVED = "network_removed"


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it was written down: when, and by whom."""

    id: int
    decision: Decision
    at: datetime
    by: str


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
    policy: Mapping[str, Any] = field(default_factory=dict)  # public fields that differ from the store's


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

    `store_currency` is what the store keeps its books in, `seal` the one that is stored over what a payer is asked for.
    """

    id: InvoiceId
    store_id: StoreId
    livemode: bool
    amount_units: int
    currency: Currency
    policy: Policy
    created_at: datetime
    expires_at: datetime
    options: tuple[Option, ...]
    store_currency: Currency
    reference: str | None = None
    description: str | None = None
    metadata: str = "{}"  # JSON text, kept as it was sent
    customer_id: str | None = None
    redirect_url: str | None = None
    webhook_url: str | None = None
    link_id: LinkId | None = None  # the payment link that it was made for
    seal: bytes | None = None

    @property
    def tolerance(self) -> Fraction:
        """The share of the price that may be missing (0 ≤ tolerance < 1)."""
        return self.policy.tolerance(self.amount_units)

    @property
    def accepts_until(self) -> datetime:
        """The last moment at which a payment can be first seen and still be accepted."""
        return self.expires_at + timedelta(seconds=self.policy.late_grace_seconds)


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
        return min([self.now, *(sight.judged_until for sight in sights if sight.followed)])


Cause = PaymentId | SpendId
"""What brought a part of what was paid: a payment, or a spend of credit."""


@dataclass(frozen=True, slots=True)
class Split:
    """How a living part of what was paid is divided, in units of its asset: price + excess + credit is all of it.

    `short` comes on top: what is missing from the price and was accepted as missing.
    """

    id: Cause
    price: int
    excess: int
    credit: int
    short: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an invoice stands: a pure function of terms, payments, spends of credit, decisions and view.

    `rules` name what decided. `paid_share` and `settled_share` are exact shares of the price by living payments and
    spends; `splits` say where their money belongs. `given_back` are those whose settled money is by now the
    customer's, in the order of giving: a fact, once written. `deadline` is the next moment at which the clock alone may
    change this standing.
    """

    status: Status
    flags: tuple[Flag, ...]
    rules: tuple[Rule, ...]
    is_final: bool
    paid_units: int
    settled_units: int
    due_units: int
    over_units: int
    paid_share: Fraction
    settled_share: Fraction
    payments: tuple[PaymentStanding, ...]
    splits: tuple[Split, ...]
    given_back: tuple[Cause, ...]
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Announced:
    """The standing that was last announced."""

    status: Status
    flags: tuple[Flag, ...]
    rules: tuple[Rule, ...]
    is_final: bool
    paid_units: int
    settled_units: int
    settled_at: datetime | None
    deadline: datetime | None
