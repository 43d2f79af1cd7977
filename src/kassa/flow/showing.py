"""Read invoices and payments as they stand now. An address that is not what its wallet derives is not shown."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import kassa.invoices.store as invoices
import kassa.payments.list_store as listed
import kassa.payments.store as payments
import kassa.stores.store as stores
from kassa.core.errors import NotFound
from kassa.core.ids import InvoiceId, PaymentId
from kassa.db.pool import Tx
from kassa.flow import deposits
from kassa.flow import picture as pictures
from kassa.flow.picture import Picture
from kassa.house import House
from kassa.invoices.model import Rule, Terms
from kassa.invoices.resource import payment_resources
from kassa.invoices.store import Filters
from kassa.payments.model import Touched
from kassa.stores.model import Store

_PRIVATE = ("store_id", "metadata", "customer_id", "payment_link_id", "reference", "policy", "rules")


@dataclass(frozen=True, slots=True)
class PayerView:
    """What a payer's page is made of: the public invoice, who asks for the money, by which terms, as of when.

    `paid` is the share of the price that was paid.
    """

    public: dict[str, Any]  # JSON
    store: Store
    terms: Terms
    now: datetime
    paid: Fraction


async def invoice_resource(
    tx: Tx, house: House, store: Store, invoice_id: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Return an invoice of a store; raises `NotFound`."""
    taken = await pictures.take(tx, house, [InvoiceId(invoice_id)], now, store_id=store.id)
    if not taken:
        raise NotFound("there is no such invoice in this store")
    return pictures.resource(house, taken[0])


async def invoice_list(
    tx: Tx, house: House, store: Store, filters: Filters, before: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Return a store's invoices, newest first, those before an id."""
    ids = await invoices.page(tx, store.id, filters, before, limit)
    return [pictures.resource(house, picture) for picture in await pictures.take(tx, house, ids, now)]


async def payment_resource(
    tx: Tx, house: House, store: Store, payment_id: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Return a payment of a store; raises `NotFound`."""
    wanted = [PaymentId(payment_id)]
    found = await _payments(tx, house, await payments.touching(tx, store.id, payment_id), wanted, now)
    if payment_id not in found:
        raise NotFound("there is no such payment in this store")
    return found[payment_id]


async def payment_rate(tx: Tx, house: House, store: Store, payment_id: str, now: datetime) -> dict[str, Any]:  # JSON
    """Return all that went into the rate of a payment of a store; raises `NotFound`."""
    payment = await payment_resource(tx, house, store, payment_id, now)
    told = {name: payment[name] for name in ("rate", "rate_source", "rate_at")}
    method = await payments.rate_method(tx, PaymentId(payment_id))
    return {"object": "payment_rate", "payment_id": payment_id, **told, "rate_method": method}


async def payment_list(
    tx: Tx, house: House, store: Store, filters: listed.Filters, before: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Return a store's payments, newest first, those before an id."""
    page = await listed.page(tx, store.id, filters, before, limit)
    touched = Touched(
        frozenset(invoice for _, invoice in page if invoice is not None),
        frozenset(payment for payment, invoice in page if invoice is None),
    )
    resources = await _payments(tx, house, touched, {payment for payment, _ in page}, now)
    return [resources[payment] for payment, _ in page if payment in resources]


async def payer_views(tx: Tx, house: House, ids: Sequence[InvoiceId], now: datetime) -> dict[InvoiceId, PayerView]:
    """Return invoices with what their payers' pages say about them, by id; unknown ones are left out."""
    taken = await pictures.take(tx, house, ids, now)
    owners = await stores.get_stores(tx, sorted({picture.terms.store_id for picture in taken}))
    return {
        picture.terms.id: PayerView(
            _public(house, picture), owners[picture.terms.store_id], picture.terms, now, picture.standing.paid_share
        )
        for picture in taken
    }


def _public(house: House, picture: Picture) -> dict[str, Any]:
    resource = pictures.resource(house, picture)
    public = {name: value for name, value in resource.items() if name not in _PRIVATE}
    options = [_while_open(option, picture) for option in resource["payment_options"]]
    return public | {"payment_options": options, "is_credited": Rule.SHORT_CREDIT in picture.standing.rules}


def _while_open(option: dict[str, Any], picture: Picture) -> dict[str, Any]:  # JSON
    """Leave out where to pay while nobody may be asked to: what is sent might not be seen, or never settle."""
    closed = picture.sights[option["network"]].is_closed(option["asset"], picture.terms.store_id)
    return option | {"closed": closed} | ({"address": None, "uri": None} if closed else {})


async def _payments(
    tx: Tx, house: House, touched: Touched, wanted: Collection[PaymentId], now: datetime
) -> dict[str, dict[str, Any]]:  # JSON
    held = await deposits.take(tx, house, touched.deposits)
    found: dict[str, dict[str, Any]] = {deposit.payment.id: deposits.resource(deposit) for deposit in held}
    for picture in await pictures.take(tx, house, sorted(touched.invoices), now):
        for resource in payment_resources(pictures.shown(house, picture, None, picture.payments), wanted):
            found[resource["id"]] = resource
    return found
