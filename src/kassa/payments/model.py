"""A payment: a transfer to one of our addresses, and what was seen of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from kassa.core.facts import BlockRef, TransferKey
from kassa.core.ids import AddressId, InvoiceId, PaymentId, StoreId


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
    (`conflict_height`: confirmed at that height).
    """

    block: BlockRef | None = None
    missing_since: datetime | None = None
    conflict_txid: str | None = None
    conflict_height: int | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """A stored payment. `status` and `settled_at` are what was last announced (None: nothing), not what is true now.

    `rate` is set for a payment first seen after the lock on its option's rate had ended.
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
