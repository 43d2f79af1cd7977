"""Bring the books, and the credit of customers, in line with where payments and spends stand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import kassa.alerts.store as alerts
import kassa.customers.store as customers
import kassa.events.store as events
import kassa.ledger.store as ledger
import kassa.payments.store as payments
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.crashpoint import crashpoint
from kassa.core.ids import CustomerId
from kassa.core.money import Currency, format_units
from kassa.customers.resource import credit_resource
from kassa.customers.store import Owed, Purse
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.ledger.model import UNOWNED, Entry, Posting, Worth, customer, wallet
from kassa.ledger.rules import Balances, claimed, delta, moved, owing, wanted_claim

_PREFIX = customer(CustomerId(""))


@dataclass(frozen=True, slots=True)
class Booking:
    """What the books should say of one payment or spend: `entry` names the cause and the reason, without postings.

    `debited` are units that a spend took from its customer's credit in this very transaction.
    """

    entry: Entry
    should: Balances
    worth: Worth
    currency: Currency
    debited: int = 0


async def post(tx: Tx, bookings: Sequence[Booking], now: datetime) -> None:
    """Write the entries that are missing, and what follows for the credit of customers, with its events.

    What was credited and spent, and is then taken back, the customer owes; an alert is opened once and closed when
    nothing is to be had any more. Doing it again writes nothing.
    """
    if not bookings:
        return
    known = [booking.entry.cause for booking in bookings if not booking.debited]
    posted = await ledger.posted(tx, known) if known else {}
    entries, moves, latest = [], dict[Purse, int](), dict[Purse, Booking]()
    told: list[NewEvent] = []
    for booking in bookings:
        before = posted.get(booking.entry.cause, {})
        postings = delta(before, booking.should, booking.worth.rate)
        if not postings:
            continue
        entries.append(replace(booking.entry, postings=postings))
        for posting in postings:
            if not posting.account.startswith(_PREFIX) or not posting.units:
                continue
            purse = CustomerId(posting.account.removeprefix("customer:")), posting.asset
            added = booking.debited - posting.units
            moves[purse], latest[purse] = moves.get(purse, 0) + added, booking
            if added > 0:
                told.append(_credited(booking, purse, posting, added, now))
    owed = await customers.move(tx, {purse: units for purse, units in moves.items() if units})
    crashpoint("flow.credited")
    lost = {purse: latest[purse] for purse, each in owed.items() if each.before != each.after}
    claims = await _claims(tx, lost, owed)
    await ledger.post(tx, [*entries, *[claim.entry for claim in claims]], now)
    await events.write(tx, told, now)
    for claim in claims:
        if bool(claim.before) != bool(claim.after):
            await _tell_of_claim(tx, claim, now)


async def post_unowned(tx: Tx, network: str, above: int, now: datetime) -> None:
    """Bring the books in line with money that has no owner, as far as blocks above a height gave or took it."""
    arrived = await payments.unowned(tx, network, above)
    if not arrived:
        return
    posted = await ledger.posted(tx, [payment.id for payment in arrived])
    entries = []
    for payment in arrived:
        # Without a store there is no currency to value it in.
        worth, parts = Worth(None, 0, 0), [(UNOWNED, payment.units)]
        held = payment.sighting.block is not None
        should = moved(payment.asset, wallet(network), parts, worth) if held else {}
        if postings := delta(posted.get(payment.id, {}), should, None):
            entries.append(Entry(None, "payment without an owner", payment_id=payment.id, postings=postings))
    await ledger.post(tx, entries, now)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What changes of what a customer owes: units to be had before and after, and the entry about it."""

    booking: Booking
    purse: Purse
    before: int
    after: int
    entry: Entry


async def _claims(tx: Tx, lost: dict[Purse, Booking], owed: dict[Purse, Owed]) -> list[_Claim]:
    if not lost:
        return []
    posted = await ledger.posted(tx, sorted({customer_id for customer_id, _ in lost}))
    return [_claim(booking, purse, posted.get(purse[0], {}), owed[purse]) for purse, booking in lost.items()]


def _claim(booking: Booking, purse: Purse, posted: Balances, owed: Owed) -> _Claim:
    customer_id, asset = purse
    before = {key: amount for key, amount in posted.items() if key[1] == asset}
    claim = claimed(before, asset)
    due = owed.after - owed.written_off
    should = wanted_claim(customer_id, asset, owing(claim, due, owed.written_off, booking.worth))
    reason = "credit that was spent and lost" if owed.after > owed.before else "lost credit is back"
    postings = delta(before, should, booking.worth.rate)
    entry = Entry(booking.entry.store_id, reason, customer_id=customer_id, postings=postings)
    return _Claim(booking, purse, claim.receivable.units, due, entry)


def _credited(booking: Booking, purse: Purse, posting: Posting, added: int, now: datetime) -> NewEvent:
    entry, worth, currency = booking.entry, booking.worth, booking.currency
    value = None
    if posting.rate is not None:
        value = format_units(worth.of(added).value, currency.decimals), currency.code
    body = credit_resource(
        *purse,
        format_units(added, worth.decimals),
        value,
        (entry.payment_id, entry.spend_id, entry.invoice_id),
        now,
    )
    return _event(booking, "customer.credited", body)


async def _tell_of_claim(tx: Tx, claim: _Claim, now: datetime) -> None:
    customer_id, asset = claim.purse
    subject = f"{customer_id}/{asset}"
    amount = format_units(claim.after or claim.before, claim.booking.worth.decimals)
    if not claim.after:
        ended = f"{amount} {asset} that {customer_id} had spent and lost has come again, or been made good"
        await alerts.close_alert(tx, Kind.CREDIT_LOST, subject, ended, now)
        return
    said = f"{amount} {asset} of {customer_id} was spent, then taken back by the chain or by a person's decision: owed"
    invoice = claim.booking.entry.invoice_id
    about = {"customer_id": customer_id, "asset": asset, "amount": amount, "invoice_id": invoice}
    store = claim.booking.entry.store_id
    loss = Finding(Kind.CREDIT_LOST, subject, Severity.WARNING, said, store_id=store, about=about)
    await alerts.open_alert(tx, loss, now)


def _event(booking: Booking, type_: str, body: dict[str, Any]) -> NewEvent:
    assert booking.entry.store_id is not None
    return NewEvent(booking.entry.store_id, type_, body, booking.entry.invoice_id)
