"""Every endpoint that needs a key."""

from kassa.api.endpoint import Endpoint
from kassa.api.routes import (
    alerts,
    audit,
    catalog,
    customers,
    events,
    invoices,
    ledger,
    links,
    overview,
    payments,
    rates,
    reports,
    stores,
    wallet_changes,
    wallets,
    webhooks,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *invoices.ENDPOINTS,
    *payments.ENDPOINTS,
    *links.ENDPOINTS,
    *events.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *alerts.ENDPOINTS,
    *wallets.ENDPOINTS,
    *wallet_changes.ENDPOINTS,
    *customers.ENDPOINTS,
    *ledger.ENDPOINTS,
    *stores.ENDPOINTS,
    *catalog.ENDPOINTS,
    *rates.ENDPOINTS,
    *reports.ENDPOINTS,
    *audit.ENDPOINTS,
    *overview.ENDPOINTS,
)
