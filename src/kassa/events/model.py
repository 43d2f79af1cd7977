"""An event: something of a store changed, and this is what it looked like then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kassa.core.correlation import current
from kassa.core.ids import EventId, InvoiceId, StoreId

TYPES = frozenset(
    {
        "invoice.created",
        "invoice.processing",
        "invoice.settled",
        "invoice.expired",
        "invoice.invalid",
        "invoice.reopened",
        "invoice.updated",
        "payment.detected",
        "payment.confirming",
        "payment.settled",
        "payment.replaced",
        "payment.dropped",
        "payment.reversed",
        "customer.credited",
        "payment_link.created",
        "payment_link.processing",
        "payment_link.completed",
        "payment_link.expired",
        "payment_link.closed",
        "payment_link.reopened",
        "payment_link.updated",
        "alert.opened",
        "alert.closed",
        "wallet.change_asked",
        "wallet.change_confirmed",
        "wallet.change_cancelled",
        "wallet.changed",
        "webhook.test",
    }
)


def types_of(kind: str) -> list[str]:
    """Return the types that a filter such as `invoice.settled` or `invoice.*` names."""
    return sorted(one for one in TYPES if one == kind or (kind.endswith(".*") and one.startswith(kind[:-1])))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be written. `object` is the public resource as it is now, ready to be written as JSON."""

    store_id: StoreId
    type: str
    object: Mapping[str, Any]  # JSON
    invoice_id: InvoiceId | None = None
    webhook_url: str | None = None  # an invoice's own receiver, besides the store's endpoints
    correlation: str = field(default_factory=current)  # of the work that writes it


@dataclass(frozen=True, slots=True)
class Published:
    """An event that just got its place in the sequence. Of a settled payment: where, and how long it was under way."""

    type: str
    network: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Written:
    """An event in the order of writing, whether or not it was published yet."""

    id: EventId
    type: str
    position: int
    at: datetime
    object: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was published. `object` is JSON text, unchanged since it was written."""

    id: EventId
    store_id: StoreId
    type: str
    sequence: int
    created_at: datetime
    object: str
