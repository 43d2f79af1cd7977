"""The guard over addresses: derived again, their seals checked; what is not as it was issued is reported.

Reading only refuses to show such an address (see `picture.withheld`); what is said about it is written here.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

import kassa.alerts.address_store as addresses
import kassa.invoices.deadline_store as deadlines
import kassa.invoices.store as invoices
import kassa.wallets.deposit_store as deposits
import kassa.wallets.owner_store as owning
import kassa.wallets.store as wallets
from kassa.alerts.model import Action, Deed, Finding, Kind, Severity
from kassa.alerts.seen import Owned
from kassa.alerts.service_rules import on_wrong_addresses, wrong_subject
from kassa.core.ids import AddressId, StoreId
from kassa.db.pool import Tx
from kassa.flow import picture as pictures
from kassa.flow.alerting import on_findings
from kassa.house import House
from kassa.invoices.deadline_store import Turn
from kassa.invoices.model import Terms, Withheld
from kassa.wallets.model import Owner

log = structlog.get_logger()


async def check_addresses(tx: Tx, house: House, after: Turn, limit: int, now: datetime) -> Turn | None:
    """Check the addresses of some open invoices, those after a turn; return where to go on, or None at the end.

    However many are wrong, and whoever else checks at the same time, one alert is open for a store and network; another
    is opened when it was closed and one more is wrong, or the same again after it was right.
    """
    page = await deadlines.open_page(tx, after, limit)
    wrong, right = set[Owned](), set[Owned]()
    asking = [terms for terms, _ in await invoices.load(tx, sorted(turn.invoice for turn in page))]
    wrong |= await _misplaced(
        tx,
        house,
        {o.address_id: Owned(terms.store_id, o.asset.network, terms.id) for terms in asking for o in terms.options},
    )
    for terms in asking:
        for place, is_wrong in _judged(house, terms):
            (wrong if is_wrong else right).add(place)
    at_end = len(page) < limit
    ended = await addresses.of_ended(tx) if at_end else []
    await _keep(tx, house, wrong, right.union(ended), now)
    return None if at_end else page[-1]


async def check_deposits(tx: Tx, house: House, after: str, limit: int, now: datetime) -> str | None:
    """Check some of the customers' deposit addresses, those after an id; return where to go on, or None at the end."""
    page = await deposits.deposits_after(tx, after, limit)
    right = set[Owned]()
    said = {each.id: Owned(each.store_id, each.network, each.customer_id) for each in page}
    wrong = await _misplaced(tx, house, said)
    for each in page:
        is_wrong = house.mismatch(each.network, each.place, each.address, each.customer_id)
        (wrong if is_wrong else right).add(said[each.id])
    await _keep(tx, house, wrong, right, now)
    return page[-1].id if len(page) == limit else None


async def on_false_addresses(tx: Tx, house: House, owners: Collection[Owner], now: datetime) -> None:
    """Report addresses that were paid and are not as they were issued: what reached them counts for nobody."""
    wrong = set[Owned]()
    for owner in owners:
        log.error("a paid address is not as it was issued: it counts for nobody", address_id=owner.address_id)
        store = await _issuer(tx, house, owner, owner.owners_store or owner.store_id)
        if store and owner.whose:
            wrong.add(Owned(store, owner.network, owner.whose))
    await _keep(tx, house, wrong, [], now)


async def check_wallets(tx: Tx, house: House, now: datetime) -> None:
    """Check that every wallet is the one that somebody gave its store through Kassa; what is not is never offered."""
    every, found = await wallets.every_wallet(tx), []
    for wallet in every:
        if not house.is_sealed(wallet):
            reason = (
                f"the wallet on {wallet.network} (key {wallet.fingerprint}) is not the one that the store was given: no"
                " address of it is issued; somebody may have changed the database"
            )
            told = {"wallet_id": wallet.id, "network": wallet.network, "fingerprint": wallet.fingerprint}
            found.append(
                Finding(
                    Kind.ADDRESS_MISMATCH,
                    wallet.id,
                    Severity.CRITICAL,
                    reason,
                    store_id=wallet.store_id,
                    about=told,
                    actions=(Action(Deed.WITHHELD, wallet.id),),
                    lasting=True,
                )
            )
    await on_findings(tx, house, [Kind.ADDRESS_MISMATCH], found, now, among=[wallet.id for wallet in every])


def _judged(house: House, terms: Terms) -> Iterator[tuple[Owned, bool]]:
    """Say what of an invoice is wrong: what it asks for, or else its address on a network."""
    asked = house.is_asked(terms)
    yield Owned(terms.store_id, "", terms.id), not asked
    if asked:
        hidden = pictures.withheld(house, terms)
        for network in {option.asset.network for option in terms.options}:
            why = {hidden.get(option.asset.id) for option in terms.options if option.asset.network == network}
            yield Owned(terms.store_id, network, terms.id), Withheld.ADDRESS_MISMATCH in why


async def _misplaced(tx: Tx, house: House, said: Mapping[AddressId, Owned]) -> set[Owned]:
    """Return what of addresses is another's, of another store's or network's than it should be, of whose it is."""
    found = set[Owned]()
    for owner in await owning.owners_of(tx, said):
        each = said[owner.address_id]
        if (owner.whose, owner.network) != (each.owner, each.network) or not house.is_given(owner):
            found.add(replace(each, store_id=await _issuer(tx, house, owner, each.store_id) or each.store_id))
    return found


async def _issuer(tx: Tx, house: House, owner: Owner, said: StoreId | None) -> StoreId | None:
    """Return the store to be told of an address: the one that is `said`, unless others alone have the wallet."""
    if house.is_given(owner):
        return said
    stores = await wallets.stores_of_address(tx, owner.address_id)
    return said if said in stores else next(iter(stores), said)


async def _keep(tx: Tx, house: House, wrong: Collection[Owned], right: Collection[Owned], now: datetime) -> None:
    """Keep what was found, and bring the alerts of the stores concerned in line with it."""
    doubtful = {(each.owner, each.network) for each in wrong}
    right = [each for each in right if (each.owner, each.network) not in doubtful]
    wrong = [each for each in wrong if each.store_id]  # somebody may have emptied it, of a customer whom no wallet has
    stores = {each.store_id for each in [*wrong, *await addresses.open_among(tx, right)]}
    if not stores:
        return
    await addresses.lock(tx, stores)
    await addresses.keep(tx, wrong, right, now)
    found = on_wrong_addresses(await addresses.count(tx, stores))
    # Of other stores nothing was counted: that they have nothing found does not say that all of theirs is right.
    looked_at = {wrong_subject(each.store_id, each.network) for each in [*wrong, *right] if each.store_id in stores}
    subjects = looked_at | {each.subject for each in found}
    await on_findings(tx, house, [Kind.ADDRESS_MISMATCH], found, now, among=sorted(subjects))
