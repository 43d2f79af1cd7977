"""Money without an owner: who it may belong to, and a person's decision whose it is."""

from datetime import datetime
from typing import Any

import kassa.audit.store as audit
import kassa.customers.store as customers
import kassa.ledger.store as ledger
import kassa.payments.owner_store as owners
import kassa.wallets.store as wallets
from kassa.audit.model import Actor
from kassa.core.errors import Conflict, FieldFault, Invalid, NotFound
from kassa.core.ids import CustomerId
from kassa.core.money import format_units
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.pricing import limits_of, rates_at
from kassa.flow.showing import payment_resource
from kassa.flow.standing import hold_invoice, reassess
from kassa.house import House
from kassa.invoices.quote import tiers_of
from kassa.ledger.model import Entry
from kassa.ledger.rules import delta
from kassa.payments.asset_store import decimals
from kassa.payments.model import INCOME, Payment, Tier, Touched
from kassa.payments.settling import strictest
from kassa.rates.model import Rate
from kassa.stores.model import Store


async def assign_payment(
    tx: Tx,
    house: House,
    store: Store,
    payment_id: str,
    customer_id: str | None,
    by: Actor,
    now: datetime,
    *,
    as_operator: bool = False,
) -> dict[str, Any]:  # JSON
    """Give money without an owner to a customer, or (None) to the store's income, and return the payment.

    The last decision counts; the books follow it by mirrored entries, and what a customer had already spent of it they
    owe. Raises `NotFound`, `Invalid` for an unknown customer, and `Conflict` (`payment_has_an_owner`) for a payment
    for an invoice or a customer's own deposit. Money to a wallet that several stores have is given to one of them
    `as_operator` alone: else `Conflict` (`operator_only`).
    """
    payment = await owners.hold(tx, store.id, payment_id)
    if payment is None:
        raise NotFound("there is no such payment in this store; see `kassa payment unassigned`")
    if payment.invoice_id is not None:
        await hold_invoice(tx, store, payment.invoice_id)
    await _check_unowned(tx, house, payment, now)
    if customer_id is not None:
        try:
            await customers.get(tx, store.id, customer_id)
        except NotFound:
            raise Invalid(FieldFault("customer_id", "is not a customer of this store")) from None
    if payment.store_id is None:
        if not as_operator and len(await wallets.stores_of_address(tx, payment.address_id)) > 1:
            raise Conflict(
                "other stores have this wallet too, and whoever asks first must not have the money: your operator"
                " decides, by `kassa payment assign PAYMENT --store sto_…`",
                code="operator_only",
            )
        await _adopt(tx, house, store, payment, now)
    await owners.assign(tx, store.id, payment, None if customer_id is None else CustomerId(customer_id), by.name, now)
    touched = (
        Touched(deposits=frozenset([payment.id]))
        if payment.invoice_id is None
        else Touched(frozenset([payment.invoice_id]))
    )
    await reassess(tx, house, touched, now)
    before, after = {"assigned_to": payment.assigned_to}, {"assigned_to": customer_id or INCOME}
    await audit.record(tx, by, "payment.assigned", payment.id, now, store_id=store.id, before=before, after=after)
    return await payment_resource(tx, house, store, payment.id, now)


async def unassigned(
    tx: Tx, house: House, store: Store | None = None, first: str | None = None, limit: int = 1_000
) -> list[dict[str, Any]]:  # JSON
    """Return money without an owner, of one store or all, oldest first, with who may be meant: by wallet or invoice.

    `first` is the id of the payment from which on it is listed. Where the database does not know the decimals of its
    asset, the amount is None.
    """
    known = await decimals(tx)
    return [
        {
            "payment_id": found.payment.id,
            "asset": found.payment.asset,
            "amount": _amount(found.payment, known.get(found.payment.asset)),
            "txid": found.payment.key.txid,
            "position": found.payment.key.position,
            "address": found.payment.address,
            "invoice_id": found.payment.invoice_id,
            "stores": list(found.stores),
            "suggested": found.customer_id or INCOME,
        }
        for found in await owners.unassigned(tx, None if store is None else store.id, first, limit)
    ]


def _amount(payment: Payment, places: int | None) -> str | None:
    # One asset that is not known must not hide all the other money.
    return None if places is None else format_units(payment.units, places)


async def _check_unowned(tx: Tx, house: House, payment: Payment, now: datetime) -> None:
    owned = payment.customer_id is not None and payment.assigned_to is None
    if payment.invoice_id is not None:
        (picture,) = await pictures.take(tx, house, [payment.invoice_id], now)
        owned = payment.asset in {option.asset.id for option in picture.terms.options}
    if owned:
        raise Conflict("the payment is for an invoice, or a customer's own deposit", code="payment_has_an_owner")


async def _adopt(tx: Tx, house: House, store: Store, payment: Payment, now: datetime) -> None:
    """Take money to an address that was never issued out of nobody's books; what it needs and is worth is fixed."""
    posted = (await ledger.posted(tx, [payment.id])).get(payment.id, {})
    if postings := delta(posted, {}, None):
        await ledger.post(tx, [Entry(None, "given an owner", payment_id=payment.id, postings=postings)], now)
    asked = payment.asset.partition("@")[0], store.currency
    rate = (await rates_at(tx, house.settings, [asked], payment.first_seen_at))[asked]
    network, asset = payment.key.network, pictures.assets(house).get(payment.asset)
    configured = house.settings.networks.get(network)
    deepest = Tier(None, 1)
    if asset is not None and configured is not None:
        deepest = strictest(tiers_of(limits_of(configured), asset, {}))
    await owners.fix(tx, payment.id, deepest, rate if isinstance(rate, Rate) else None)
