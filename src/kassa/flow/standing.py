"""Work out where invoices and deposits stand now, and write the difference to what was last announced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import kassa.audit.store as audit
import kassa.customers.store as customers
import kassa.events.store as events
import kassa.invoices.deadline_store as deadlines
import kassa.invoices.decision_store as decisions
import kassa.invoices.given_store as given_back
import kassa.invoices.store as invoices
import kassa.payments.store as payments
import kassa.watch.store as watch
from kassa.audit.model import Actor
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import NotFound
from kassa.core.ids import CustomerId, InvoiceId
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow import booking, deposits
from kassa.flow import picture as pictures
from kassa.flow.accounts import bookings
from kassa.flow.deposits import Deposit
from kassa.flow.linking import follow_links
from kassa.flow.picture import Picture
from kassa.flow.reading import read_each, tell_unreadable
from kassa.house import House
from kassa.invoices.model import Announced, Decision, Status
from kassa.invoices.resource import invoice_resource, payment_resources
from kassa.invoices.rules import changes, payment_changes
from kassa.payments.model import Payment, PaymentStanding, Touched
from kassa.payments.model import Status as PaymentStatus
from kassa.stores.model import Store


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a new standing asks to be written."""

    payments: tuple[tuple[Payment, Payment], ...]  # as announced before, and now
    events: tuple[NewEvent, ...]
    announced: Announced | None = None


async def reassess(tx: Tx, house: House, touched: Touched, now: datetime) -> None:
    """Bring what is announced of invoices and deposits, the books and the outbox in line with the facts.

    Locks the invoices in id order, then the customers of the deposits. Doing it again, or where nothing changed, writes
    nothing. What cannot be read is left out, with an alert.
    """
    await lock(tx, touched)
    taken, faults = await read_each(partial(pictures.take, tx, house, now=now), sorted(touched.invoices))
    held, others = await read_each(partial(deposits.take, tx, house), sorted(touched.deposits))
    await tell_unreadable(tx, {**faults, **others}, now)
    await watch.note_left(tx, _left(taken), now)
    crashpoint("flow.locked")
    await announce(tx, house, taken, held, now)


async def lock(tx: Tx, touched: Touched) -> None:
    """Lock what `reassess` locks."""
    await invoices.lock(tx, sorted(touched.invoices))
    await _lock_customers(tx, touched)


async def announce(tx: Tx, house: House, taken: Sequence[Picture], held: Sequence[Deposit], now: datetime) -> None:
    """Write the difference between what was announced of locked invoices and deposits and what is true of them now."""
    if not taken and not held:
        return
    outcomes = [_outcome(house, picture, now) for picture in taken]
    said = [
        (picture.terms.id, outcome.announced)
        for picture, outcome in zip(taken, outcomes, strict=True)
        if outcome.announced is not None and outcome.announced != picture.announced
    ]
    await invoices.announce(tx, said)
    given = [
        (picture.terms.id, cause)
        for picture in taken
        for cause in picture.standing.given_back[len(picture.given_back) :]
    ]
    await given_back.put(tx, given, now)
    crashpoint("flow.announced")
    outcomes += [_deposit_outcome(deposit, now) for deposit in held]
    changed = [after for outcome in outcomes for before, after in outcome.payments if after != before]
    await payments.announce(tx, [payment for payment in changed if payment.status is not None])
    crashpoint("flow.payments")
    await events.write(tx, [event for outcome in outcomes for event in outcome.events], now)
    announced = {invoice for invoice, _ in said}
    linked = [p.terms.link_id for p in taken if p.terms.link_id is not None and p.terms.id in announced]
    await follow_links(tx, house, linked, now)
    crashpoint("flow.events")
    should = [each for picture in taken for each in bookings(picture)]
    await booking.post(tx, [*should, *map(deposits.booking, held)], now)
    crashpoint("flow.posted")


def _left(taken: Sequence[Picture]) -> set[str]:
    return {
        option.asset.network
        for picture in taken
        for option in picture.terms.options
        if not picture.sights[option.asset.network].followed
    }


async def on_deadlines(tx: Tx, house: House, now: datetime, limit: int = 100) -> int:
    """Reassess invoices whose deadline has passed; return how many there were."""
    due = await deadlines.due(tx, now, limit, list(house.settings.networks))
    await reassess(tx, house, Touched(frozenset(due)), now)
    return len(due)


async def mark_invoice(
    tx: Tx, house: House, store: Store, invoice_id: str, decision: Decision, by: Actor, now: datetime
) -> dict[str, Any]:  # JSON
    """Add a person's decision to an invoice and return its resource; raises `NotFound`."""
    ids = [InvoiceId(invoice_id)]
    await hold_invoice(tx, store, ids[0])
    await decisions.put(tx, ids[0], decision, by.name, now)
    await reassess(tx, house, Touched(frozenset(ids)), now)
    marked = {"as": decision.value}
    await audit.record(tx, by, "invoice.marked", invoice_id, now, store_id=store.id, after=marked)
    return pictures.resource(house, (await pictures.take(tx, house, ids, now))[0])


async def hold_invoice(tx: Tx, store: Store, invoice_id: InvoiceId) -> None:
    """Lock a store's invoice; raises `NotFound`."""
    if not await invoices.hold(tx, store.id, invoice_id):
        raise NotFound("there is no such invoice in this store")


async def _lock_customers(tx: Tx, touched: Touched) -> None:
    if touched.deposits:
        owners = {payment.customer_id for payment, _ in await payments.deposits(tx, touched.deposits)}
        await customers.lock(tx, [CustomerId(owner) for owner in owners if owner is not None])


def _outcome(house: House, picture: Picture, now: datetime) -> _Outcome:
    standing, before = picture.standing, picture.announced
    standings = {s.id: s for s in standing.payments}
    arrived = tuple(standing_payment(payment, standings[payment.id], now) for payment in picture.payments)
    both = tuple(zip(picture.payments, arrived, strict=True))
    announced = announced_of(picture, now)
    said = changes(before, standing)
    steps = {p.id: step for p in picture.payments if (step := payment_changes(p, standings[p.id]))}
    if not said and not steps:
        return _Outcome(both, (), announced)
    shown = pictures.shown(house, picture, announced.settled_at, arrived)
    terms = picture.terms
    written = [
        NewEvent(terms.store_id, type_, resource, terms.id, terms.webhook_url)
        for resource in payment_resources(shown, steps)
        for type_ in steps[resource["id"]]
    ]
    if said:
        resource = invoice_resource(shown)
        written += [NewEvent(terms.store_id, type_, resource, terms.id, terms.webhook_url) for type_ in said]
    return _Outcome(both, tuple(written), announced)


def _deposit_outcome(deposit: Deposit, now: datetime) -> _Outcome:
    before, standing = deposit.payment, deposit.standing
    after = standing_payment(before, standing, now)
    assert after.store_id is not None
    shown = deposits.resource(replace(deposit, payment=after))
    written = [NewEvent(after.store_id, type_, shown) for type_ in payment_changes(before, standing)]
    return _Outcome(((before, after),), tuple(written))


def announced_of(picture: Picture, now: datetime) -> Announced:
    """Return what is to be announced of an invoice: where it stands, and since when it is settled."""
    standing, before = picture.standing, picture.announced
    return Announced(
        standing.status,
        standing.flags,
        standing.rules,
        standing.is_final,
        standing.paid_units,
        standing.settled_units,
        (before.settled_at or now) if standing.status is Status.SETTLED else None,
        standing.deadline,
    )


def standing_payment(payment: Payment, standing: PaymentStanding, now: datetime) -> Payment:
    """Return a payment as it is to be stored where it stands now."""
    # Kept when it is no longer settled: that it once was is what makes its loss a reversal.
    settled_at = payment.settled_at or (now if standing.status is PaymentStatus.SETTLED else None)
    return replace(
        payment,
        status=standing.status,
        value_units=standing.value_units,
        confirmations_required=standing.confirmations_required,
        needs_final=standing.needs_final,
        settled_at=settled_at,
    )
