"""What the books should say of an invoice's payments and spends, from where the invoice stands."""

from collections.abc import Iterator
from fractions import Fraction

from kassa.core.ids import CustomerId
from kassa.customers.model import Spend
from kassa.flow.booking import Booking
from kassa.flow.picture import Picture
from kassa.invoices.model import Split, Terms
from kassa.ledger.model import OVER, SALES, UNEXPECTED, Entry, Worth, customer, owner, wallet
from kassa.ledger.rules import Parts, moved, wanted, with_shortage
from kassa.payments.model import Payment, PaymentStanding, Status


def bookings(picture: Picture) -> Iterator[Booking]:
    """Return what the books should say of each payment of an invoice, the dead ones too, and of each spend."""
    known = picture.decimals
    splits = {split.id: split for split in picture.standing.splits}
    payments = {payment.id: payment for payment in picture.payments}
    for standing in picture.standing.payments:
        payment = payments[standing.id]
        yield _of_payment(picture, payment, standing, splits.get(standing.id), known[payment.asset])
    for spend in picture.spends:
        yield _of_spend(picture, spend, splits[spend.id], known[spend.asset])


def _of_payment(
    picture: Picture, payment: Payment, standing: PaymentStanding, split: Split | None, places: int
) -> Booking:
    terms, asset = picture.terms, payment.asset
    worth = Worth(_rate(terms, payment), places, terms.store_currency.decimals)
    kept = UNEXPECTED if payment.assigned_to is None else owner(payment.assigned_to)
    parts = [(kept, payment.units)] if split is None else _parts(split, terms.customer_id)
    should = wanted(standing.status, asset, wallet(payment.key.network), parts, worth)
    if split is not None and standing.status is Status.SETTLED:
        should = with_shortage(should, asset, split.short, worth)
    entry = Entry(
        terms.store_id,
        f"payment {standing.status}",
        payment_id=payment.id,
        invoice_id=terms.id,
        decision_id=picture.decision_id,
    )
    return Booking(entry, should, worth, terms.store_currency)


def _of_spend(picture: Picture, spend: Spend, split: Split, places: int) -> Booking:
    terms, asset = picture.terms, spend.asset
    worth = Worth(spend.rate, places, terms.store_currency.decimals)
    should = moved(asset, customer(spend.customer_id), _parts(split, spend.customer_id), worth)
    entry = Entry(
        terms.store_id,
        "credit spent",
        spend_id=spend.id,
        customer_id=spend.customer_id,
        invoice_id=terms.id,
        decision_id=picture.decision_id,
    )
    should = with_shortage(should, asset, split.short, worth)
    debited = spend.units if spend == picture.fresh else 0
    return Booking(entry, should, worth, terms.store_currency, debited)


def _parts(split: Split, customer_id: str | None) -> Parts:
    parts = [(SALES, split.price), (OVER, split.excess)]
    if split.credit:
        # A policy credits only where the invoice has a customer.
        assert customer_id is not None
        parts.append((customer(CustomerId(customer_id)), split.credit))
    return parts


def _rate(terms: Terms, payment: Payment) -> Fraction | None:
    option = next((option for option in terms.options if option.asset.id == payment.asset), None)
    if option is None or terms.currency != terms.store_currency:
        return payment.book_rate
    return option.rate if payment.late_rate is None else payment.late_rate
