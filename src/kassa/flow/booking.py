"""Bring the books, and the credit of customers, in line with where payments and spends stand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import kassa.customers.store as customers
import kassa.events.store as events
import kassa.ledger.store as ledger
import kassa.payments.store as payments
from kassa.core.crashpoint import crashpoint
from kassa.core.ids import CustomerId, InvoiceId
from kassa.core.money import Currency, format_units
from kassa.customers.resource import credit_resource
from kassa.customers.store import Owed, Purse
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow import lost_credit
from kassa.ledger.model import UNOWNED, Entry, Posting, Worth, customer, wallet
from kassa.ledger.rules import Balances, claimed, delta, moved, owing, together, wanted_claim

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

    What was credited and spent, and is then taken back, the customer owes; an alert is opened once, says what is to be
    had now, and is closed when that is nothing. Doing it again writes nothing.
    """
    if not bookings:
        return
    known = [booking.entry.cause for booking in bookings if not booking.debited]
    posted = await ledger.posted(tx, known) if known else {}
    entries, moves = [], dict[Purse, list[_Move]]()
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
            moves.setdefault(purse, []).append(_Move(booking, added))
            if added > 0:
                told.append(_credited(booking, purse, posting, added, now))
    sums = {purse: sum(move.added for move in each) for purse, each in moves.items()}
    owed = await customers.move(tx, {purse: units for purse, units in sums.items() if units})
    crashpoint("flow.credited")
    changed = {purse: moves[purse] for purse, each in owed.items() if each.before != each.after}
    claims = await _claims(tx, changed, owed)
    await ledger.post(tx, [*entries, *[claim.entry for claim in claims]], now)
    await events.write(tx, told, now)
    for claim in claims:
        if claim.before != claim.after:
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
class _Move:
    """Units that a booking adds to a purse, or (negative) takes back."""

    booking: Booking
    added: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """What changes of what a customer owes: units to be had before and after, and the entry about it.

    `invoice_id` is one whose payment was lost.
    """

    purse: Purse
    before: int
    after: int
    decimals: int
    invoice_id: InvoiceId | None
    entry: Entry


async def _claims(tx: Tx, changed: dict[Purse, list[_Move]], owed: dict[Purse, Owed]) -> list[_Claim]:
    if not changed:
        return []
    posted = await ledger.posted(tx, sorted({customer_id for customer_id, _ in changed}))
    return [_claim(moves, purse, posted.get(purse[0], {}), owed[purse]) for purse, moves in changed.items()]


def _claim(moves: list[_Move], purse: Purse, posted: Balances, owed: Owed) -> _Claim:
    customer_id, asset = purse
    # Several payments may be lost at once, each at its own rate, and beside them others arrive.
    lost = [move for move in moves if move.added < 0]
    worth = together([(-move.added, move.booking.worth) for move in lost]) if lost else moves[-1].booking.worth
    before = {key: amount for key, amount in posted.items() if key[1] == asset}
    claim = claimed(before, asset)
    due = owed.after - owed.written_off
    should = wanted_claim(customer_id, asset, owing(claim, due, owed.written_off, worth))
    reason = "credit that was spent and lost" if owed.after > owed.before else "lost credit is back"
    postings = delta(before, should, worth.rate)
    entry = Entry(moves[0].booking.entry.store_id, reason, customer_id=customer_id, postings=postings)
    invoice = next((id_ for move in lost if (id_ := move.booking.entry.invoice_id)), None)
    return _Claim(purse, claim.receivable.units, due, worth.decimals, invoice, entry)


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
    amount = format_units(claim.before, claim.decimals)
    ended = f"{amount} {asset} that {customer_id} had spent and lost has come again, or been made good"
    assert claim.entry.store_id is not None
    due, invoice = (claim.after, claim.decimals), claim.invoice_id
    await lost_credit.tell(tx, claim.purse, due, claim.entry.store_id, now, ended=ended, invoice_id=invoice)


def _event(booking: Booking, type_: str, body: dict[str, Any]) -> NewEvent:
    assert booking.entry.store_id is not None
    return NewEvent(booking.entry.store_id, type_, body, booking.entry.invoice_id)
