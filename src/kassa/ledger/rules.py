"""What the books should say about a payment or a spend, and the one entry that makes them say it. Pure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from kassa.core.ids import CustomerId
from kassa.ledger.model import LOSSES, SALES, UNDER, UNSETTLED, Amount, Posting, Worth, customer
from kassa.payments.model import Status

Balances = Mapping[tuple[str, str], Amount]
"""(account, asset) → what stands there."""
Parts = Sequence[tuple[str, int]]
"""Accounts and the units that belong to each."""


def wanted(status: Status, asset: str, into: str, parts: Parts, worth: Worth) -> Balances:
    """Return the balances that a payment into an account should have caused, and to whom it belongs once it is settled.

    Money is on our side from the first confirmation; against it stands `unsettled` until the payment is settled. What
    has no block, and no settlement without one, is not in the books.
    """
    if status is Status.CONFIRMING:
        return moved(asset, into, [(UNSETTLED, sum(units for _, units in parts))], worth)
    return moved(asset, into, parts, worth) if status is Status.SETTLED else {}


def moved(asset: str, into: str, parts: Parts, worth: Worth) -> Balances:
    """Return the balances after money went into one account on behalf of others; they balance, and so do the values.

    Each part is valued by itself and the last one takes what rounding left over. Where an account is on both sides,
    nothing moved.
    """
    held = [(account, units) for account, units in parts if units]
    whole = worth.of(sum(units for _, units in held))
    should: dict[tuple[str, str], Amount] = {}
    _add(should, (into, asset), whole)
    left = whole.value
    for place, (account, units) in enumerate(held):
        value = left if place == len(held) - 1 else worth.of(units).value
        left -= value
        _add(should, (account, asset), Amount(-units, -value))
    return {key: amount for key, amount in should.items() if amount != Amount(0)}


def with_shortage(should: Balances, asset: str, short: int, worth: Worth) -> Balances:
    """Return balances in which what was missing and accepted is sold too, against `under`."""
    if not short:
        return should
    added, missing = dict(should), worth.of(short)
    _add(added, (UNDER, asset), missing)
    _add(added, (SALES, asset), Amount(-missing.units, -missing.value))
    return added


def wanted_loss(customer_id: CustomerId, asset: str, owed: int, posted: Amount, worth: Worth) -> Balances:
    """Return the balances of credit that was spent and then taken back by the chain: a loss, and no debt of theirs.

    `posted` is the loss in the books so far. More of it is valued at the present rate; less takes its share of the
    value along (rounded half-even).
    """
    if owed >= posted.units:
        value = posted.value + worth.of(owed - posted.units).value
    else:
        value = round(Fraction(posted.value * owed, posted.units))
    if not owed and not value:
        return {}
    return {(LOSSES, asset): Amount(owed, value), (customer(customer_id), asset): Amount(-owed, -value)}


def delta(posted: Balances, should: Balances, rate: Fraction | None) -> tuple[Posting, ...]:
    """Return the postings that turn what was posted into what should be: none when they agree; always balanced."""
    moves = []
    for key in sorted(posted.keys() | should.keys()):
        before, after = posted.get(key, Amount(0)), should.get(key, Amount(0))
        if before != after:
            moves.append(Posting(*key, after.units - before.units, after.value - before.value, rate))
    return tuple(moves)


def _add(balances: dict[tuple[str, str], Amount], key: tuple[str, str], amount: Amount) -> None:
    before = balances.get(key, Amount(0))
    balances[key] = Amount(before.units + amount.units, before.value + amount.value)
