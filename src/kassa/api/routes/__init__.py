"""Every endpoint that needs a key."""

from kassa.api.endpoint import Endpoint
from kassa.api.routes import catalog, invoices, payments, wallets

ENDPOINTS: tuple[Endpoint, ...] = (
    *invoices.ENDPOINTS,
    *payments.ENDPOINTS,
    *wallets.ENDPOINTS,
    *catalog.ENDPOINTS,
)
