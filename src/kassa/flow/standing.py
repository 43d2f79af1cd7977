"""Work out where invoices stand now, and write the difference to what was last announced."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import kassa.events.store as events
import kassa.invoices.store as invoices
import kassa.ledger.store as ledger
import kassa.payments.store as payments
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import NotFound
from kassa.core.ids import InvoiceId
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow import picture as pictures
from kassa.flow.picture import Picture
from kassa.house import House
from kassa.invoices.model import Announced, Decision, Status
from kassa.invoices.resource import invoice_resource, payment_resources
from kassa.invoices.rules import changes, payment_changes
from kassa.ledger.model import Entry
from kassa.ledger.rules import Balances, delta, wanted, wanted_unowned
from kassa.payments.model import Payment
from kassa.payments.model import Status as PaymentStatus
from kassa.stores.model import Store


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What an invoice's new standing asks to be written."""

    announced: Announced
    payments: tuple[Payment, ...]
    events: tuple[NewEvent, ...]


async def reassess(tx: Tx, house: House, ids: Collection[InvoiceId], now: datetime) -> None:
    """Bring what is announced of invoices, the books and the outbox in line with the facts.

    Locks the invoices in id order. Doing it again, or for invoices on which nothing changed, writes nothing.
    """
    if not ids:
        return
    await invoices.lock(tx, sorted(ids))
    taken = await pictures.take(tx, house, sorted(ids), now)
    outcomes = [(picture, _outcome(house, picture, now)) for picture in taken]
    said = [(p.terms.id, o.announced) for p, o in outcomes if o.announced != p.announced]
    await invoices.announce(tx, said)
    crashpoint("flow.announced")
    await _announce_payments(tx, outcomes)
    await _post(tx, outcomes, now)
    crashpoint("flow.posted")
    await events.write(tx, [event for _, outcome in outcomes for event in outcome.events], now)
    crashpoint("flow.events")


async def post_unowned(tx: Tx, network: str, above: int, now: datetime) -> None:
    """Bring the books in line with money that has no owner, as far as blocks above a height gave or took it."""
    arrived = await payments.unowned(tx, network, above)
    if not arrived:
        return
    posted = await ledger.posted(tx, [payment.id for payment in arrived])
    entries = []
    for payment in arrived:
        in_block = payment.sighting.block is not None
        should = wanted_unowned(network, payment.asset, payment.units, in_block=in_block)
        if postings := delta(posted.get(payment.id, {}), should):
            entries.append(Entry(None, payment.id, None, "payment without an owner", postings))
    await ledger.post(tx, entries, now)


async def on_deadlines(tx: Tx, house: House, now: datetime, limit: int = 100) -> int:
    """Reassess invoices whose deadline has passed; return how many there were."""
    due = await invoices.due(tx, now, limit, list(house.settings.networks))
    await reassess(tx, house, due, now)
    return len(due)


async def mark_invoice(
    tx: Tx, house: House, store: Store, invoice_id: str, decision: Decision, by: str, now: datetime
) -> dict[str, Any]:  # JSON
    """Add a person's decision to an invoice and return its resource; raises `NotFound`."""
    ids = [InvoiceId(invoice_id)]
    # Before the lock: nobody may hold, or wait for, a row of another store.
    if await invoices.store_of(tx, invoice_id) != store.id:
        raise NotFound("there is no such invoice in this store")
    await invoices.lock(tx, ids)
    await invoices.put_decision(tx, ids[0], decision, by, now)
    await reassess(tx, house, ids, now)
    return pictures.resource(house, (await pictures.take(tx, house, ids, now))[0])


def _outcome(house: House, picture: Picture, now: datetime) -> _Outcome:
    standing, before = picture.standing, picture.announced
    standings = {s.id: s for s in standing.payments}
    arrived = tuple(_announced(payment, standings, now) for payment in picture.payments)
    settled_at = (before.settled_at or now) if standing.status is Status.SETTLED else None
    announced = Announced(
        standing.status,
        standing.flags,
        standing.rules,
        standing.is_final,
        standing.paid_units,
        standing.settled_units,
        settled_at,
        standing.deadline,
    )
    said = changes(before, standing)
    steps = {p.id: payment_changes(p, standings[p.id]) for p in picture.payments if p.id in standings}
    if not said and not any(steps.values()):
        return _Outcome(announced, arrived, ())
    shown = pictures.shown(house, picture, settled_at, arrived)
    terms = picture.terms
    written = [
        NewEvent(terms.store_id, type_, resource, terms.id, terms.webhook_url)
        for resource in payment_resources(shown)
        for type_ in steps[resource["id"]]
    ]
    if said:
        resource = invoice_resource(shown)
        written += [NewEvent(terms.store_id, type_, resource, terms.id, terms.webhook_url) for type_ in said]
    return _Outcome(announced, arrived, tuple(written))


def _announced(payment: Payment, standings: Any, now: datetime) -> Payment:  # standings: by payment id
    standing = standings.get(payment.id)
    if standing is None:
        return payment
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


async def _announce_payments(tx: Tx, outcomes: list[tuple[Picture, _Outcome]]) -> None:
    said = [
        after
        for picture, outcome in outcomes
        for before, after in zip(picture.payments, outcome.payments, strict=True)
        if after != before and after.status is not None
    ]
    await payments.announce(tx, said)


async def _post(tx: Tx, outcomes: list[tuple[Picture, _Outcome]], now: datetime) -> None:
    arrived = [
        (payment, {option.asset.id for option in picture.terms.options})
        for picture, outcome in outcomes
        for payment in outcome.payments
        if payment.status is not None
    ]
    if not arrived:
        return
    posted = await ledger.posted(tx, [payment.id for payment, _ in arrived])
    entries = [
        entry
        for payment, offered in arrived
        if (entry := _entry(payment, posted.get(payment.id, {}), payment.asset in offered)) is not None
    ]
    await ledger.post(tx, entries, now)


def _entry(payment: Payment, posted: Balances, offered: bool) -> Entry | None:
    assert payment.status is not None
    should = wanted(payment.key.network, payment.asset, payment.units, payment.status, offered=offered)
    postings = delta(posted, should)
    if not postings:
        return None
    return Entry(payment.store_id, payment.id, payment.invoice_id, f"payment {payment.status}", postings)
