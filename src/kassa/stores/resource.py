"""A store as the API shows it."""

from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.money import currency
from kassa.invoices.policy import percent, policy_resource
from kassa.stores.branding import logo_path
from kassa.stores.model import Store


def store_resource(store: Store) -> dict[str, Any]:  # JSON
    """Return the public form of a store."""
    return {
        "object": "store",
        "id": store.id,
        "name": store.name,
        "currency": store.currency,
        "livemode": store.livemode,
        "version": store.version,
        "colour": store.branding.colour,
        "logo": None if store.branding.logo_hash is None else logo_path(store.branding.logo_hash),
        "frame_ancestors": list(store.branding.frame_ancestors),
        "redirect_origins": list(store.branding.redirect_origins),
        "spread_percent": percent(store.spread_ppm),
        "policy": policy_resource(store.policy, currency(store.currency)),
        "created_at": rfc3339(store.created_at),
    }
