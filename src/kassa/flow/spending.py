"""Pay an invoice from its customer's credit."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import kassa.customers.store as customers
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.core.ids import CustomerId, InvoiceId, SpendId, new_id
from kassa.core.money import format_units, parse_amount
from kassa.customers.model import Spend
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.picture import Picture
from kassa.flow.pricing import rates_now
from kassa.flow.standing import announce, hold_invoice
from kassa.house import House
from kassa.invoices.model import Option, Status
from kassa.invoices.rules import option_due
from kassa.rates.model import Rate
from kassa.rates.resource import method_text
from kassa.stores.model import Store


async def pay_from_credit(
    tx: Tx, house: House, store: Store, invoice_id: str, asset: str, amount: str | None, by: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Spend a customer's credit in one asset on their invoice, at most what is due, and return the invoice's resource.

    Without an amount, all that is due. It counts at once, as a settled payment in time. Raises `NotFound`, `Invalid`
    for an asset that the invoice does not offer, and `Conflict` when the invoice cannot be paid any more
    (`invoice_not_payable`), has no customer (`no_customer`), the asset is in doubt (`asset_frozen`) or the credit is
    short (`insufficient_credit`).
    """
    id_ = InvoiceId(invoice_id)
    await hold_invoice(tx, store, id_)
    (picture,) = await pictures.take(tx, house, [id_], now)
    option = _payable(picture, asset, now)
    due = option_due(option, picture.standing)
    asked = due if amount is None else parse_amount(amount, option.asset.decimals)
    if asked == 0:
        raise Invalid(FieldFault("amount", "must be more than zero"))
    spend = await _valued(house, picture, option, _spend(picture, option, min(asked, due), by, now))
    await customers.put_spend(tx, spend)
    crashpoint("spend.written")
    paid = pictures.with_spend(picture, spend, now)
    await announce(tx, house, [paid], (), now)
    # Last, for all who spend this credit at once queue for its row until we commit.
    if not await customers.debit(tx, spend):
        wanted = format_units(spend.units, option.asset.decimals)
        raise Conflict(f"the customer has less than {wanted} {asset} to spend", code="insufficient_credit")
    crashpoint("spend.commit")
    return pictures.resource(house, pictures.as_announced(paid, now))


def _payable(picture: Picture, asset: str, now: datetime) -> Option:
    terms = picture.terms
    if terms.customer_id is None:
        raise Conflict("the invoice names no customer whose credit could pay it", code="no_customer")
    option = next((option for option in terms.options if option.asset.id == asset), None)
    if option is None:
        offered = ", ".join(option.asset.id for option in terms.options)
        raise Invalid(FieldFault("asset", f"is not offered by this invoice ({offered})"))
    sight = picture.sights[option.asset.network]
    if sight.held or asset in sight.frozen:
        raise Conflict(f"{asset} is in doubt; its credit waits until a person has looked", code="asset_frozen")
    if picture.standing.status is not Status.NEW or now > terms.expires_at or picture.standing.due_units == 0:
        raise Conflict("nothing can be paid on this invoice any more", code="invoice_not_payable")
    return option


def _spend(picture: Picture, option: Option, units: int, by: str, now: datetime) -> Spend:
    terms = picture.terms
    return Spend(
        id=SpendId(new_id("spd", now)),
        store_id=terms.store_id,
        customer_id=CustomerId(terms.customer_id or ""),
        invoice_id=terms.id,
        asset=option.asset.id,
        units=units,
        rate=None,
        made_at=now,
        made_by=by,
    )


async def _valued(house: House, picture: Picture, option: Option, spend: Spend) -> Spend:
    """Say what a spend's units are worth in the store's currency, and how that is known."""
    if picture.terms.currency == picture.terms.store_currency:
        return replace(
            spend,
            rate=option.rate,
            rate_source=option.rate_source,
            rate_at=option.rate_at,
            rate_method=option.rate_method,
        )
    asked = option.asset.symbol, picture.terms.store_currency.code
    rate = (await rates_now(house, [asked], spend.made_at))[asked]
    if not isinstance(rate, Rate):
        return spend
    return replace(spend, rate=rate.value, rate_source=rate.source, rate_at=rate.at, rate_method=method_text(rate))
