"""Everything known of an invoice at one moment, and the standing that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kassa.invoices.store as invoices
import kassa.payments.store as payments
import kassa.watch.store as watch
from kassa.chains.base import Chain
from kassa.core.ids import InvoiceId, StoreId
from kassa.core.money import Asset
from kassa.db.pool import Tx
from kassa.house import House
from kassa.invoices.model import Announced, Standing, Terms, View, Withheld
from kassa.invoices.resource import Face, Shown
from kassa.invoices.resource import invoice_resource as render
from kassa.invoices.rules import evaluate
from kassa.payments.model import Payment, Sight

_NEVER = datetime.min.replace(tzinfo=UTC)
_DROP_AFTER_SECONDS = 60  # for a network that is no longer configured


@dataclass(frozen=True, slots=True)
class Picture:
    """An invoice's terms, what was last announced of it, its payments, and where it stands now."""

    terms: Terms
    announced: Announced
    payments: Sequence[Payment]
    standing: Standing


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
    loaded = await invoices.load(tx, ids, assets(house), store_id=store_id)
    known = [terms.id for terms, _ in loaded]
    sights = await _sights(tx, house, {option.asset.network for terms, _ in loaded for option in terms.options})
    arrived = await payments.of_invoices(tx, known)
    decided = await invoices.decisions(tx, known)
    pictures = []
    for terms, announced in loaded:
        standing = evaluate(terms, arrived[terms.id], decided.get(terms.id, ()), View(now, sights))
        pictures.append(Picture(terms, announced, arrived[terms.id], standing))
    return pictures


async def _sights(tx: Tx, house: House, offered: set[str]) -> dict[str, Sight]:
    # Of every network: money may have come on one that the invoice does not offer.
    positions = await watch.positions(tx)
    sights = {}
    for network in offered | positions.keys():
        configured = house.settings.networks.get(network)
        drop_after = _DROP_AFTER_SECONDS if configured is None else configured.drop_after_seconds
        position = positions.get(network)
        height = -1 if position is None or position.tip is None else position.tip.height
        if position is None:
            sights[network] = Sight(height, _NEVER, drop_after, followed=configured is not None)
            continue
        observed_at, followed = position.observed_at or _NEVER, configured is not None or position.followed
        sights[network] = Sight(height, observed_at, drop_after, position.final, position.frozen, followed)
    return sights


def withheld(house: House, terms: Terms) -> dict[str, Withheld]:
    """Say of which assets the address is not shown, and why: somebody may have changed the database."""
    found = {}
    for option in terms.options:
        derived = house.derived(option.asset.network, option.place.descriptor, option.place.index)
        if derived != option.address:
            found[option.asset.id] = Withheld.NETWORK_REMOVED if derived is None else Withheld.ADDRESS_MISMATCH
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
            faces[asset.id] = Face(chain.caip19[asset.id], partial(_uri, chain, asset))
    url = house.checkout_url(picture.terms.id)
    decimals = {asset.id: asset.decimals for chain in house.former.values() for asset in chain.assets}
    decimals |= {asset.id: asset.decimals for asset in assets(house).values()}
    decimals |= {option.asset.id: option.asset.decimals for option in picture.terms.options}
    return Shown(picture.terms, picture.standing, arrived, settled_at, url, faces, decimals, hidden)


def _uri(chain: Chain, asset: Asset, address: str, units: int, label: str | None) -> str:
    return chain.addresses.payment_uri(address, asset, units, label)


def resource(house: House, picture: Picture, hidden: Mapping[str, Withheld] | None = None) -> dict[str, Any]:  # JSON
    """Return an invoice's resource as it is now; `hidden` as in `shown`."""
    return render(shown(house, picture, picture.announced.settled_at, picture.payments, hidden))
