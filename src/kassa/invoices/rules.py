"""Where an invoice stands, and what must be said about it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from kassa.invoices.model import Announced, Decision, Flag, Option, Standing, Status, Terms, View
from kassa.payments.model import Payment, PaymentStanding, Tier
from kassa.payments.model import Status as PaymentStatus
from kassa.payments.settling import drops_at, judge, required, strictest, tier_of

_PROGRESS = {Status.NEW: 0, Status.EXPIRED: 0, Status.INVALID: 0, Status.PROCESSING: 1, Status.SETTLED: 2}


def evaluate(terms: Terms, payments: Sequence[Payment], decisions: Sequence[Decision], view: View) -> Standing:
    """Decide where an invoice stands, afresh, from everything known of it.

    Total and free of order: every set of payments has a standing, and their order does not matter. `decisions` are in
    the order in which they were made; the last one counts. A payment in an asset that was not offered counts nothing.
    """
    options = {option.asset.id: option for option in terms.options}
    judged = [(p, _judge(terms, options.get(p.asset), p, view)) for p in sorted(payments, key=_order)]
    alive = [(share_of(options[p.asset], p, terms), s) for p, s in judged if s.status.alive and p.asset in options]
    late = {p.id for p in payments if p.first_seen_at > terms.expires_at}
    need = 1 - terms.tolerance
    paid = sum((share for share, _ in alive), Fraction(0))
    settled = sum((share for share, s in alive if s.status is PaymentStatus.SETTLED), Fraction(0))
    paid_in_time = sum((share for share, s in alive if s.id not in late), Fraction(0))
    settled_in_time = sum(
        (share for share, s in alive if s.id not in late and s.status is PaymentStatus.SETTLED), Fraction(0)
    )
    time_over = view.judged_at({option.asset.network for option in terms.options}) > terms.expires_at

    decision = decisions[-1] if decisions else None
    if decision is not None:
        status = Status.SETTLED if decision is Decision.SETTLED else Status.INVALID
    elif settled_in_time >= need:
        status = Status.SETTLED
    elif paid_in_time >= need:
        status = Status.PROCESSING
    else:
        status = Status.EXPIRED if time_over else Status.NEW

    paid_units = _worth(paid, need, terms)
    flags = {
        Flag.UNDERPAID: 0 < paid < need and status in (Status.EXPIRED, Status.SETTLED, Status.INVALID),
        Flag.OVERPAID: paid_units > terms.amount_units,
        Flag.LATE: paid_in_time < need <= paid,
        Flag.REVERSED: any(p.settled_at is not None and s.status is not PaymentStatus.SETTLED for p, s in judged),
        Flag.MARKED: decision is not None,
    }
    in_flight = any(s.status in (PaymentStatus.DETECTED, PaymentStatus.CONFIRMING) for _, s in judged)
    return Standing(
        status=status,
        flags=tuple(flag for flag, raised in flags.items() if raised),
        is_final=status in (Status.SETTLED, Status.EXPIRED, Status.INVALID) and not in_flight,
        paid_units=paid_units,
        settled_units=_worth(settled, need, terms),
        due_units=0 if paid >= need else terms.amount_units - paid_units,
        over_units=max(0, paid_units - terms.amount_units),
        paid_share=paid,
        settled_share=settled,
        payments=tuple(s for _, s in judged),
        deadline=_deadline(terms, judged, time_over, view),
    )


def changes(before: Announced | None, after: Standing) -> tuple[str, ...]:
    """Return the event types that lead from what was last announced to what is true now: none, or exactly one."""
    if before is None:
        return ("invoice.created",)
    if before.status is not after.status:
        fell_back = _PROGRESS[after.status] < _PROGRESS[before.status] and after.status is not Status.INVALID
        return ("invoice.reopened",) if fell_back or after.status is Status.NEW else (f"invoice.{after.status}",)
    said = (before.flags, before.paid_units, before.settled_units, before.is_final)
    if said != (after.flags, after.paid_units, after.settled_units, after.is_final):
        return ("invoice.updated",)
    return ()


def payment_changes(payment: Payment, after: PaymentStanding) -> tuple[str, ...]:
    """Return the event types that a payment's new standing must announce: none, or exactly one."""
    return () if payment.status is after.status else (f"payment.{after.status}",)


def share_of(option: Option, payment: Payment, terms: Terms) -> Fraction:
    """Return the exact share of the price that a payment is: by the locked amount, or by its late rate.

    A payment in time is measured against what was due in its asset, so paying exactly that is exactly everything.
    """
    if payment.late_rate is None:
        return Fraction(payment.units, option.due_units)
    price = Fraction(terms.amount_units, 10**terms.currency.decimals)
    return Fraction(payment.units, 10**option.asset.decimals) * payment.late_rate / price


def option_paid(option: Option, payments: Sequence[Payment], standing: Standing) -> int:
    """Return the units of an option's asset that living payments brought."""
    alive = {s.id for s in standing.payments if s.status.alive}
    return sum(p.units for p in payments if p.asset == option.asset.id and p.id in alive)


def option_due(option: Option, standing: Standing, terms: Terms) -> int:
    """Return the units of an option's asset that would complete the payment; rounded UP, in the merchant's favour."""
    missing = 1 - standing.paid_share
    if missing <= terms.tolerance:
        return 0
    exact = missing * option.due_units
    return -(-exact.numerator // exact.denominator)


def _order(payment: Payment) -> tuple[object, ...]:
    # Outputs of one transaction in the order of their numbers: "out:2" before "out:10".
    return payment.first_seen_at, payment.key.txid, len(payment.key.position), payment.key.position


def _judge(terms: Terms, option: Option | None, payment: Payment, view: View) -> PaymentStanding:
    worth = Fraction(0) if option is None else share_of(option, payment, terms)
    rate = None if option is None else option.rate
    return judge(
        payment,
        required(payment, _tier(terms, option, payment)),
        view.sights[payment.key.network],
        value_units=round(worth * terms.amount_units),
        rate=rate if rate is None or payment.late_rate is None else payment.late_rate,
    )


def _tier(terms: Terms, option: Option | None, payment: Payment) -> Tier:
    if option is None:
        # Nobody agreed on how deep it must lie: as deep as the strictest of what was agreed on.
        return strictest([tier for offered in terms.options for tier in offered.tiers])
    # The larger of invoice and payment decides: splitting a price into small payments must not lower its threshold.
    return tier_of(option.tiers, max(option.due_units, payment.units))


def _worth(share: Fraction, need: Fraction, terms: Terms) -> int:
    # Half-even, but never rounded up to the whole price while something is missing.
    units = round(share * terms.amount_units)
    return min(units, terms.amount_units - 1) if share < need else units


def _deadline(
    terms: Terms, judged: Sequence[tuple[Payment, PaymentStanding]], time_over: bool, view: View
) -> datetime | None:
    moments = [] if time_over else [terms.expires_at]
    for payment, standing in judged:
        missing_since, sight = payment.sighting.missing_since, view.sights[payment.key.network]
        if missing_since is not None and standing.status is PaymentStatus.DETECTED and sight.followed:
            moments.append(drops_at(missing_since, sight))
    return min(moments, default=None)
