"""Endpoints, deliveries to them, and the attempts made."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from kassa.core.ids import DeliveryId, EventId, InvoiceId, StoreId, WebhookId
from kassa.core.secret import Secret
from kassa.events.model import Event


class State(StrEnum):
    """Where a delivery stands: still to be made, made, or given up."""

    DUE = "due"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A store's receiver of events. The secret that signs for it is shown once, when made, and read to sign alone."""

    id: WebhookId
    store_id: StoreId
    url: str
    events: tuple[str, ...]
    created_at: datetime
    previous_secret_until: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """What to change of an endpoint; None leaves it. A new `secret` signs beside the old one for 24 hours."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    disabled: bool | None = None
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one post: a status, or what went wrong before one. `response` is a printable excerpt of the body."""

    started_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One post of a delivery, counted from 1."""

    number: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver. `webhook_id` is None for an invoice's own URL; attempts are in order."""

    id: DeliveryId
    store_id: StoreId
    event_id: EventId
    event_type: str
    webhook_id: WebhookId | None
    url: str
    state: State
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """The deliveries still due to one receiver, by the moment of the first; None: held while it is disabled."""

    name: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process may send before `until`. All `secrets` sign it; `attempts` were made before.

    `restored`: a backup was restored since, so the receiver may have got this, or the like, before. `passes`: an older
    one of the same invoice waits for its next attempt.
    """

    id: DeliveryId
    lane: str
    invoice_id: InvoiceId | None
    webhook_id: WebhookId | None
    url: str
    secrets: tuple[Secret, ...]
    event: Event
    correlation: str
    restored: bool
    passes: bool
    livemode: bool
    attempts: int
    created_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it (2xx)."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The receiver did not take it; try again then."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The receiver did not take it, and the time for trying is over."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver said that it is no more (410): nothing is sent there again until someone enables it."""


Outcome: TypeAlias = Delivered | RetryAt | GaveUp | Gone


@dataclass(frozen=True, slots=True)
class Result:
    """What is written down after a post."""

    delivery: Claimed
    answer: Answer
    outcome: Outcome

    @property
    def recovered(self) -> bool:
        """Whether the receiver took what it had not taken before: it is back."""
        return isinstance(self.outcome, Delivered) and self.delivery.attempts > 0


@dataclass(frozen=True, slots=True)
class Postponed:
    """A claimed delivery that was not posted, and when to try it instead."""

    delivery: Claimed
    at: datetime
