"""A store and its keys."""

from dataclasses import dataclass
from datetime import datetime

from kassa.core.ids import KeyId, StoreId
from kassa.core.secret import Secret
from kassa.invoices.policy import Policy
from kassa.stores.branding import PLAIN, Branding

SCOPES = (
    "store:read",
    "store:write",
    "invoices:read",
    "invoices:write",
    "payments:read",
    "payments:write",
    "customers:read",
    "customers:write",
    "ledger:read",
    "events:read",
    "alerts:read",
    "alerts:write",
    "wallets:read",
    "wallets:write",
    "webhooks:read",
    "webhooks:write",
    "audit:read",
)


@dataclass(frozen=True, slots=True)
class Store:
    """A tenant. `policy` is the default for its invoices; `version` counts the changes of the store.

    Its rates are lower by `spread_ppm`, in parts per million.
    """

    id: StoreId
    name: str
    currency: str
    livemode: bool
    policy: Policy
    webhook_secret: Secret
    created_at: datetime
    spread_ppm: int = 0
    version: int = 1
    branding: Branding = PLAIN


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's rights; the key itself is not kept, only its hash.

    `allowed_from` are the IP networks that it may be used from, as `checked_networks` writes them; none: anywhere.
    """

    id: KeyId
    store: Store
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = None
    allowed_from: tuple[str, ...] = ()
