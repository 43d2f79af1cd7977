"""Where what is stored of invoices and payments is not what the facts ask for. Reads only."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta

from kassa.flow.deposits import Deposit
from kassa.flow.picture import Picture, seen_at
from kassa.flow.standing import announced_of, standing_payment
from kassa.invoices.model import Announced
from kassa.payments.model import Payment, Status

Raised = Mapping[str, frozenset[int]]
"""By network, the confirmations that were ever asked for at least, because of a danger."""
_INSTANT = timedelta(microseconds=1)


def is_due(picture: Picture, now: datetime) -> bool:
    """Tell whether an invoice waits for the clock's gate: what is stored is how it stood until its deadline."""
    deadline = picture.announced.deadline
    return deadline is not None and deadline <= now


def before_deadline(picture: Picture) -> Picture:
    """Return a due invoice's picture as it was just before its deadline."""
    assert picture.announced.deadline is not None
    return seen_at(picture, picture.announced.deadline - _INSTANT)


def differences(picture: Picture, raised: Raised, now: datetime) -> list[str]:
    """Name what is stored of an invoice and its payments and is not where they stand: ids, each with its columns."""
    wrong = _unlike(picture.announced, announced_of(picture, now))
    if picture.standing.given_back != picture.given_back:
        wrong.append("given_back")
    found = [_named(picture.terms.id, wrong)] if wrong else []
    standings = {standing.id: standing for standing in picture.standing.payments}
    for payment in picture.payments:
        found += _of_payment(payment, standing_payment(payment, standings[payment.id], now), raised)
    return found


def deposit_differences(deposit: Deposit, raised: Raised, now: datetime) -> list[str]:
    """Name what is stored of a deposit and is not where it stands."""
    return _of_payment(deposit.payment, standing_payment(deposit.payment, deposit.standing, now), raised)


def _of_payment(stored: Payment, should: Payment, raised: Raised) -> list[str]:
    asked = {max(should.confirmations_required, blocks) for blocks in raised.get(stored.key.network, ())}
    if should.status is Status.SETTLED and stored.confirmations_required in asked:
        # It settled while more was asked for than now, and keeps saying so until something happens to it.
        should = replace(should, confirmations_required=stored.confirmations_required)
    wrong = _unlike(stored, should)
    return [_named(stored.id, wrong)] if wrong else []


def _unlike(stored: Announced | Payment, should: Announced | Payment) -> list[str]:
    return [each.name for each in fields(stored) if getattr(stored, each.name) != getattr(should, each.name)]


def _named(id_: str, columns: list[str]) -> str:
    return f"{id_} ({', '.join(columns)})"
