"""Where an invoice stands, and what must be said about it. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from kassa.customers.model import Spend
from kassa.invoices.model import Announced, Cause, Decision, Flag, Option, Rule, Split, Standing, Status, Terms, View
from kassa.invoices.parts import Lateness, Part, Tally, allocate, order, parts_of, share_of, tally
from kassa.invoices.policy import Over, Short
from kassa.payments.model import Payment, PaymentStanding, Tier
from kassa.payments.model import Status as PaymentStatus
from kassa.payments.settling import drops_at, judge, required, strictest, tier_of

_PROGRESS = {Status.NEW: 0, Status.EXPIRED: 0, Status.INVALID: 0, Status.PROCESSING: 1, Status.SETTLED: 2}
_NOTHING = Fraction(0)
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LATE = {Lateness.ACCEPTED: Rule.LATE_GRACE, Lateness.MOVED: Rule.LATE_RATE, Lateness.OVERDUE: Rule.LATE_FLAG}


def evaluate(
    terms: Terms,
    payments: Sequence[Payment],
    decisions: Sequence[Decision],
    view: View,
    spends: Sequence[Spend] = (),
    given_back: Sequence[Cause] = (),
) -> Standing:
    """Decide where an invoice stands, afresh, from everything known of it.

    Total and free of order: every set of payments has a standing, and their order does not matter. `decisions` are in
    the order in which they were made; the last one counts. A payment in an asset that was not offered counts nothing.
    What was `given_back` to the customer (in that order) stays theirs, whatever comes later: it may be spent. Only a
    person who marks the invoice settled takes it back.
    """
    standing = _stand(terms, payments, decisions, view, spends, given_back)
    if len(standing.given_back) == len(given_back):
        return standing
    # What was just given back counts no more either: the same must follow when it is read as a fact.
    return evaluate(terms, payments, decisions, view, spends, standing.given_back)


def _stand(
    terms: Terms,
    payments: Sequence[Payment],
    decisions: Sequence[Decision],
    view: View,
    spends: Sequence[Spend],
    given_back: Sequence[Cause],
) -> Standing:
    options = {option.asset.id: option for option in terms.options}
    decision = decisions[-1] if decisions else None
    judged = _judged(terms, options, payments, view, given_back)
    parts = parts_of(terms, judged, spends, () if decision is Decision.SETTLED else given_back)
    sums, need = tally(parts), 1 - terms.tolerance
    judged_at = view.judged_at({option.asset.network for option in terms.options})
    time_over, closed = judged_at > terms.expires_at, judged_at > terms.accepts_until
    # Once no payment can be accepted any more, a policy may take less for enough.
    accepts = closed and terms.policy.short is Short.ACCEPT
    enough = min(need, 1 - terms.policy.short_limit) if accepts else need
    status = _status(decision, sums, enough, time_over=time_over)
    # Calling it invalid afterwards leaves with the customer what was given back: only a sale takes it.
    unpaid = status is not Status.SETTLED and sums.counted < enough
    credits_short = terms.policy.short is Short.CREDIT
    give_back = unpaid and closed and credits_short
    splits = allocate(
        parts,
        give_back=give_back,
        credit_excess=terms.policy.over is Over.CREDIT,
        accept_short=status is Status.SETTLED and decision is None,
    )
    paid_units = _worth(sums.paid, need, terms)
    flags = {
        Flag.UNDERPAID: _is_short(sums, need) and (time_over or decision is not None),
        Flag.OVERPAID: paid_units > terms.amount_units,
        Flag.LATE: sums.in_time < need <= max(sums.paid, sums.counted),
        Flag.REVERSED: any(p.settled_at is not None and s.status is not PaymentStatus.SETTLED for p, s in judged),
        Flag.MARKED: decision is not None,
    }
    in_flight = any(s.status in (PaymentStatus.DETECTED, PaymentStatus.CONFIRMING) for _, s in judged)
    # Called invalid before its end, what is short is still to be given back when the time is over.
    at_rest = status is Status.SETTLED or closed or (status is Status.INVALID and not credits_short)
    return Standing(
        status=status,
        flags=tuple(flag for flag, raised in flags.items() if raised),
        rules=(
            *_status_rules(decision, parts, sums, need, enough, closed=closed, give_back=give_back),
            *_split_rules(parts, splits, give_back=give_back),
        ),
        is_final=at_rest and not in_flight,
        paid_units=paid_units,
        settled_units=_worth(sums.settled, need, terms),
        due_units=0 if max(sums.paid, sums.counted) >= enough else terms.amount_units - paid_units,
        over_units=max(0, paid_units - terms.amount_units),
        paid_share=sums.paid,
        settled_share=sums.settled,
        payments=tuple(s for _, s in judged),
        splits=splits,
        given_back=(*given_back, *_given(parts, given_back, give_back=give_back)),
        deadline=_deadline(terms, judged, view, time_over=time_over, closed=closed),
    )


def sealed_text(terms: Terms) -> str:
    """Return what a seal covers of what a payer is asked for: the price, until when, and what is due in each asset."""
    due = [f"{option.asset.id} {option.due_units}" for option in terms.options]
    if len(due) > 1:
        due.sort()
    until = (terms.expires_at - _EPOCH) // _MICROSECOND
    # PostgreSQL's text cannot hold the separator.
    return f"{terms.id}\0{terms.amount_units}\0{terms.currency.code}\0{until}\0" + "\0".join(due)


def fresh(terms: Terms) -> Standing:
    """Return where an invoice stands when it is made: what `evaluate` says of one that nothing has come for."""
    return Standing(
        status=Status.NEW,
        flags=(),
        rules=(),
        is_final=False,
        paid_units=0,
        settled_units=0,
        due_units=terms.amount_units,
        over_units=0,
        paid_share=_NOTHING,
        settled_share=_NOTHING,
        payments=(),
        splits=(),
        given_back=(),
        deadline=terms.expires_at,
    )


def changes(before: Announced | None, after: Standing) -> tuple[str, ...]:
    """Return the event types that lead from what was last announced to what is true now: none, or exactly one."""
    if before is None:
        return ("invoice.created",)
    if before.status is not after.status:
        fell_back = _PROGRESS[after.status] < _PROGRESS[before.status] and after.status is not Status.INVALID
        return ("invoice.reopened",) if fell_back or after.status is Status.NEW else (f"invoice.{after.status}",)
    said = (before.flags, before.rules, before.paid_units, before.settled_units, before.is_final)
    if said != (after.flags, after.rules, after.paid_units, after.settled_units, after.is_final):
        return ("invoice.updated",)
    return ()


def payment_changes(payment: Payment, after: PaymentStanding) -> tuple[str, ...]:
    """Return the event types that a payment's new standing must announce: none, or exactly one."""
    return () if payment.status is after.status else (f"payment.{after.status}",)


def option_paid(option: Option, payments: Sequence[Payment], spends: Sequence[Spend], standing: Standing) -> int:
    """Return the units of an option's asset that living payments and spends of credit brought."""
    alive = {s.id for s in standing.payments if s.status.alive}
    paid = sum(p.units for p in payments if p.asset == option.asset.id and p.id in alive)
    return paid + sum(spend.units for spend in spends if spend.asset == option.asset.id)


def option_due(option: Option, standing: Standing) -> int:
    """Return the units of an option's asset that would complete the payment; rounded UP, in the merchant's favour."""
    if standing.due_units == 0:
        return 0
    if standing.paid_share == 0:
        return option.due_units
    exact = (1 - standing.paid_share) * option.due_units
    return -(-exact.numerator // exact.denominator)


def option_to_send(due_units: int, least_units: int, step_units: int = 1) -> int:
    """Return the units that a payer is asked to send where so many are due: no less than the network carries.

    Rounded UP to whole steps, in the merchant's favour; less than a step too much is price, what is over by more is the
    policy's. A rest that the tolerance covers is not due.
    """
    return max(-(-due_units // step_units) * step_units, least_units) if due_units else 0


def _status(decision: Decision | None, sums: Tally, enough: Fraction, *, time_over: bool) -> Status:
    if decision is not None:
        return Status.SETTLED if decision is Decision.SETTLED else Status.INVALID
    if sums.counted_settled >= enough:
        return Status.SETTLED
    if sums.counted >= enough:
        return Status.PROCESSING
    return Status.EXPIRED if time_over else Status.NEW


def _is_short(sums: Tally, need: Fraction) -> bool:
    return 0 < sums.paid < need and sums.counted < need


def _status_rules(
    decision: Decision | None,
    parts: Sequence[Part],
    sums: Tally,
    need: Fraction,
    enough: Fraction,
    *,
    closed: bool,
    give_back: bool,
) -> tuple[Rule, ...]:
    """Name what decided where an invoice stands; nothing where it was simply paid, or is awaited."""
    credited = any(give_back or part.given for part in parts)
    if decision is not None:
        return (Rule.MARKED, Rule.SHORT_CREDIT) if credited else (Rule.MARKED,)
    raised = {
        Rule.TOLERANCE: need <= sums.counted < 1,
        Rule.SHORT_FLAG: closed and not give_back and sums.counted < enough and _is_short(sums, need),
        Rule.SHORT_ACCEPT: enough <= sums.counted < need,
        Rule.SHORT_CREDIT: credited,
        **{rule: sums.in_time < need and any(p.lateness is late for p in parts) for late, rule in _LATE.items()},
    }
    return tuple(rule for rule in Rule if raised.get(rule))


def _split_rules(parts: Sequence[Part], splits: Sequence[Split], *, give_back: bool) -> tuple[Rule, ...]:
    """Name what decided where the excess went."""
    given = {part.id for part in parts if give_back or part.given}
    raised = {
        Rule.OVER_FLAG: any(split.excess for split in splits),
        Rule.OVER_CREDIT: any(split.credit for split in splits if split.id not in given),
    }
    return tuple(rule for rule, applies in raised.items() if applies)


def _given(parts: Sequence[Part], before: Sequence[Cause], *, give_back: bool) -> tuple[Cause, ...]:
    """Return whose settled money is given back now and was not before."""
    return tuple(part.id for part in parts if give_back and part.settled and part.id not in before)


def _judged(
    terms: Terms,
    options: Mapping[str, Option],
    payments: Sequence[Payment],
    view: View,
    given_back: Sequence[Cause],
) -> list[tuple[Payment, PaymentStanding]]:
    """Pair each payment, in the order of coming, with where it stands, together with what lives of those before it.

    What was given back comes first: one that is back from the dead asks more of itself, not of what was settled.
    """
    came: dict[str, int] = {}
    judged = []
    place = {cause: number for number, cause in enumerate(given_back)}
    for payment in sorted(payments, key=lambda each: (place.get(each.id, len(place)), order(each))):
        with_it = came.get(payment.asset, 0) + payment.units
        standing = _judge(terms, options.get(payment.asset), payment, with_it, view)
        if standing.status.alive:
            came[payment.asset] = with_it
        judged.append((payment, standing))
    return judged


def _judge(terms: Terms, option: Option | None, payment: Payment, came: int, view: View) -> PaymentStanding:
    worth = Fraction(0) if option is None else share_of(option, payment, terms)
    rate, sight = None if option is None else option.rate, view.sights[payment.key.network]
    return judge(
        payment,
        required(payment, _tier(terms, option, came), sight),
        sight,
        value_units=round(worth * terms.amount_units),
        rate=rate if rate is None or payment.late_rate is None else payment.late_rate,
    )


def _tier(terms: Terms, option: Option | None, came: int) -> Tier:
    if option is None:
        # Nobody agreed on how deep it must lie: as deep as the strictest of what was agreed on.
        return strictest([tier for offered in terms.options for tier in offered.tiers])
    # The larger of the price and what came so far decides: splitting either into small payments must not lower its
    # threshold, for the excess may become credit as soon as it settles.
    return tier_of(option.tiers, max(option.due_units, came))


def _worth(share: Fraction, need: Fraction, terms: Terms) -> int:
    # Half-even, but never rounded up to the whole price while something is missing.
    units = round(share * terms.amount_units)
    return min(units, terms.amount_units - 1) if share < need else units


def _deadline(
    terms: Terms,
    judged: Sequence[tuple[Payment, PaymentStanding]],
    view: View,
    *,
    time_over: bool,
    closed: bool,
) -> datetime | None:
    moments = [] if closed else [terms.accepts_until if time_over else terms.expires_at]
    for payment, standing in judged:
        missing_since, sight = payment.sighting.missing_since, view.sights[payment.key.network]
        if missing_since is not None and standing.status is PaymentStatus.DETECTED and sight.followed:
            moments.append(drops_at(missing_since, sight))
    return min(moments, default=None)
