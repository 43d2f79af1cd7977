"""An attempt to pay a payment link: the open invoice of the same attempt again, or a new one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

import kassa.links.store as links
from kassa.core.errors import KassaError
from kassa.core.ids import InvoiceId
from kassa.core.money import Currency, format_units
from kassa.db.pool import Tx
from kassa.flow.opening import open_invoice, quote_invoice
from kassa.house import House
from kassa.invoices.model import Order
from kassa.links.model import Attempt, Link, Payer
from kassa.links.proof import Challenge, Proof, begun_last, challenge, is_proven
from kassa.links.rules import asked, check_room, continued, evaluate, needs_proof
from kassa.stores.store import get_store
from kassa.wallets.model import Taker

Typed = Callable[[Currency], str | None]
"""Reads what a payer typed as an amount of a currency: a plain decimal number, or None."""


async def attempt_link(
    house: House,
    link_id: str,
    payer: str,
    typed: Typed | None,
    now: datetime,
    *,
    address: str | None = None,
    proof: Proof | None = None,
) -> InvoiceId | Challenge:
    """Return the invoice by which a payer may pay a link now, or the work that they must prove before.

    `payer` is what only their browser holds; `typed` what they chose, if they did; `address` what their network
    address is counted as, if it is. Not to be called within a transaction. Raises `NotFound`, `Invalid`, `Conflict`
    (`link_not_open`, `attempt_in_progress`), `Throttled`, or `Unavailable`.
    """
    origin = None if address is None else house.seal.of_origin(link_id, address)
    who = Payer(house.seal.of_payer(link_id, payer), origin)
    link, units, found = await house.database.run(lambda tx: _begin(tx, house, link_id, who, typed, proof, now))
    if not isinstance(found, int):
        return found
    try:
        return await _make(house, link, units, found, address, now)
    except KassaError:
        async with house.database.transaction() as tx:
            await links.drop_attempt(tx, found)
        raise


async def last_attempt(tx: Tx, house: House, link_id: str, payer: str) -> InvoiceId | None:
    """Return the invoice that a payer was given last for a link; raises `NotFound`."""
    link = await links.get(tx, link_id)
    return await links.last_invoice(tx, link.id, house.seal.of_payer(link.id, payer))


async def _begin(
    tx: Tx, house: House, link_id: str, payer: Payer, typed: Typed | None, proof: Proof | None, now: datetime
) -> tuple[Link, int, InvoiceId | Challenge | int]:
    # Under the link's lock: however many ask at once, one of them makes the invoice and no limit is passed.
    link = await links.get(tx, link_id, lock=True)
    # What was paid before says nothing about a reusable link's next invoice, and there may be very many.
    alike = () if link.reusable else (await links.invoices_of(tx, [link]))[link.id]
    standing = evaluate(link, alike, now)
    units = asked(link, standing, None if typed is None else typed(link.currency))
    attempts = await links.attempts(tx, link, payer, now)
    if (invoice := continued(link, attempts, units, now)) is not None:
        return link, units, invoice
    check_room(link, attempts, now)
    if (lacking := _lacking(house, link, payer, attempts, proof, now)) is not None:
        return link, units, lacking
    return link, units, await links.begin_attempt(tx, link.id, payer, now)


def _lacking(
    house: House, link: Link, payer: Payer, attempts: Sequence[Attempt], proof: Proof | None, now: datetime
) -> Challenge | None:
    bits = house.settings.limits.proof_bits
    if bits == 0 or not needs_proof(link, attempts, now):
        return None
    sealed = partial(house.seal.of_challenge, link.id, payer.mark, payer.origin, begun_last(attempts))
    return None if is_proven(proof, sealed, bits, now) else challenge(sealed, bits, now)


async def _make(house: House, link: Link, units: int, attempt: int, address: str | None, now: datetime) -> InvoiceId:
    async with house.database.pool.acquire() as connection:
        store = await get_store(connection, link.store_id)
    order = Order(
        amount=format_units(units, link.currency.decimals),
        currency=link.currency.code,
        payment_options=link.payment_options,
        reference=link.reference,
        description=link.title,
        expires_in=link.invoice_seconds,
        redirect_url=house.link_url(link.id),
    )
    opening = await quote_invoice(house, store, order, now, by=Taker(address or link.id, link=True))
    opening = replace(opening, terms=replace(opening.terms, link_id=link.id))

    async def write(tx: Tx) -> InvoiceId:
        await open_invoice(tx, house, opening, now)
        await links.end_attempt(tx, attempt, opening.terms.id)
        return opening.terms.id

    return await house.database.run(write)
