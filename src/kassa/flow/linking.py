"""Payment links: make and change them, show them, and announce where their invoices' standings put them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import kassa.events.store as events
import kassa.links.store as links
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import LinkId, new_id
from kassa.core.money import Currency, currency
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.flow import picture as pictures
from kassa.house import House
from kassa.links.model import Announced, Link, Standing
from kassa.links.resource import link_resource, public_link
from kassa.links.rules import announced, changes, evaluate, read_ask
from kassa.stores.model import Store
from kassa.stores.store import get_store

_UNKNOWN = "is not an asset that is known here; see GET /v1/assets"


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """What a merchant asks a payment link to be: well formed, but not yet possible."""

    title: str
    amount: str | None = None
    min_amount: str | None = None
    max_amount: str | None = None
    currency: str | None = None
    asset: str | None = None
    payment_options: tuple[str, ...] | None = None
    reusable: bool = False
    show_received: bool | None = None
    invoice_seconds: int = 900
    description: str | None = None
    reference: str | None = None
    metadata_json: str = "{}"
    redirect_url: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LinkView:
    """What a link's page is made of: its public part, who asks for the money, until when, and when it was looked at."""

    public: dict[str, Any]  # JSON
    store: Store
    expires_at: datetime | None
    now: datetime


async def make_link(tx: Tx, house: House, store: Store, order: LinkOrder, now: datetime) -> dict[str, Any]:  # JSON
    """Write a payment link with its `payment_link.created`; return its resource. Raises `Invalid`."""
    priced = _currency(house, store, order)
    if order.expires_at is not None and order.expires_at <= now:
        raise Invalid(FieldFault("expires_at", "is over already"))
    link = Link(
        id=LinkId(new_id("lnk", now)),
        store_id=store.id,
        title=order.title,
        ask=read_ask(order.amount, order.min_amount, order.max_amount, priced),
        currency=priced,
        reusable=order.reusable,
        created_at=now,
        asset=order.asset,
        payment_options=(order.asset,) if order.asset is not None else order.payment_options,
        description=order.description,
        reference=order.reference,
        metadata=order.metadata_json,
        # What many payers brought together is the merchant's own affair unless they say otherwise.
        show_received=not order.reusable if order.show_received is None else order.show_received,
        invoice_seconds=order.invoice_seconds,
        redirect_url=order.redirect_url,
        expires_at=order.expires_at,
    )
    await links.put(tx, link)
    standing = evaluate(link, (), now)
    return await _announce(tx, house, store, link, None, standing, now)


async def change_link(
    tx: Tx, house: House, store: Store, link_id: str, given: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Change words, end or openness of a store's link, by the names of `Link`; raises `NotFound`, `Invalid`."""
    before = await links.get(tx, link_id, store_id=store.id, lock=True)
    closed = given.pop("closed", before.closed_at is not None)
    ends = given.get("expires_at", before.expires_at)
    if ends is not None and ends <= now and ends != before.expires_at:
        raise Invalid(FieldFault("expires_at", "is over already; close the link by `closed`"))
    link = replace(before, **given, closed_at=(before.closed_at or now) if closed else None)
    ((_, said),) = await links.hold(tx, [link.id])
    standing = await _standing(tx, link, now)
    if link == before:
        return _resource(house, store, link, standing)
    await links.change(tx, link)
    return await _announce(tx, house, store, link, said, standing, now, touched=True)


async def link_resource_of(tx: Tx, house: House, store: Store, link_id: str, now: datetime) -> dict[str, Any]:  # JSON
    """Return a payment link of a store as it stands now; raises `NotFound`."""
    link = await links.get(tx, link_id, store_id=store.id)
    return _resource(house, store, link, await _standing(tx, link, now))


async def link_list(
    tx: Tx, house: House, store: Store, status: str | None, reference: str | None, found: Sequence[LinkId] | None,
    before: str | None, limit: int, now: datetime,
) -> list[dict[str, Any]]:  # JSON  # fmt: skip
    """Return a store's payment links, newest first, those before an id; `found`: these alone."""
    listed = await links.page(tx, store.id, status, reference, before, limit, found)
    stand = await links.invoices_of(tx, listed)
    return [_resource(house, store, link, evaluate(link, stand[link.id], now)) for link in listed]


async def link_view(tx: Tx, house: House, link_id: str, now: datetime) -> LinkView:
    """Return what its payers may see of a link; raises `NotFound`."""
    link = await links.get(tx, link_id)
    store = await get_store(tx, link.store_id)
    # Sums that are not shown need not be added up for everybody who looks.
    told = link.show_received or not link.reusable
    standing = await _standing(tx, link, now) if told else evaluate(link, (), now)
    return LinkView(public_link(_resource(house, store, link, standing)), store, link.expires_at, now)


async def follow_links(tx: Tx, house: House, touched: Sequence[LinkId], now: datetime) -> None:
    """Announce where links stand after their invoices were announced; locks them in id order, after the invoices."""
    single = await links.single_use(tx, touched) if touched else []
    if single:
        await _reassess(tx, house, single, now)


async def on_link_deadlines(tx: Tx, house: House, now: datetime, limit: int = 100) -> int:
    """Reassess links whose deadline has passed; return how many there were."""
    due = await links.due(tx, now, limit)
    if due:
        await _reassess(tx, house, due, now)
    return len(due)


async def _reassess(tx: Tx, house: House, ids: Sequence[LinkId], now: datetime) -> None:
    held = await links.hold(tx, ids)
    stand = await links.invoices_of(tx, [link for link, _ in held])
    for link, said in held:
        store = await get_store(tx, link.store_id)
        await _announce(tx, house, store, link, said, evaluate(link, stand[link.id], now), now)


async def _announce(
    tx: Tx,
    house: House,
    store: Store,
    link: Link,
    before: Announced | None,
    standing: Standing,
    now: datetime,
    *,
    touched: bool = False,
) -> dict[str, Any]:
    after = announced(link, standing)
    await links.announce(tx, link.id, after, standing.deadline)
    resource = _resource(house, store, link, standing)
    said = changes(before, after) or (("payment_link.updated",) if touched else ())
    await events.write(tx, [NewEvent(store.id, type_, resource) for type_ in said], now)
    return resource


async def _standing(tx: Tx, link: Link, now: datetime) -> Standing:
    return evaluate(link, (await links.invoices_of(tx, [link]))[link.id], now)


def _resource(house: House, store: Store, link: Link, standing: Standing) -> dict[str, Any]:  # JSON
    return link_resource(link, standing, house.link_url(link.id), livemode=store.livemode)


def _currency(house: House, store: Store, order: LinkOrder) -> Currency:
    known = pictures.assets(house)
    for place, name in enumerate(order.payment_options or ()):
        if name not in known:
            raise Invalid(FieldFault(f"payment_options.{place}", _UNKNOWN))
    if order.asset is None:
        return currency(order.currency or store.currency)
    if order.currency is not None or order.payment_options is not None:
        raise Invalid(FieldFault("asset", "says the currency and the only way to pay: leave out the other two"))
    if order.asset not in known:
        raise Invalid(FieldFault("asset", _UNKNOWN))
    try:
        return currency(known[order.asset].symbol)
    except Invalid:
        raise Invalid(FieldFault("asset", "cannot be priced in; price in a currency instead")) from None
