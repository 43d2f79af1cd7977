"""Addresses are the same on all networks of a space: those that were issued before a wallet came are watched there too.

Who pays on the wrong network, or on one that was added later, must be seen. What was paid there before is not.
"""

import kassa.wallets.sharing_store as sharing
from kassa.db.pool import Tx
from kassa.flow.addresses import new_address
from kassa.house import House
from kassa.wallets.model import NewAddress
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


def _is_sealed(house: House, descriptor: str, each: Elsewhere, made: NewAddress) -> bool:
    # Networks of one space have the same addresses: the one derived just now is also that of the other network.
    return fits(each.seal, house.seal.of_address(each.network, descriptor, each.index, made.text, each.owner))
