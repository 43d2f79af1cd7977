"""Give a customer a deposit address: one per network, for ever; the same on all networks of a space."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kassa.customers.store as customers
import kassa.wallets.deposit_store as deposits
import kassa.wallets.sharing_store as sharing
import kassa.wallets.store as wallets
from kassa.core.clock import rfc3339
from kassa.core.errors import FieldFault, Invalid, Unavailable
from kassa.core.ids import AddressId, CustomerId, new_id
from kassa.core.money import Asset
from kassa.db.pool import Tx
from kassa.flow.taking import count_issued, take
from kassa.house import House
from kassa.stores.model import Store
from kassa.wallets.deposit_store import Deposited
from kassa.wallets.model import NewAddress, Place, Taker, Wallet


@dataclass(frozen=True, slots=True)
class Issuing:
    """A customer's asset, the wallet behind it, and an index for the address, if there is none yet."""

    asset: Asset
    wallet: Wallet
    index: int | None


async def prepare_address(house: House, store: Store, customer_id: str, asset_id: str, by: str) -> Issuing:
    """Find the wallet for a customer's deposits in an asset, and hand out an index unless an address is there.

    `by` is the key or person that asks. Not to be called within a transaction. Raises `NotFound`, `Invalid` for an
    asset that the store cannot take, or `Throttled`.
    """
    pool = house.database.pool
    customer = await customers.get(pool, store.id, customer_id)
    mine = {wallet.network: wallet for wallet in await wallets.wallets_of(pool, store.id)}
    accepted = {a.id: a for name, chain in house.chains.items() if name in mine for a in chain.assets}
    asset = accepted.get(asset_id)
    if asset is None:
        known = ", ".join(sorted(accepted)) or "none; add a wallet by POST /v1/wallets"
        raise Invalid(FieldFault("asset", f"is not an asset that this store accepts ({known})"))
    wallet = mine[asset.network]
    if not house.is_sealed(wallet):
        raise Unavailable(f"the wallet on {asset.network} failed its check", code="wallet_mismatch")
    # On the wallet that was there when it was issued, or on another network of this one's keychain.
    if await deposits.has_deposit(pool, customer.id, asset.network, wallet.keychain_id):
        return Issuing(asset, wallet, None)
    count_issued(house, store, house.clock.now())
    await take(house, [wallet], Taker(by), livemode=store.livemode)
    before = house.marks.given(wallet.keychain_id)
    (index,) = await wallets.allocate(pool, [wallet.keychain_id])
    await house.marks.refuse_given([(wallet.keychain_id, index, before)])
    await house.marks.cover(wallet, index)
    return Issuing(asset, wallet, index)


async def issue_address(
    tx: Tx, house: House, store: Store, customer_id: str, issuing: Issuing, now: datetime
) -> dict[str, Any]:  # JSON
    """Return the customer's address for an asset; the first to ask writes it, on every network where it is the same.

    Raises `Unavailable` (`address_mismatch`) for a stored address that its wallet does not derive.
    """
    owner, keychain_id = CustomerId(customer_id), issuing.wallet.keychain_id
    await customers.lock(tx, [owner])
    index = await deposits.deposit_index(tx, owner, keychain_id)
    if index is None:
        index = issuing.index
    if index is not None:
        await _put(tx, house, store, owner, keychain_id, index, now)
        house.marks.give(keychain_id, index)
    stored = await deposits.deposit_address(tx, owner, issuing.asset.network)
    place = Place(stored.descriptor, stored.index, stored.seal)
    if house.mismatch(issuing.asset.network, place, stored.address, owner) is not False:
        raise Unavailable("the address of this customer failed its check and is not shown", code="address_mismatch")
    return _resource(owner, issuing.asset, stored)


async def _put(
    tx: Tx, house: House, store: Store, owner: CustomerId, keychain_id: int, index: int, now: datetime
) -> None:
    """Give a customer an index of a keychain where the store has it as its wallet; watch it wherever anybody has."""
    mine = [w for w in await wallets.wallets_of(tx, store.id) if w.keychain_id == keychain_id and house.is_sealed(w)]
    if not mine:
        return
    shown = {wallet.network for wallet in mine}
    made = [
        new_address(house, network, keychain_id, mine[0].descriptor, index, owner, now)
        for network in watched_networks(house, mine[0], store.livemode)
    ]
    await deposits.put_deposit(tx, store.id, owner, [each for each in made if each.network in shown], now)
    await sharing.put_watched(tx, store.id, owner, [each for each in made if each.network not in shown], now)


def watched_networks(house: House, wallet: Wallet, livemode: bool) -> list[str]:
    """Return the networks on which the addresses of a wallet's keychain are to be watched, its own among them.

    None of the other mode than its store's: a keychain has the same addresses on both, and test coins are no money.
    """
    keychain = {wallet.network, *wallet.networks}
    return [network for network, chain in house.chains.items() if network in keychain and chain.livemode is livemode]


def new_address(
    house: House, network: str, keychain_id: int, descriptor: str, index: int, owner: str, now: datetime
) -> NewAddress:
    """Derive the address of an index that was handed out, sealed for the invoice or customer that gets it."""
    derived = house.chains[network].addresses.derive(descriptor, index)
    seal = house.seal.of_address(network, descriptor, index, derived.text, owner)
    id_ = AddressId(new_id("adr", now))
    return NewAddress(id_, network, derived.text, derived.script, derived.key, keychain_id, index, seal)


def _resource(customer_id: CustomerId, asset: Asset, stored: Deposited) -> dict[str, Any]:  # JSON
    return {
        "object": "deposit_address",
        "id": stored.id,
        "customer_id": customer_id,
        "asset": asset.id,
        "network": asset.network,
        "address": stored.address,
        "created_at": rfc3339(stored.created_at),
    }
