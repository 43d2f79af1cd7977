"""Make an invoice: price it, issue its addresses, write it with its event. No node is asked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import kassa.customers.store as customers
import kassa.invoices.opening_store as openings
import kassa.wallets.store as wallets
from kassa.core.crashpoint import crashpoint
from kassa.core.errors import FieldFault, Invalid, Outdated, Unavailable
from kassa.core.ids import InvoiceId, new_id
from kassa.core.money import Asset, currency
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow import picture as pictures
from kassa.flow import pricing
from kassa.flow.addresses import new_address, watched_networks
from kassa.flow.picture import Picture
from kassa.flow.taking import count_issued, take
from kassa.house import House
from kassa.invoices import quote as quotes
from kassa.invoices.model import Announced, Option, Order, Terms
from kassa.invoices.opening_store import NewInvoice
from kassa.invoices.policy import Policy, agreed
from kassa.invoices.rules import fresh, sealed_text
from kassa.stores.model import Store
from kassa.stores.store import Keep, Reading
from kassa.wallets.model import NewAddress, Place, Taker, Wallet
from kassa.wallets.store import Receiving
from kassa.watch.rules import is_seen


@dataclass(frozen=True, slots=True)
class Opening:
    """An invoice that is priced and has its addresses, but is not yet written.

    Its indexes were handed out to it; or they were guessed, and then `again` gives the same invoice others that are.
    `reading` is of what it was made from, if that is to be compared when the invoice is written.
    """

    terms: Terms
    addresses: tuple[NewAddress, ...]
    again: Callable[[], Awaitable["Opening"]] | None = None
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything of an invoice but its addresses: the rest of its terms, what is offered, from which wallets."""

    invoice: InvoiceId
    livemode: bool
    terms: Callable[..., Terms]  # of `options`
    now: datetime
    offered: Sequence[quotes.Quote]
    wallets: Mapping[str, Wallet]
    keychains: Sequence[int]
    reading: Reading | None


async def quote_invoice(
    house: House,
    store: Store,
    order: Order,
    now: datetime,
    *,
    receiving: Sequence[Receiving] | None = None,
    guess: bool = False,
    reading: Reading | None = None,
    by: Taker | None = None,
    again: bool = False,
) -> Opening:
    """Price an order and find its addresses.

    Not to be called within a transaction: indexes are handed out in one of their own, so that orders do not wait for
    each other. An order that fails later leaves a hole in the indexes, never an address issued twice. `receiving` is
    what the store can take, if the caller has read it. With `guess`, indexes may be guessed: for an invoice that is
    written without a transaction. With a `reading` the caller read it some time ago: `open_invoice` compares, and
    indexes must be guessed, since none are handed out to whoever may be shut out by now. `by` is who orders; with
    `again` the order was counted before. A wallet whose bound of unpaid addresses is reached is left out. Raises
    `Invalid`; `Throttled` beyond a limit, when every wallet is full, or that of one asset which a shop's order names;
    `Unavailable` when nothing that the order names can be offered; `Outdated` when no index can be guessed.
    """
    count_issued(house, store, now, again=again)
    price = quotes.price(order)
    if order.customer_id is not None and not await house.database.ask(customers.known, (store.id, order.customer_id)):
        raise Invalid(FieldFault("customer_id", "is not a customer of this store"))
    policy = agreed(
        store.policy,
        order.policy,
        price.currency,
        default_currency=store.currency,
        for_customer=order.customer_id is not None,
    )
    if receiving is None:
        receiving = await house.database.ask(wallets.receiving, store.id)
    takes = {each.wallet.network: each for each in receiving}
    mine = {network: each.wallet for network, each in takes.items() if network in house.chains}
    accepted = [asset for name, chain in house.chains.items() if name in mine for asset in chain.assets]
    chosen = _offered(house, takes, order, quotes.choose(order, accepted))
    tariffs = await pricing.tariffs(house, chosen, price.currency.code, store.spread_ppm, now)
    offered = quotes.quotes(order, price, chosen, tariffs)
    id_ = InvoiceId(new_id("inv", now))
    terms = _terms(id_, store, order, price, policy, now)
    used = {mine[each.asset.network].keychain_id: mine[each.asset.network] for each in offered}
    by = by or Taker(store.id)
    # Who names assets wants these and no fewer; but whoever pays a link is better served by one of them than by none.
    whole = order.payment_options is not None and not by.link
    open_ = await take(house, used.values(), by, livemode=store.livemode, counted=again, whole=whole)
    offered = [each for each in offered if mine[each.asset.network].keychain_id in open_]
    plan = _Plan(id_, store.livemode, terms, now, offered, mine, sorted(open_), reading)
    guessed = await _guess(house, plan, now) if guess else None
    if guessed is None:
        if reading is not None:
            raise Outdated("the wallet has to be asked for its next index")
        return await _with_own_indexes(house, plan)
    return await _opening(house, plan, guessed, again=partial(_with_own_indexes, house, plan))


def _terms(
    id_: InvoiceId, store: Store, order: Order, price: quotes.Price, policy: Policy, now: datetime
) -> Callable[..., Terms]:
    """Return what makes an invoice's terms of its `options`."""
    return partial(
        Terms,
        id=id_,
        store_id=store.id,
        livemode=store.livemode,
        amount_units=price.units,
        currency=price.currency,
        policy=policy,
        created_at=now,
        expires_at=now + timedelta(seconds=order.expires_in),
        store_currency=currency(store.currency),
        reference=order.reference,
        description=order.description,
        metadata=order.metadata_json,
        customer_id=order.customer_id,
        redirect_url=order.redirect_url,
        webhook_url=order.webhook_url,
    )


async def open_invoice(
    tx: "Tx | None", house: House, opening: Opening, now: datetime, keep: Keep | None = None
) -> dict[str, Any]:  # JSON
    """Write a priced invoice and its `invoice.created`; return its resource.

    Without a transaction it is committed at once, together with others that are opened in the same moment. What `keep`
    makes of the resource is kept with it. Raises `Outdated` when what it was made from has changed since its reading,
    `Conflict` (`idempotency_in_progress`) when an answer is kept already; nothing is written then.
    """
    made, resource = _new(house, opening, keep)
    crashpoint("invoice.commit")
    if tx is not None:
        assert opening.again is None, "guessed indexes are taken by a statement of their own"
        await openings.put(tx, [made])
    elif opening.again is None:
        await house.database.ask(openings.put, made)
    elif not await _put_guessed(house, opening, made, now):
        return await open_invoice(None, house, await opening.again(), now, keep)
    for address in opening.addresses:
        house.marks.give(address.keychain_id, address.index)
    crashpoint("invoice.written")
    return resource


async def _put_guessed(house: House, opening: Opening, made: NewInvoice, now: datetime) -> bool:
    written = False
    try:
        written = await house.database.ask(openings.put_guessed, made)
    finally:
        if not written:
            for address in opening.addresses:
                house.guesses.wrong(address.keychain_id, now)
    return written


def _new(house: House, opening: Opening, keep: Keep | None) -> tuple[NewInvoice, dict[str, Any]]:  # JSON
    terms = opening.terms
    standing = fresh(terms)
    announced = Announced(standing.status, (), (), False, 0, 0, None, standing.deadline)
    # The addresses were derived just now.
    resource = pictures.resource(house, Picture(terms, announced, (), standing), hidden={})
    event = NewEvent(terms.store_id, "invoice.created", resource, terms.id, terms.webhook_url)
    seal = house.seal.of_terms(sealed_text(terms))
    kept = keep(resource) if keep else None
    return NewInvoice(terms, opening.addresses, event, seal, opening.reading, kept), resource


async def _guess(house: House, plan: _Plan, now: datetime) -> Mapping[int, int] | None:
    by_keychain = {wallet.keychain_id: wallet for wallet in plan.wallets.values()}
    while True:
        guessed = {}
        for keychain in plan.keychains:
            index = house.guesses.next(by_keychain[keychain], now)
            if index is None:
                return None
            # Below what is somebody's already no guess is right, unless the database has lost commits.
            guessed[keychain] = max(index, house.marks.given(keychain) + 1)
        bare = [keychain for keychain, index in guessed.items() if not house.marks.covers(keychain, index)]
        if not bare:
            # From here to the line of those to be written nothing waits, so lower indexes are never overtaken.
            for keychain, index in guessed.items():
                house.guesses.take(keychain, index)
            return guessed
        for keychain in bare:
            await house.marks.raise_past(by_keychain[keychain], guessed[keychain])


async def _with_own_indexes(house: House, plan: _Plan) -> Opening:
    before = [house.marks.given(keychain) for keychain in plan.keychains]
    given = await house.database.ask(wallets.allocate_each, plan.keychains)
    await house.marks.refuse_given(zip(plan.keychains, given, before, strict=True))
    return await _opening(house, plan, dict(zip(plan.keychains, given, strict=True)))


async def _opening(
    house: House, plan: _Plan, indexes: Mapping[int, int], again: Callable[[], Awaitable[Opening]] | None = None
) -> Opening:
    now, mine = plan.now, plan.wallets
    # Their seals are right: `_offered` saw to that.
    used = {wallet.keychain_id: wallet for wallet in (mine[quote.asset.network] for quote in plan.offered)}
    issued: dict[tuple[int, str], NewAddress] = {}
    for keychain, wallet in used.items():
        # On every network where the index is the same address, also those that are not offered, and those where only
        # others have, or this store had, this wallet: what a payer sends on the wrong one is seen there.
        for network in watched_networks(house, wallet, plan.livemode):
            issued[keychain, network] = new_address(
                house, network, keychain, wallet.descriptor, indexes[keychain], plan.invoice, now
            )
        # No index leaves the process before the mark outside the database covers it: an old backup must not reissue it.
        await house.marks.cover(wallet, indexes[keychain])
    options = []
    for quote in plan.offered:
        wallet = mine[quote.asset.network]
        options.append(_option(quote, issued[wallet.keychain_id, wallet.network], wallet))
    terms, reading = plan.terms(options=tuple(options)), plan.reading if again else None
    return Opening(terms, tuple(issued.values()), again, reading)


def _offered(
    house: House, receiving: Mapping[str, Receiving], order: Order, chosen: Sequence[Asset]
) -> tuple[Asset, ...]:
    """Leave out assets that cannot be watched or trusted now; an order that names one of them is refused instead."""
    shut = {network for network in {asset.network for asset in chosen} if not _is_open(house, receiving[network])}
    frozen = {asset.id for asset in chosen if asset.id in receiving[asset.network].frozen}
    left = tuple(asset for asset in chosen if asset.network not in shut and asset.id not in frozen)
    if left and (order.payment_options is None or not (shut or frozen)):
        return left
    if shut:
        raise Unavailable(
            f"payments on {', '.join(sorted(shut))} cannot be followed now; try again later or offer another asset",
            code="network_unavailable",
        )
    raise Unavailable(
        f"{', '.join(sorted(frozen))} is held back until the operator has looked at it; offer another asset",
        code="asset_frozen",
    )


def _is_open(house: House, network: Receiving) -> bool:
    seen = is_seen(network.state, network.observed_at, network.node_behind, network.forsaken)
    return seen and not network.held and house.is_sealed(network.wallet)


def _option(quote: quotes.Quote, address: NewAddress, wallet: Wallet) -> Option:
    return Option(
        asset=quote.asset,
        address_id=address.id,
        address=address.text,
        place=Place(wallet.descriptor, address.index, address.seal),
        due_units=quote.due_units,
        rate=quote.rate.value,
        rate_source=quote.rate.source,
        rate_at=quote.rate.at,
        tiers=quote.tiers,
        rate_method=quote.method,
    )
