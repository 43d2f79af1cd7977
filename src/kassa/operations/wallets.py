"""What an operator does about wallets."""

from datetime import datetime

import kassa.stores.store as stores
from kassa import flow
from kassa.chains.base import Chain
from kassa.core.errors import FieldFault, Invalid, NotFound
from kassa.db.pool import Tx
from kassa.house import House
from kassa.operations.acting import Told, in_house, in_transaction, operator
from kassa.settings import Settings
from kassa.wallets.gap_store import gaps_of
from kassa.wallets.resource import gap_resource, wallet_resource
from kassa.wallets.rules import check_mode
from kassa.wallets.store import wallets_of

_SHOWN_ADDRESSES = 3


async def add_wallet(settings: Settings, store_id: str, network: str, descriptor: str) -> Told:
    """Give a store a wallet; tells its first addresses, to be compared with those that the signing wallet shows."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        chain = _chain(house, network)
        # First of all: whoever gave a private key must hear of that, whatever else is wrong.
        account = chain.addresses.account(descriptor)
        check_mode(network, chain.livemode, store.livemode)
        wallet = await flow.add_wallet(tx, house, operator(), store.id, network, account, now)
        return {"wallet_id": wallet.id} | wallet_resource(wallet) | _first_addresses(chain, wallet.descriptor)

    return await in_house(settings, work)


async def list_wallets(settings: Settings, store_id: str) -> Told:
    """Tell a store's wallets, also those that were replaced, newest first."""

    async def work(tx: Tx, _now: datetime) -> Told:
        await stores.get_store(tx, store_id)
        found = await wallets_of(tx, store_id, retired=True)
        gaps = await gaps_of(tx, [wallet.keychain_id for wallet in found])
        return {"data": [wallet_resource(each) | gap_resource(gaps[each.keychain_id]) for each in found]}

    return await in_transaction(settings, work)


async def change_wallet(settings: Settings, store_id: str, network: str, descriptor: str) -> Told:
    """Ask that a store's wallet be replaced; tells the new one's first addresses, to be compared before confirming."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        chain, account = _chain(house, network), _chain(house, network).addresses.account(descriptor)
        mine = {wallet.network: wallet for wallet in await wallets_of(tx, store_id)}
        if network not in mine:
            raise NotFound(
                f"the store has no wallet on {network}: `kassa wallet add --store sto_… --network NETWORK"
                " --descriptor …` gives it one, at once"
            )
        asked = await flow.ask_wallet_change(tx, house, operator(), store_id, mine[network].id, account, now)
        return asked | _first_addresses(chain, account.descriptor)

    return await in_house(settings, work)


async def confirm_wallet(settings: Settings, change_id: str, fingerprint: str) -> Told:
    """Confirm the change of a wallet as the operator, who may also have asked."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        return await flow.confirm_wallet_change(tx, house, operator(), None, change_id, fingerprint, now)

    return await in_house(settings, work)


async def cancel_wallet(settings: Settings, change_id: str) -> Told:
    """Give the change of a wallet up."""

    async def work(tx: Tx, now: datetime) -> Told:
        return await flow.cancel_wallet_change(tx, operator(), None, change_id, now)

    return await in_transaction(settings, work)


def _chain(house: House, network: str) -> Chain:
    chain = house.chains.get(network)
    if chain is None:
        known = ", ".join(house.chains) or "none"
        raise Invalid(FieldFault("network", f"{network!r} is not in the settings; configured: {known}"))
    return chain


def _first_addresses(chain: Chain, descriptor: str) -> Told:
    return {"first_addresses": [chain.addresses.derive(descriptor, index).text for index in range(_SHOWN_ADDRESSES)]}
