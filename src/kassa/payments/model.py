"""A payment: a transfer to one of our addresses, what was seen of it, and where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from kassa.core.facts import BlockRef, TransferKey
from kassa.core.ids import AddressId, CustomerId, InvoiceId, PaymentId, StoreId
from kassa.rates.model import Rate

INCOME = "income"
"""The store itself, as the one to whom money without an owner is assigned."""


class Status(StrEnum):
    """Where a payment stands. The first three are alive; the others count for nothing until it is seen again."""

    DETECTED = "detected"
    CONFIRMING = "confirming"
    SETTLED = "settled"
    REPLACED = "replaced"
    DROPPED = "dropped"
    REVERSED = "reversed"

    @property
    def alive(self) -> bool:
        return self in (Status.DETECTED, Status.CONFIRMING, Status.SETTLED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the chain shows of a transaction now.

    `block` is the block of our best chain that holds it. Without one, `missing_since` is the moment from which complete
    looks into the mempool did not find it, and `conflict_txid` a transaction that spends one of its inputs
    (`conflict_height`: confirmed at that height). `void_height` is the height of a block that shows it to be nothing:
    its transaction failed there, or moved other money.
    """

    block: BlockRef | None = None
    missing_since: datetime | None = None
    conflict_txid: str | None = None
    conflict_height: int | None = None
    void_height: int | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """A stored payment. `status` and `settled_at` are what was last announced (None: nothing), not what is true now.

    `late_rate` is set for a payment first seen after the lock on its option's rate had ended. `book_rate` is that of
    the moment first seen in the store's currency, where no option's rate says what the payment is worth there. A
    deposit names its customer and what it must reach (`tiers`). `assigned_to` is whose a person decided money without
    an owner to be: a customer's id, or `INCOME`.
    """

    id: PaymentId
    key: TransferKey
    asset: str
    units: int
    maturity: int
    address_id: AddressId
    address: str
    store_id: StoreId | None
    invoice_id: InvoiceId | None
    first_seen_at: datetime
    replaceable: bool
    sighting: Sighting
    late_rate: Fraction | None
    late_rate_source: str | None
    status: Status | None
    value_units: int
    confirmations_required: int
    needs_final: bool
    settled_at: datetime | None
    customer_id: CustomerId | None = None
    tiers: tuple["Tier", ...] = ()
    book_rate: Fraction | None = None
    book_rate_source: str | None = None
    late_rate_at: datetime | None = None
    book_rate_at: datetime | None = None
    assigned_to: str | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and including `up_to` asset units (None: any amount), `blocks` confirmations are required.

    `final`: moreover, a block that the network itself calls final.
    """

    up_to: int | None
    blocks: int
    final: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """How far we see on one network: our height, and the moment up to which everything was seen.

    A payment that complete looks have not found for `drop_after_seconds` is dropped. `final` is the height up to which
    the network calls its blocks final, where it does; `frozen` are the assets in which nothing settles at present, each
    with the store for which that is so (None: all). A
    network that is not `followed` any more (it was taken out of the settings) is not waited for. While it is `held`,
    nothing more settles there; `raised` are the confirmations that are needed at least, by store ("": every one).
    `left_until`: invoices were judged up to then without waiting for it, while it was in no settings. `closed`: the
    assets (None: all) in which nobody is asked to pay now, and the store for which that is so (None: all).
    """

    height: int
    observed_at: datetime
    drop_after_seconds: int
    final: int | None = None
    frozen: frozenset[tuple[str, str | None]] = frozenset()
    followed: bool = True
    held: bool = False
    raised: Mapping[str, int] = field(default_factory=dict)
    left_until: datetime | None = None
    closed: frozenset[tuple[str | None, str | None]] = frozenset()

    @property
    def judged_until(self) -> datetime:
        """The moment up to which nothing is waited for any more: what was over without this network stays over."""
        return self.observed_at if self.left_until is None else max(self.observed_at, self.left_until)

    def is_frozen(self, asset: str, store_id: StoreId | None) -> bool:
        """Tell whether nothing settles in an asset for a store at present."""
        return any(one == asset and whose in (None, store_id) for one, whose in self.frozen)

    def is_closed(self, asset: str, store_id: StoreId) -> bool:
        """Tell whether the payers of a store must not be asked to pay in an asset now."""
        return any(one in (None, asset) and whose in (None, store_id) for one, whose in self.closed)

    def least(self, store_id: StoreId | None) -> int:
        """Return the confirmations that a payment to a store needs at least, whatever its amount."""
        return max(self.raised.get("", 0), self.raised.get(store_id or "", 0))


@dataclass(frozen=True, slots=True)
class Touched:
    """Whose payments something has happened to: invoices, and deposits by themselves."""

    invoices: frozenset[InvoiceId] = frozenset()
    deposits: frozenset[PaymentId] = frozenset()

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(self.invoices | other.invoices, self.deposits | other.deposits)


@dataclass(frozen=True, slots=True)
class Basis:
    """What is fixed of a transfer's value when it is first seen: rates of that moment, and a deposit's tiers.

    `late` is in its invoice's currency, after the lock on that rate had ended; `book` in its store's.
    """

    late: Rate | None = None
    book: Rate | None = None
    tiers: tuple[Tier, ...] | None = None


@dataclass(frozen=True, slots=True)
class PaymentStanding:
    """Where one payment stands. `value_units` is what it is worth in its currency (rounded half-even).

    Without a rate it counts for nothing and is kept: money in an asset that its invoice did not offer, or a deposit of
    unknown worth.
    """

    id: PaymentId
    status: Status
    confirmations: int
    confirmations_required: int
    needs_final: bool
    value_units: int
    rate: Fraction | None
