"""Read invoices and payments as they stand now. Addresses are derived again before anyone sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

import kassa.invoices.store as invoices
import kassa.payments.store as payments
from kassa.core.errors import NotFound, Unavailable
from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.picture import Picture
from kassa.house import House
from kassa.invoices.resource import payment_resources
from kassa.invoices.store import Filters
from kassa.stores.model import Store

log = structlog.get_logger()

_PRIVATE = ("store_id", "metadata", "customer_id", "reference")


async def invoice_resource(
    tx: Tx, house: House, store: Store, invoice_id: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Return an invoice of a store; raises `NotFound`, or `Unavailable` when an address is not its wallet's."""
    taken = await pictures.take(tx, house, [InvoiceId(invoice_id)], now, store_id=store.id)
    if not taken:
        raise NotFound("there is no such invoice in this store")
    return _checked(house, taken[0])


async def invoice_list(
    tx: Tx, house: House, store: Store, filters: Filters, before: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Return a store's invoices, newest first, those before an id."""
    ids = await invoices.page(tx, store.id, filters, before, limit)
    return [_checked(house, picture) for picture in await pictures.take(tx, house, ids, now)]


async def payment_resource(
    tx: Tx, house: House, store: Store, payment_id: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Return a payment of a store; raises `NotFound`."""
    invoice = await payments.invoice_of(tx, store.id, payment_id)
    if invoice is None:
        raise NotFound("there is no such payment in this store")
    return (await _payments(tx, house, [invoice], now))[payment_id]


async def payment_list(
    tx: Tx, house: House, store: Store, before: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Return a store's payments, newest first, those before an id."""
    page = await payments.page(tx, store.id, before, limit)
    resources = await _payments(tx, house, [invoice for _, invoice in page], now)
    return [resources[payment] for payment, _ in page if payment in resources]


async def public_invoice(tx: Tx, house: House, invoice_id: str, now: datetime) -> dict[str, Any]:  # JSON
    """Return what an invoice's payer may see of it.

    Raises `NotFound`, or `Unavailable` for an address that is not its wallet's.
    """
    taken = await pictures.take(tx, house, [InvoiceId(invoice_id)], now)
    if not taken:
        raise NotFound("there is no such invoice")
    resource = _checked(house, taken[0])
    return {name: value for name, value in resource.items() if name not in _PRIVATE}


async def _payments(tx: Tx, house: House, ids: Sequence[InvoiceId], now: datetime) -> dict[str, dict[str, Any]]:
    found = {}
    for picture in await pictures.take(tx, house, sorted(set(ids)), now):
        for resource in payment_resources(pictures.shown(house, picture, None, picture.payments)):
            found[resource["id"]] = resource
    return found


def _checked(house: House, picture: Picture) -> dict[str, Any]:
    for option in picture.terms.options:
        chain = house.chains.get(option.asset.network)
        if chain is None:
            continue
        derived = chain.addresses.derive(option.place.descriptor, option.place.index)
        if derived.text != option.address:
            log.error(
                "an address is not its wallet's: it is not shown", invoice=picture.terms.id, asset=option.asset.id
            )
            raise Unavailable("an address of this invoice failed its check and is not shown", code="address_mismatch")
    return pictures.resource(house, picture)
