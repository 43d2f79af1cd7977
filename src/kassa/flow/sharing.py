"""Addresses are the same on all networks of a space: those that were issued before a wallet came are watched there too.

Who pays on the wrong network, or on one that was added later, must be seen. What was paid there before is not.
"""

from datetime import datetime

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.wallets.sharing_store as sharing
import kassa.wallets.store as wallets
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.model import KASSA, Actor
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.flow.addresses import new_address
from kassa.house import House
from kassa.wallets.model import NewAddress, Wallet
from kassa.wallets.seal import fits
from kassa.wallets.sharing_store import Elsewhere

SHARED_AT_ONCE = 500
"""Addresses that are derived and written in one transaction: some 50 ms."""
ABOVE_ALL = 2**31


async def share_addresses(
    tx: Tx, house: House, keychain_id: int, descriptor: str, network: str, below: int = ABOVE_ALL
) -> int | None:
    """Watch on a network what a keychain issued on others, the newest of what is missing below an index.

    Each stays its invoice's or customer's; those of stores of the other mode are left out. It gets a seal here if it
    has the right one where it was issued. Returns the index below which to go on; None when nothing more is missing.
    """
    livemode = house.chains[network].livemode
    found = await sharing.missing(tx, keychain_id, network, livemode, below, SHARED_AT_ONCE)
    shared = []
    for each in found:
        made = new_address(house, network, keychain_id, descriptor, each.index, each.owner, each.created_at)
        shared.append((each, made, made.seal if _is_sealed(house, descriptor, each, made) else None))
    await sharing.put(tx, shared)
    return found[-1].index if len(found) == SHARED_AT_ONCE else None


async def tell_sharers(tx: Tx, wallet: Wallet, by: Actor, now: datetime) -> None:
    """Tell every store whose keychain a wallet that was just given to another store has, and keep it in both logs.

    None of them reads whose the other is: the operator does. Take other locks first.
    """
    others = await wallets.sharers(tx, wallet)
    for store_id, mine in others:
        await alerts.open_alert(tx, _shared(wallet, by, store_id, mine), now)
    told = {"network": wallet.network, "fingerprint": wallet.fingerprint}
    for store_id, mine in others:
        await audit.record(tx, KASSA, "wallet.shared", mine, now, store_id=store_id, after=told)
    if others:
        await audit.record(tx, by, "wallet.shared", wallet.id, now, store_id=wallet.store_id, after=told)


def _shared(wallet: Wallet, by: Actor, store_id: StoreId, mine: str) -> Finding:
    return Finding(
        Kind.WALLET_SHARED,
        f"{mine}/{wallet.id}",
        Severity.WARNING,
        f"another store was given your wallet {wallet.fingerprint} on {wallet.network}: it takes addresses of it as you"
        " do, and sees how many were issued; if none of yours did that, ask who runs the server",
        store_id=store_id,
        detail=f"store {wallet.store_id}, by {by.name}",
        about={"wallet_id": mine, "fingerprint": wallet.fingerprint, "network": wallet.network},
        lasting=True,
    )


def _is_sealed(house: House, descriptor: str, each: Elsewhere, made: NewAddress) -> bool:
    # Networks of one space have the same addresses: the one derived just now is also that of the other network.
    return fits(each.seal, house.seal.of_address(each.network, descriptor, each.index, made.text, each.owner))
