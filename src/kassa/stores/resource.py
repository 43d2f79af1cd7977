"""A store as the API shows it."""

from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.money import currency
from kassa.invoices.policy import policy_resource
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
        "policy": policy_resource(store.policy, currency(store.currency)),
        "created_at": rfc3339(store.created_at),
    }
