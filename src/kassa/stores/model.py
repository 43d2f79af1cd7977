"""A store and its keys."""

from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import KeyId, StoreId

SCOPES = (
    "invoices:read",
    "invoices:write",
    "payments:read",
    "events:read",
    "wallets:read",
    "wallets:write",
    "webhooks:read",
    "webhooks:write",
)


@dataclass(frozen=True, slots=True)
class Store:
    """A tenant. In parts per million, `tolerance_ppm` of a price may be missing; rates are `spread_ppm` lower."""

    id: StoreId
    name: str
    currency: str
    livemode: bool
    tolerance_ppm: int
    webhook_secret: str
    created_at: datetime
    spread_ppm: int = 0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's rights; the key itself is not kept, only its hash."""

    id: KeyId
    store: Store
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = None
