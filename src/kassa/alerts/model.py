"""An alert: what is wrong, with what, and what was done about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from kassa.core.ids import AlertId, StoreId
from kassa.core.words import Words

KASSA = "kassa"
"""Who closed an alert that was over by itself."""
OPERATOR = "operator"
"""Who decides at the command line."""


class Severity(StrEnum):
    """How soon somebody has to look: when there is time, today, now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Kind(Words):
    """What is wrong. docs/alerts.md says of each what it means and what to do."""

    NETWORK_HALTED = "network_halted"
    ASSET_FROZEN = "asset_frozen"
    COUNTER_JUMPED = "counter_jumped"
    ADDRESS_MISMATCH = "address_mismatch"
    UNRECORDED = "unrecorded"
    BOOKS_DIFFER = "books_differ"
    CREDIT_LOST = "credit_lost"
    RECORD_UNREADABLE = "record_unreadable"
    AUDIT_LOG_BROKEN = "audit_log_broken"
    WALLET_CHANGE = "wallet_change"
    WALLET_CHANGE_UNPROVEN = "wallet_change_unproven"
    WALLET_ADDED = "wallet_added"
    WALLET_SHARED = "wallet_shared"
    WALLETS_RESTORED = "wallets_restored"
    WEBHOOK_DISABLED = "webhook_disabled"
    CHAIN_DISAGREEMENT = "chain_disagreement"
    NODE_BEHIND = "node_behind"
    SECOND_NODE_BEHIND = "second_node_behind"
    SECOND_NODE_SILENT = "second_node_silent"
    INTERNAL_UNSEEN = "internal_unseen"
    SECOND_NODE_REFUSED = "second_node_refused"
    NODE_STALLED = "node_stalled"
    NODE_UNREACHABLE = "node_unreachable"
    NODE_REFUSED = "node_refused"
    NODE_SYNCING = "node_syncing"
    NODE_CLOCK = "node_clock"
    NODE_SHOWS_LESS = "node_shows_less"
    NODE_WARNS = "node_warns"
    FINALITY_STALLED = "finality_stalled"
    ADDRESS_DELEGATED = "address_delegated"
    NOT_FOLLOWED = "not_followed"
    DEEP_REORGANISATION = "deep_reorganisation"
    SETTLED_REVERSED = "settled_reversed"
    DOUBLE_SPENDS = "double_spends"
    DOUBLE_SPENDING_PAYER = "double_spending_payer"
    DUST_FLOOD = "dust_flood"
    EMPTY_TRANSFERS = "empty_transfers"
    MONEY_UNOWNED = "money_unowned"
    AMOUNT_UNUSUAL = "amount_unusual"
    PAYMENTS_UNUSUAL = "payments_unusual"
    INVOICES_UNPAID = "invoices_unpaid"
    ADDRESSES_UNPAID = "addresses_unpaid"
    BOOKS_INSOLVENT = "books_insolvent"
    CUSTOMER_IN_DEBIT = "customer_in_debit"
    CREDIT_UNUSUAL = "credit_unusual"
    RATE_MISSING = "rate_missing"
    RATE_AGEING = "rate_ageing"
    RATE_OUTLIER = "rate_outlier"
    RATE_JUMPED = "rate_jumped"
    RATE_DEPEGGED = "rate_depegged"
    RATE_DRIFTED = "rate_drifted"
    RATE_SOURCE_FAILED = "rate_source_failed"
    RECEIVER_FAILING = "receiver_failing"
    DELIVERIES_GIVEN_UP = "deliveries_given_up"
    NOBODY_SENDS = "nobody_sends"
    DISK_FILLS = "disk_fills"
    BOOKS_UNCOMPARED = "books_uncompared"
    DETECTOR_SILENT = "detector_silent"
    SIGN_IN_GUESSED = "sign_in_guessed"
    PASSKEY_COPIED = "passkey_copied"


class Deed(Words):
    """What Kassa does by itself besides telling."""

    HALTED = "halted"
    FROZEN = "frozen"
    HELD = "held"
    UNOFFERED = "unoffered"
    RAISED = "raised"
    WITHHELD = "withheld"
    DISABLED = "disabled"


RESTRAINTS = frozenset({Deed.HELD, Deed.UNOFFERED, Deed.RAISED})
"""What holds something back for as long as its alert is open."""
REVERSIBLE = RESTRAINTS | {Deed.HALTED, Deed.FROZEN}
"""What a person's decision ends; the rest ends with its cause alone."""


class Verdict(StrEnum):
    """What a person decided about an alert."""

    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done by itself, and to what: a network, an asset, an invoice, a webhook.

    `blocks` are the confirmations that what is not settled yet needs at least, where they were raised.
    """

    deed: Deed
    target: str
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now. Kind and subject are its cause: of one cause one alert is open.

    With a `store_id` it is that store's; with a `network` alone, every store's that has a wallet there; with neither,
    the operator's. `reason` is read by all of those, `detail` by the operator alone. `about` is JSON. `measure` tells
    how much of it there is, where that can grow. A `lasting` one stays open when it is over, until a person ends it.
    """

    kind: Kind
    subject: str
    severity: Severity
    reason: str
    store_id: StoreId | None = None
    network: str | None = None
    detail: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)  # JSON
    actions: tuple[Action, ...] = ()
    measure: int = 0
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's word on an alert."""

    verdict: Verdict
    at: datetime
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding that was announced, and what became of it.

    `over_at` is since when it is not so any more, `closed_by` a person or `KASSA`, `ended` why it was closed. What was
    done is undone since `undone_at`.
    """

    id: AlertId
    finding: Finding
    opened_at: datetime
    acknowledged_at: datetime | None = None
    over_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None
    ended: str | None = None
    undone_at: datetime | None = None
    decisions: tuple[Decided, ...] = ()
