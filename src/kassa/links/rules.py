"""Where a payment link stands, what must be said about it, and who gets which invoice. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from kassa.core.ahead import AHEAD
from kassa.core.errors import Conflict, FieldFault, Invalid, Throttled
from kassa.core.ids import InvoiceId
from kassa.core.money import Currency, format_units, parse_amount
from kassa.invoices.model import Status as InvoiceStatus
from kassa.links.model import MAKING, Alike, Announced, Ask, Attempt, Chosen, Fixed, Flag, Link, Standing, Status

UNPAID_PER_HOUR = {False: 20, True: 60}
"""How many invoices of one link may be unpaid among those of the last hour, by whether it is reusable.

Each takes an address for ever, and a wallet looks only so far beyond the last address that was used.
"""
UNPAID_PER_PAYER = 6
UNPAID_PER_ADDRESS = 12
"""Whoever has one network address cannot use up what a link allows, and shut out all others."""
UNPROVEN_PER_ADDRESS = 3
"""So many unpaid payments of a link anybody may have begun from one address in an hour, before work must be proven."""
_HOUR = timedelta(hours=1)
_SPARE = timedelta(seconds=30)
_PROGRESS = {Status.OPEN: 0, Status.EXPIRED: 0, Status.CLOSED: 0, Status.PROCESSING: 1, Status.COMPLETED: 2}


def read_ask(amount: str | None, least: str | None, most: str | None, currency: Currency) -> Ask:
    """Read what a link asks for: an amount, or bounds between which the payer chooses. Raises `Invalid`."""
    if amount is not None:
        if least is not None or most is not None:
            raise Invalid(FieldFault("amount", "is either given, or chosen by the payer between bounds: not both"))
        return Fixed(_positive("amount", amount, currency))
    if least is None:
        raise Invalid(FieldFault("amount", "is required, or min_amount where the payer shall choose"))
    bounds = Chosen(
        _positive("min_amount", least, currency), None if most is None else _positive("max_amount", most, currency)
    )
    if bounds.most is not None and bounds.most < bounds.least:
        raise Invalid(FieldFault("max_amount", "is less than min_amount"))
    return bounds


def evaluate(link: Link, invoices: Iterable[Alike], now: datetime) -> Standing:
    """Decide where a link stands, afresh, from where its invoices stand; their order plays no part."""
    alike = tuple(invoices)
    counted = [each for each in alike if each.status is not InvoiceStatus.INVALID]
    paid = sum(each.paid_units for each in counted)
    wanted = link.ask.units if isinstance(link.ask, Fixed) and not link.reusable else None
    covered = sum(_covers(each) for each in counted)
    status = _status(link, counted, covered, wanted, now)
    due = None if wanted is None else max(0, wanted - covered)
    enough = _chosen(counted) if wanted is None else wanted
    over = 0 if link.reusable or enough is None else max(0, paid - enough)
    short = not link.reusable and (enough is None or bool(due))
    flags = {
        Flag.UNDERPAID: bool(paid and short) and status in (Status.EXPIRED, Status.CLOSED),
        Flag.OVERPAID: over > 0,
        Flag.LATE: not link.reusable and any(each.late for each in counted),
        Flag.REVERSED: not link.reusable and any(each.reversed for each in alike),
    }
    return Standing(
        status=status,
        flags=tuple(flag for flag, raised in flags.items() if raised),
        paid_units=paid,
        settled_units=sum(each.settled_units for each in counted),
        due_units=due,
        over_units=over,
        invoices={kind: sum(each.count for each in alike if each.status is kind) for kind in InvoiceStatus},
        deadline=link.expires_at if link.expires_at is not None and link.expires_at >= now else None,
    )


def announced(link: Link, standing: Standing) -> Announced:
    """Return what there is to announce of a standing."""
    if link.reusable:
        return Announced(standing.status, standing.flags, 0, 0)
    return Announced(standing.status, standing.flags, standing.paid_units, standing.settled_units)


def changes(before: Announced | None, after: Announced) -> tuple[str, ...]:
    """Return the event types that lead from what was last announced to what is true now: none, or exactly one."""
    if before is None:
        return ("payment_link.created",)
    if before.status is not after.status:
        fell_back = _PROGRESS[after.status] < _PROGRESS[before.status]
        reopened = fell_back or after.status is Status.OPEN
        return ("payment_link.reopened",) if reopened else (f"payment_link.{after.status}",)
    return ("payment_link.updated",) if before != after else ()


def asked(link: Link, standing: Standing, given: str | None) -> int:
    """Return what the next invoice asks for, in units: what is due, or what the payer chose.

    Raises `Invalid` for a choice out of bounds, `Conflict` (`link_not_open`) where there is nothing to pay.
    """
    if standing.status is not Status.OPEN:
        raise Conflict(f"this payment link is {standing.status}", code="link_not_open")
    match link.ask:
        case Fixed(units):
            return units if standing.due_units is None else standing.due_units
        case Chosen(least, most):
            choice = _units(given or "", link.currency)
            if choice is None or choice < least or (most is not None and choice > most):
                raise Invalid(FieldFault("amount", f"must be a number, {bounds_text(link.ask, link.currency)}"))
            return choice
        case _:
            assert_never(link.ask)


def bounds_text(ask: Chosen, currency: Currency) -> str:
    """Write bounds for people."""
    least = format_units(ask.least, currency.decimals)
    if ask.most is None:
        return f"at least {least} {currency.code}"
    return f"{least} to {format_units(ask.most, currency.decimals)} {currency.code}"


def continued(link: Link, attempts: Sequence[Attempt], units: int, now: datetime) -> InvoiceId | None:
    """Return the open invoice with which an attempt to pay `units` goes on, if there is one.

    Of a reusable link each payer has their own; of another anybody goes on with what is open: it is paid once. Where an
    amount is due, it is what an invoice still lacks that must be that; where it was chosen, the invoice's price, or
    whatever the rest of what somebody has begun to pay is.
    """
    due, once = isinstance(link.ask, Fixed) and not link.reusable, not link.reusable
    for attempt in attempts:
        if once and not due and attempt.paid_units and attempt.invoice is not None and _is_open(attempt, now):
            return attempt.invoice
        mine, asked_ = attempt.mine or not link.reusable, attempt.asked_units - (attempt.paid_units if due else 0)
        if mine and attempt.invoice is not None and _is_open(attempt, now) and asked_ == units:
            return attempt.invoice
    return None


def check_room(link: Link, attempts: Sequence[Attempt], now: datetime) -> None:
    """Raise `Throttled` when no more invoices may be made for a link now, `Conflict` while one is being made."""
    making = [each for each in attempts if each.invoice is None and -AHEAD <= now - each.began_at < MAKING]
    if any(each.mine or not link.reusable for each in making):
        raise Conflict("the invoice is just being made", code="attempt_in_progress")
    # An attempt that ended without an invoice, whatever ended it, showed no address to anybody.
    begun = [each for each in attempts if each.invoice is not None or each in making]
    recent = _unpaid(begun, now)
    mine, near = sum(each.mine for each in recent), sum(each.near for each in recent)
    full = mine >= UNPAID_PER_PAYER or near >= UNPAID_PER_ADDRESS
    if full or len(recent) >= UNPAID_PER_HOUR[link.reusable]:
        raise Throttled("too many payments of this link were begun and not made; try again later")


def needs_proof(link: Link, attempts: Sequence[Attempt], now: datetime) -> bool:
    """Tell whether whoever begins one more payment must prove work, where that is asked for at all.

    Once several were begun from the same address, or half of what the link allows is used up, by whomever.
    """
    recent = _unpaid([each for each in attempts if each.invoice is not None], now)
    many = 2 * len(recent) >= UNPAID_PER_HOUR[link.reusable]
    return many or sum(each.near for each in recent) >= UNPROVEN_PER_ADDRESS


def _unpaid(begun: Iterable[Attempt], now: datetime) -> list[Attempt]:
    return [each for each in begun if -AHEAD <= now - each.began_at < _HOUR and _is_unpaid(each)]


def _units(text: str, currency: Currency) -> int | None:
    try:
        return parse_amount(text, currency.decimals)
    except Invalid:
        return None


def _chosen(counted: Iterable[Alike]) -> int | None:
    """Return what a payer chose and paid in full, the most where several did: one whole payment uses the link up."""
    whole = [each.asked_units // each.count for each in counted if _is_whole(each)]
    return max(whole, default=None)


def _positive(field: str, text: str, currency: Currency) -> int:
    units = parse_amount(text, currency.decimals, field=field)
    if units == 0:
        raise Invalid(FieldFault(field, "must be more than zero"))
    return units


def _status(link: Link, counted: Sequence[Alike], covered: int, wanted: int | None, now: datetime) -> Status:
    if not link.reusable:
        final = sum(_completes(each) for each in counted)
        settled = any(each.status is InvoiceStatus.SETTLED for each in counted)
        if settled if wanted is None else final >= wanted:
            return Status.COMPLETED
        awaited = any(map(_is_whole, counted))
        if awaited if wanted is None else covered >= wanted:
            return Status.PROCESSING
    if link.closed_at is not None:
        return Status.CLOSED
    return Status.EXPIRED if link.expires_at is not None and now > link.expires_at else Status.OPEN


def _covers(each: Alike) -> int:
    """What need not be asked for again because of an invoice: what was paid, or all of it once that was enough."""
    enough = each.status in (InvoiceStatus.SETTLED, InvoiceStatus.PROCESSING)
    return max(each.asked_units, each.paid_units) if enough else each.paid_units


def _is_whole(each: Alike) -> bool:
    return each.status in (InvoiceStatus.SETTLED, InvoiceStatus.PROCESSING) or _is_undecided(each)


def _completes(each: Alike) -> int:
    """What of it is final. A full payment that came too late is not, until the merchant has decided."""
    if each.status is InvoiceStatus.SETTLED:
        return max(each.asked_units, each.settled_units)
    return 0 if _is_undecided(each) else each.settled_units


def _is_undecided(each: Alike) -> bool:
    return each.status is InvoiceStatus.EXPIRED and each.late


def _is_open(attempt: Attempt, now: datetime) -> bool:
    # Who is sent to an invoice in its last seconds cannot pay it in time.
    spare = timedelta(0) if attempt.paid_units else _SPARE
    return attempt.status is InvoiceStatus.NEW and attempt.expires_at is not None and now + spare < attempt.expires_at


def _is_unpaid(attempt: Attempt) -> bool:
    return attempt.paid_units == 0 and attempt.status is not InvoiceStatus.SETTLED
