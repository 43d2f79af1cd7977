"""What was paid on an invoice, part by part, and how the parts split between the price and what exceeds it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction

from kassa.core.money import typed_step
from kassa.customers.model import Spend
from kassa.invoices.model import Cause, Option, Split, Terms
from kassa.payments.model import Payment, PaymentStanding, Status

Judged = Sequence[tuple[Payment, PaymentStanding]]


class Lateness(Enum):
    """Whether a payment came in time, and if not, what the policy says to that."""

    IN_TIME = "in time"
    ACCEPTED = "within the grace time, at a rate that moved little"
    MOVED = "within the grace time, but the rate moved too far or is not known"
    OVERDUE = "after the grace time"


@dataclass(frozen=True, slots=True)
class Part:
    """A living payment in an asset that was offered, or a spend of credit.

    `share` is its exact share of the price by value; `counts` is how much of the price it completes: nothing where it
    is late and not accepted, or `given` back to the customer, and no less than at the locked rate where it is late and
    accepted. Less than `crumb` of the price is over where what was asked for was rounded up.
    """

    id: Cause
    units: int
    share: Fraction
    counts: Fraction
    settled: bool
    lateness: Lateness
    spend: bool = False
    crumb: Fraction = Fraction(0)
    given: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of the shares: by value, all and settled; towards the price, all and settled.

    `in_time` are those that came in time and were not given back.
    """

    paid: Fraction
    settled: Fraction
    counted: Fraction
    counted_settled: Fraction
    in_time: Fraction


def parts_of(
    terms: Terms, judged: Judged, spends: Sequence[Spend], given: Collection[Cause] = frozenset()
) -> tuple[Part, ...]:
    """Return the parts of what was paid, in the order in which they came; those in `given` are the customer's."""
    options = {option.asset.id: option for option in terms.options}
    paid = [
        (order(payment), _paid(terms, options[payment.asset], payment, standing))
        for payment, standing in judged
        if standing.status.alive and payment.asset in options
    ]
    spent = [((spend.made_at, spend.id, 0, ""), _spent(options[spend.asset], spend)) for spend in spends]
    parts = [part for _, part in sorted([*paid, *spent], key=lambda found: found[0])]
    return tuple(replace(part, counts=Fraction(0), given=True) if part.id in given else part for part in parts)


def tally(parts: Sequence[Part]) -> Tally:
    """Add up the shares of parts."""
    settled = [part for part in parts if part.settled]
    return Tally(
        paid=sum((part.share for part in parts), Fraction(0)),
        settled=sum((part.share for part in settled), Fraction(0)),
        counted=sum((part.counts for part in parts), Fraction(0)),
        counted_settled=sum((part.counts for part in settled), Fraction(0)),
        in_time=sum(
            (part.share for part in parts if part.lateness is Lateness.IN_TIME and not part.given), Fraction(0)
        ),
    )


def allocate(parts: Sequence[Part], *, give_back: bool, credit_excess: bool, accept_short: bool) -> tuple[Split, ...]:
    """Split each part between the price, the excess that is kept and what is credited; each adds up to its units.

    The price is filled by what is settled first, in the order of coming, so that nothing is credited that still stands
    in for what may be lost. What belongs to the price is rounded UP to whole units, in the merchant's favour.
    `give_back` credits everything, and what was given back before fills no price; the excess of a spend always goes
    back. With `accept_short`, the last settled part also says what is missing from the price, in its own units (rounded
    up). Less than a part's `crumb` too much is price as well: so much was asked for.
    """
    left = Fraction(1)
    splits = []
    ordered = sorted(parts, key=lambda part: not part.settled)
    for part in ordered:
        if give_back or part.given:
            splits.append(Split(part.id, 0, 0, part.units))
            continue
        room = max(left, Fraction(0))
        whole = part.share <= room or part.share < left + part.crumb
        price = part.units if whole else _ceil(part.units * room / part.share)
        left -= part.share
        rest = part.units - price
        if credit_excess or part.spend:
            splits.append(Split(part.id, price, 0, rest))
        else:
            splits.append(Split(part.id, price, rest, 0))
    kept = [place for place, part in enumerate(ordered) if part.settled and not part.given]
    missing = 1 - sum((ordered[place].share for place in kept), Fraction(0))
    if accept_short and kept and missing > 0:
        last = ordered[kept[-1]]
        short = _ceil(last.units * missing / last.share)
        splits[kept[-1]] = replace(splits[kept[-1]], short=short)
    return tuple(splits)


def step_of(option: Option, terms: Terms) -> int:
    """Return the units of which what is asked for is a multiple, rounded up, so that whoever types it pays in full.

    One where the most that is over by that would be worth half a smallest unit of the price, or more.
    """
    step = typed_step(option.asset.decimals)
    return step if 2 * step * terms.amount_units < option.due_units else 1


def share_of(option: Option, payment: Payment, terms: Terms) -> Fraction:
    """Return the exact share of the price that a payment is: by the locked amount, or by its late rate.

    A payment in time is measured against what was due in its asset, so paying exactly that is exactly everything.
    """
    if payment.late_rate is None:
        return Fraction(payment.units, option.due_units)
    price = Fraction(terms.amount_units, 10**terms.currency.decimals)
    return Fraction(payment.units, 10**option.asset.decimals) * payment.late_rate / price


def lateness(terms: Terms, option: Option, payment: Payment) -> Lateness:
    """Say whether a payment came in time, by when it was first seen; both bounds of the policy are inclusive."""
    if payment.first_seen_at <= terms.expires_at:
        return Lateness.IN_TIME
    if payment.first_seen_at > terms.accepts_until:
        return Lateness.OVERDUE
    if payment.late_rate is None or abs(payment.late_rate / option.rate - 1) > terms.policy.late_rate:
        return Lateness.MOVED
    return Lateness.ACCEPTED


def order(payment: Payment) -> tuple[object, ...]:
    """Return what payments are sorted by: outputs of one transaction by their numbers, "out:2" before "out:10"."""
    return payment.first_seen_at, payment.key.txid, len(payment.key.position), payment.key.position


def _paid(terms: Terms, option: Option, payment: Payment, standing: PaymentStanding) -> Part:
    share, late = share_of(option, payment, terms), lateness(terms, option, payment)
    counts = {
        Lateness.IN_TIME: share,
        Lateness.ACCEPTED: max(share, Fraction(payment.units, option.due_units)),
    }.get(late, Fraction(0))
    step = step_of(option, terms)
    crumb = Fraction(step, option.due_units) if step > 1 else Fraction(0)
    return Part(payment.id, payment.units, share, counts, standing.status is Status.SETTLED, late, crumb=crumb)


def _spent(option: Option, spend: Spend) -> Part:
    share = Fraction(spend.units, option.due_units)
    return Part(spend.id, spend.units, share, share, True, Lateness.IN_TIME, spend=True)


def _ceil(exact: Fraction) -> int:
    return -(-exact.numerator // exact.denominator)
