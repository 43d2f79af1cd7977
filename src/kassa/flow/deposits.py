"""Deposits of customers: payments without an invoice, which become credit when they are settled."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import kassa.payments.store as payments
from kassa.core.ids import PaymentId
from kassa.core.money import Currency, currency, value_units
from kassa.db.pool import Tx
from kassa.flow.booking import Booking
from kassa.flow.picture import sights
from kassa.house import House
from kassa.ledger.model import INCOME, Entry, Worth, owner, wallet
from kassa.ledger.rules import wanted
from kassa.payments.asset_store import decimals
from kassa.payments.model import Payment, PaymentStanding, Sight
from kassa.payments.resource import payment_resource
from kassa.payments.settling import judge, required, tier_of


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit, where it stands now, and what it is worth to its store."""

    payment: Payment
    standing: PaymentStanding
    worth: Worth
    currency: Currency


async def take(tx: Tx, house: House, ids: Collection[PaymentId]) -> list[Deposit]:
    """Read deposits and work out where they stand; unknown ids, and payments of invoices, are left out.

    How far we see is read before what was seen, as for invoices.
    """
    if not ids:
        return []
    seen, known = await sights(tx, house, set()), await decimals(tx)
    return [
        _deposit(payment, known[payment.asset], currency(code), seen[payment.key.network])
        for payment, code in await payments.deposits(tx, ids)
    ]


def resource(deposit: Deposit) -> dict[str, Any]:  # JSON
    """Return a deposit as it is shown."""
    payment, places = deposit.payment, deposit.worth.decimals
    origin = payment.book_rate_source, payment.book_rate_at
    return payment_resource(payment, deposit.standing, places, deposit.currency, origin, trusted=True)


def booking(deposit: Deposit) -> Booking:
    """Return what the books should say of a deposit: what we owe its customer, once it is settled.

    Money without an owner that a person assigned is a deposit too, if need be the store's own.
    """
    payment, worth = deposit.payment, deposit.worth
    parts = [(owner(payment.customer_id or INCOME), payment.units)]
    should = wanted(deposit.standing.status, payment.asset, wallet(payment.key.network), parts, worth)
    entry = Entry(
        payment.store_id,
        f"deposit {deposit.standing.status}",
        payment_id=payment.id,
        customer_id=payment.customer_id,
    )
    return Booking(entry, should, worth, deposit.currency)


def _deposit(payment: Payment, places: int, priced_in: Currency, sight: Sight) -> Deposit:
    rate = payment.book_rate
    value = 0 if rate is None else value_units(payment.units, places, rate, priced_in.decimals)
    tier = required(payment, tier_of(payment.tiers, payment.units), sight)
    standing = judge(payment, tier, sight, value, rate)
    return Deposit(payment, standing, Worth(rate, places, priced_in.decimals), priced_in)
