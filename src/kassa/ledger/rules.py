"""What the books should say about a payment or a spend, and the one entry that makes them say it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from kassa.core.ids import CustomerId
from kassa.ledger.model import LOSSES, RECEIVABLES, SALES, UNDER, UNSETTLED, Amount, Posting, Worth, customer
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


@dataclass(frozen=True, slots=True)
class Claim:
    """What a customer owes of an asset, as it stands in the books: to be had, and written off by a person."""

    receivable: Amount
    loss: Amount


def claimed(posted: Balances, asset: str) -> Claim:
    """Read a claim out of the balances that a customer caused."""
    return Claim(*(posted.get((account, asset), Amount(0)) for account in (RECEIVABLES, LOSSES)))


def together(lost: Sequence[tuple[int, Worth]]) -> Worth:
    """Return at what rate units, given with what each is valued by, are worth together what they are worth apart.

    What has no rate adds no value; where none has one, there is none together. All units are above zero.
    """
    units, worth = sum(units for units, _ in lost), lost[0][1]
    priced = [part * each.rate for part, each in lost if each.rate is not None]
    return replace(worth, rate=sum(priced, Fraction(0)) / units if priced else None)


def owing(claim: Claim, receivable: int, loss: int, worth: Worth) -> Claim:
    """Return a claim with other units. More is valued by `worth`, less takes its share of the value along.

    What the books call a loss and nobody wrote off (an older version, while it still runs, moves it there) is moved
    back beforehand, and the other way round: with its value.
    """
    # While something is to be had, all that is a loss was one before: what comes makes it good last.
    before = loss if receivable else max(loss, claim.loss.units)
    claim = _with_loss(claim, min(before, claim.receivable.units + claim.loss.units))
    return Claim(_resized(claim.receivable, receivable, worth), _resized(claim.loss, loss, worth))


def written_off(claim: Claim, units: int) -> Claim:
    """Return a claim of which units, at most the receivable's, are a loss now, with their share of the value."""
    return _with_loss(claim, claim.loss.units + units)


def wanted_claim(customer_id: CustomerId, asset: str, claim: Claim) -> Balances:
    """Return the balances of credit that was spent and then taken back: the customer owes it, or it is lost."""
    whole = Amount(
        -claim.receivable.units - claim.loss.units,
        -claim.receivable.value - claim.loss.value,
    )
    should = {RECEIVABLES: claim.receivable, LOSSES: claim.loss, customer(customer_id): whole}
    return {(account, asset): amount for account, amount in should.items() if amount != Amount(0)}


def _with_loss(claim: Claim, units: int) -> Claim:
    """Return a claim of which so many units, at most all of them, are a loss: what is moved keeps its value."""
    receivable, loss, nothing = claim.receivable, claim.loss, Worth(None, 0, 0)
    value, moved = receivable.value + loss.value, units - loss.units
    if moved > 0:
        receivable = _resized(receivable, receivable.units - moved, nothing)
        return Claim(receivable, Amount(units, value - receivable.value))
    loss = _resized(loss, units, nothing)
    return Claim(Amount(receivable.units - moved, value - loss.value), loss)


def _resized(amount: Amount, units: int, worth: Worth) -> Amount:
    if units >= amount.units:
        return Amount(units, amount.value + worth.of(units - amount.units).value)
    return Amount(units, round(Fraction(amount.value * units, amount.units)))


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
