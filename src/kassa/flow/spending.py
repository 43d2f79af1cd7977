"""Pay invoices from their customers' credit, those of one moment in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from asyncpg import LockNotAvailableError
from asyncpg.pool import Pool

import kassa.customers.store as customers
import kassa.invoices.store as invoices
import kassa.stores.store as stores
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import Conflict, FieldFault, Invalid, Rejected
from kassa.core.ids import CustomerId, InvoiceId, SpendId, new_id
from kassa.core.money import format_units, parse_amount
from kassa.customers.model import Spend
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.picture import Picture
from kassa.flow.pricing import rates_now
from kassa.flow.reading import FAULTS
from kassa.flow.standing import announce, hold_invoice
from kassa.house import House
from kassa.invoices.model import Option, Status
from kassa.invoices.rules import option_due
from kassa.rates.model import Rate
from kassa.rates.resource import method_text
from kassa.stores.model import Store
from kassa.stores.store import Keep


@dataclass(frozen=True, slots=True)
class _Wish:
    """What somebody wants to spend on an invoice: without an amount, all that is due."""

    house: House
    store: Store
    invoice: InvoiceId
    asset: str
    amount: str | None
    by: str
    now: datetime
    keep: Keep | None


_Outcome = dict[str, Any] | Rejected
"""Of a wish: the invoice's resource (JSON), or why nothing was spent."""


async def pay_from_credit(
    tx: "Tx | None",
    house: House,
    store: Store,
    invoice_id: str,
    asset: str,
    amount: str | None,
    by: str,
    now: datetime,
    keep: Keep | None = None,
) -> dict[str, Any]:  # JSON
    """Spend a customer's credit in one asset on their invoice, at most what is due, and return the invoice's resource.

    Without an amount, all that is due. It counts at once, as a settled payment in time. Without a transaction it is
    committed at once, together with what others spend in the same moment; each is decided on its own. What `keep` makes
    of the resource is kept with it. Raises `NotFound`, `Invalid` for an asset that the invoice does not offer, and
    `Conflict` when the invoice cannot be paid any more (`invoice_not_payable`), has no customer (`no_customer`), the
    asset is in doubt (`asset_frozen`), the credit is short (`insufficient_credit`) or an answer is kept already
    (`idempotency_in_progress`).
    """
    wish = _Wish(house, store, InvoiceId(invoice_id), asset, amount, by, now, keep)
    if tx is not None:
        return await _alone(tx, wish)
    outcome = await house.database.ask(_together, wish)
    if outcome is None:
        return await house.database.run(partial(_alone, wish=wish))
    return _given(outcome)


async def _alone(tx: Tx, wish: _Wish) -> dict[str, Any]:  # JSON
    await hold_invoice(tx, wish.store, wish.invoice)
    (outcome,) = await _spend_each(tx, [wish])
    return _given(outcome)


def _given(outcome: _Outcome) -> dict[str, Any]:  # JSON
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome


async def _together(_pool: "Pool[Any]", wishes: Sequence[_Wish]) -> Sequence[_Outcome | None]:
    """Spend many at once; tell of each what came of it, or None of those that are to be decided alone.

    Those are whoever wants to pay an invoice that is not there, that another of them pays, or that somebody else is
    busy with: nobody waits for it but they. So are all when one cannot be read, or others took their credit or used a
    key meanwhile, or hold either for more than a moment.
    """
    first: dict[InvoiceId, _Wish] = {}
    for wish in wishes:
        first.setdefault(wish.invoice, wish)

    async def work(tx: Tx) -> dict[InvoiceId, _Outcome]:
        free = await invoices.hold_free(tx, [(wish.store.id, wish.invoice) for wish in first.values()])
        held = [wish for wish in first.values() if wish.invoice in free]
        outcomes = await _spend_each(tx, held) if held else []
        return {wish.invoice: outcome for wish, outcome in zip(held, outcomes, strict=True)}

    try:
        done = await wishes[0].house.database.run(work)
    except (*FAULTS, LockNotAvailableError):
        return [None] * len(wishes)
    return [done.get(wish.invoice) if first[wish.invoice] is wish else None for wish in wishes]


async def _spend_each(tx: Tx, wishes: Sequence[_Wish]) -> list[_Outcome]:
    """Spend on invoices that are locked, none of them named twice.

    Raises `Conflict` when others took the credit meanwhile or answered the same request: nothing may be committed.
    """
    house, now = wishes[0].house, max(wish.now for wish in wishes)
    taken = await pictures.take(tx, house, [wish.invoice for wish in wishes], now)
    decided = [await _decide(picture, wish, now) for picture, wish in zip(taken, wishes, strict=True)]
    decided = await _within_credit(tx, taken, decided)
    spends = [each for each in decided if isinstance(each, Spend)]
    if not spends:
        return [each for each in decided if isinstance(each, Rejected)]
    await customers.put_spends(tx, spends)
    crashpoint("spend.written")
    paid = {
        spend.invoice_id: pictures.with_spend(picture, spend, now)
        for picture, spend in zip(taken, decided, strict=True)
        if isinstance(spend, Spend)
    }
    await announce(tx, house, list(paid.values()), (), now)
    told = [
        each
        if isinstance(each, Rejected)
        else pictures.resource(house, pictures.as_announced(paid[each.invoice_id], now))
        for each in decided
    ]
    answers = [
        wish.keep(each) for wish, each in zip(wishes, told, strict=True) if wish.keep and not isinstance(each, Rejected)
    ]
    if answers:
        await stores.remember(tx, answers)
    # Last, for all who spend this credit at once queue for its row until we commit.
    if not await customers.debit(tx, spends):
        raise _short(paid[spends[0].invoice_id], spends[0])
    crashpoint("spend.commit")
    return told


async def _decide(picture: Picture, wish: _Wish, now: datetime) -> Spend | Rejected:
    try:
        option = _payable(picture, wish.asset, now)
        due = option_due(option, picture.standing)
        asked = due if wish.amount is None else parse_amount(wish.amount, option.asset.decimals)
        if asked == 0:
            raise Invalid(FieldFault("amount", "must be more than zero"))
    except Rejected as refusal:
        return refusal
    return await _valued(wish.house, picture, option, _spend(picture, option, min(asked, due), wish.by, now))


async def _within_credit(
    tx: Tx, taken: Sequence[Picture], decided: Sequence[Spend | Rejected]
) -> list[Spend | Rejected]:
    """Refuse what is more than the customer has left after the spends before it."""
    left = await customers.available(
        tx, {(each.customer_id, each.asset) for each in decided if isinstance(each, Spend)}
    )
    kept: list[Spend | Rejected] = []
    for picture, each in zip(taken, decided, strict=True):
        if isinstance(each, Spend):
            purse = each.customer_id, each.asset
            if left[purse] < each.units:
                kept.append(_short(picture, each))
                continue
            left[purse] -= each.units
        kept.append(each)
    return kept


def _payable(picture: Picture, asset: str, now: datetime) -> Option:
    terms = picture.terms
    if terms.customer_id is None:
        raise Conflict("the invoice names no customer whose credit could pay it", code="no_customer")
    option = next((option for option in terms.options if option.asset.id == asset), None)
    if option is None:
        offered = ", ".join(option.asset.id for option in terms.options)
        raise Invalid(FieldFault("asset", f"is not offered by this invoice ({offered})"))
    sight = picture.sights[option.asset.network]
    if sight.held or sight.is_frozen(asset, terms.store_id):
        raise Conflict(f"{asset} is in doubt; its credit waits until a person has looked", code="asset_frozen")
    if picture.standing.status is not Status.NEW or now > terms.expires_at or picture.standing.due_units == 0:
        raise Conflict("nothing can be paid on this invoice any more", code="invoice_not_payable")
    return option


def _spend(picture: Picture, option: Option, units: int, by: str, now: datetime) -> Spend:
    terms = picture.terms
    return Spend(
        id=SpendId(new_id("spd", now)),
        store_id=terms.store_id,
        customer_id=CustomerId(terms.customer_id or ""),
        invoice_id=terms.id,
        asset=option.asset.id,
        units=units,
        rate=None,
        made_at=now,
        made_by=by,
    )


async def _valued(house: House, picture: Picture, option: Option, spend: Spend) -> Spend:
    """Say what a spend's units are worth in the store's currency, and how that is known."""
    if picture.terms.currency == picture.terms.store_currency:
        return replace(
            spend,
            rate=option.rate,
            rate_source=option.rate_source,
            rate_at=option.rate_at,
            rate_method=option.rate_method,
        )
    asked = option.asset.symbol, picture.terms.store_currency.code
    rate = (await rates_now(house, [asked], spend.made_at))[asked]
    if not isinstance(rate, Rate):
        return spend
    return replace(spend, rate=rate.value, rate_source=rate.source, rate_at=rate.at, rate_method=method_text(rate))


def _short(picture: Picture, spend: Spend) -> Conflict:
    wanted = format_units(spend.units, picture.decimals[spend.asset])
    return Conflict(f"the customer has less than {wanted} {spend.asset} to spend", code="insufficient_credit")
