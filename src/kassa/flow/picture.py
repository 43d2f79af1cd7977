"""Everything known of an invoice at one moment, and the standing that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kassa.customers.store as customers
import kassa.invoices.decision_store as decisions
import kassa.invoices.given_store as given_back
import kassa.invoices.store as invoices
import kassa.payments.store as payments
import kassa.watch.store as watch
from kassa.chains.base import Chain
from kassa.core.ids import InvoiceId, StoreId
from kassa.core.money import Asset
from kassa.customers.model import Spend
from kassa.db.pool import Tx
from kassa.house import House
from kassa.invoices.model import Announced, Cause, Decided, Standing, Status, Terms, View, Withheld
from kassa.invoices.policy import Short
from kassa.invoices.resource import Face, Shown
from kassa.invoices.resource import invoice_resource as render
from kassa.invoices.rules import evaluate
from kassa.payments.asset_store import decimals
from kassa.payments.model import Payment, Sight
from kassa.watch.model import Position
from kassa.watch.rules import closed

_NEVER = datetime.min.replace(tzinfo=UTC)
_DROP_AFTER_SECONDS = 60  # for a network that is no longer configured


@dataclass(frozen=True, slots=True)
class Picture:
    """An invoice's terms, what was last announced of it, its payments, where it stands now.

    Besides: what was spent on it, the words of people, what was given back of it before, and how far we saw. `fresh` is
    a spend that was taken from the customer's credit in this transaction and is not yet in the books. `strays` are the
    decimals of assets that came although the invoice does not offer them.
    """

    terms: Terms
    announced: Announced
    payments: Sequence[Payment]
    standing: Standing
    spends: tuple[Spend, ...] = ()
    decided: tuple[Decided, ...] = ()
    given_back: tuple[Cause, ...] = ()
    sights: Mapping[str, Sight] = field(default_factory=dict)
    fresh: Spend | None = None
    strays: Mapping[str, int] = field(default_factory=dict)

    @property
    def decimals(self) -> Mapping[str, int]:
        """The decimals of every asset in it, by the asset's id."""
        return {**self.strays, **{option.asset.id: option.asset.decimals for option in self.terms.options}}

    @property
    def decision_id(self) -> int | None:
        """The decision that holds."""
        return self.decided[-1].id if self.decided else None


def assets(house: House) -> dict[str, Asset]:
    """Return every configured asset by its id."""
    return {asset.id: asset for chain in house.chains.values() for asset in chain.assets}


async def take(
    tx: Tx, house: House, ids: Sequence[InvoiceId], now: datetime, *, store_id: StoreId | None = None
) -> list[Picture]:
    """Read invoices and work out where they stand; unknown ones (or of another store, if one is given) are left out.

    Who holds no lock may read on both sides of a commit. So how far we see is read before what was seen: with a sight
    newer than the payments, an invoice would be over although its payment came in time.
    """
    loaded = await invoices.load(tx, ids, store_id=store_id)
    known = [terms.id for terms, _ in loaded]
    seen = await sights(tx, house, {option.asset.network for terms, _ in loaded for option in terms.options})
    arrived = await payments.of_invoices(tx, known)
    decided = await decisions.of_invoices(tx, known)
    buyers = [terms.id for terms, _ in loaded if terms.customer_id is not None]
    spent = await customers.spends_on(tx, buyers) if buyers else {}
    crediting = [terms.id for terms, _ in loaded if terms.policy.short is Short.CREDIT]
    returned = await given_back.of_invoices(tx, crediting) if crediting else {}
    strays = await _strays(tx, loaded, arrived)
    pictures = []
    for terms, announced in loaded:
        words, spends = tuple(decided.get(terms.id, ())), tuple(spent.get(terms.id, ()))
        given = tuple(returned.get(terms.id, ()))
        standing = _evaluate(terms, arrived[terms.id], words, View(now, seen), spends, given)
        pictures.append(
            Picture(terms, announced, arrived[terms.id], standing, spends, words, given, seen, strays=strays)
        )
    return pictures


async def _strays(
    tx: Tx, loaded: Sequence[tuple[Terms, Announced]], arrived: Mapping[InvoiceId, Sequence[Payment]]
) -> Mapping[str, int]:
    offered = {terms.id: {option.asset.id for option in terms.options} for terms, _ in loaded}
    found = {payment.asset for id_, each in arrived.items() for payment in each if payment.asset not in offered[id_]}
    known = await decimals(tx) if found else {}
    return {asset: known[asset] for asset in found}


def with_spend(picture: Picture, spend: Spend, now: datetime) -> Picture:
    """Return a picture in which something more was spent on the invoice just now."""
    view, spends = View(now, picture.sights), (*picture.spends, spend)
    standing = _evaluate(picture.terms, picture.payments, picture.decided, view, spends, picture.given_back)
    return replace(picture, standing=standing, spends=spends, fresh=spend)


def seen_at(picture: Picture, moment: datetime) -> Picture:
    """Return a picture of the same facts as a moment saw them, before now: the clock alone is turned back."""
    sights = {
        network: replace(sight, observed_at=min(sight.observed_at, moment)) for network, sight in picture.sights.items()
    }
    view = View(moment, sights)
    standing = _evaluate(picture.terms, picture.payments, picture.decided, view, picture.spends, picture.given_back)
    return replace(picture, standing=standing)


def as_announced(picture: Picture, now: datetime) -> Picture:
    """Return a picture of an invoice whose standing has just been announced."""
    settled = picture.standing.status is Status.SETTLED
    settled_at = (picture.announced.settled_at or now) if settled else None
    return replace(picture, announced=replace(picture.announced, settled_at=settled_at))


def _evaluate(
    terms: Terms,
    arrived: Sequence[Payment],
    decided: Sequence[Decided],
    view: View,
    spends: Sequence[Spend],
    given_back: Sequence[Cause],
) -> Standing:
    return evaluate(terms, arrived, [each.decision for each in decided], view, spends, given_back)


async def sights(tx: Tx, house: House, offered: set[str]) -> dict[str, Sight]:
    """Return how far we see on every network that we ever followed, and on those that are `offered`."""
    # Of every network: money may have come on one that the invoice does not offer.
    positions = await watch.positions(tx)
    found = {}
    for network in offered | positions.keys():
        configured = house.settings.networks.get(network)
        drop_after = _DROP_AFTER_SECONDS if configured is None else configured.drop_after_seconds
        position = positions.get(network)
        height = -1 if position is None or position.tip is None else position.tip.height
        if position is None:
            unseen = frozenset({(None, None)})
            found[network] = Sight(height, _NEVER, drop_after, followed=configured is not None, closed=unseen)
            continue
        held = [each for each in position.restraints if each.kind == "held"]
        whole = [each.made_at for each in held if each.asset is None]
        found[network] = Sight(
            height,
            # On a chain that is in doubt, not to have seen a payment says nothing.
            min([position.observed_at or _NEVER, *whole]),
            drop_after,
            position.final,
            frozenset(
                [(asset, None) for asset in position.frozen]
                + [(each.asset, each.store_id) for each in held if each.asset is not None]
            ),
            configured is not None or position.followed,
            held=bool(whole),
            raised=_raised(position),
            left_until=position.left_until,
            closed=closed(position),
        )
    return found


def _raised(position: Position) -> dict[str, int]:
    raised: dict[str, int] = {}
    for each in position.restraints:
        if each.kind == "raised":
            owner = each.store_id or ""
            raised[owner] = max(each.blocks, raised.get(owner, 0))
    return raised


def withheld(house: House, terms: Terms) -> dict[str, Withheld]:
    """Say of which assets the address is not shown, and why: somebody may have changed the database.

    Of none, where the price, what is due or the end is not what was agreed.
    """
    if not house.is_asked(terms):
        return {option.asset.id: Withheld.ADDRESS_MISMATCH for option in terms.options}
    found = {}
    for option in terms.options:
        wrong = house.mismatch(option.asset.network, option.place, option.address, terms.id)
        if wrong is not False:
            found[option.asset.id] = Withheld.NETWORK_REMOVED if wrong is None else Withheld.ADDRESS_MISMATCH
    return found


def shown(
    house: House,
    picture: Picture,
    settled_at: datetime | None,
    arrived: Sequence[Payment],
    hidden: Mapping[str, Withheld] | None = None,
) -> Shown:
    """Put together what an invoice's resource is rendered from.

    Its addresses are derived again, unless the caller has just done so and says what is `hidden`.
    """
    hidden = withheld(house, picture.terms) if hidden is None else hidden
    faces = {}
    for chain in house.chains.values():
        for asset in chain.assets:
            faces[asset.id] = Face(chain.caip19[asset.id], asset.least_units, partial(_uri, chain, asset))
    url = house.checkout_url(picture.terms.id)
    known = picture.decimals
    least = {network: sight.least(picture.terms.store_id) for network, sight in picture.sights.items()}
    return Shown(picture.terms, picture.standing, arrived, settled_at, url, faces, known, hidden, picture.spends, least)


def _uri(chain: Chain, asset: Asset, address: str, units: int, label: str | None) -> str:
    return chain.addresses.payment_uri(address, asset, units, label)


def resource(house: House, picture: Picture, hidden: Mapping[str, Withheld] | None = None) -> dict[str, Any]:  # JSON
    """Return an invoice's resource as it is now; `hidden` as in `shown`."""
    return render(shown(house, picture, picture.announced.settled_at, picture.payments, hidden))
