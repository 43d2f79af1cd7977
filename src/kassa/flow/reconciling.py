"""Say what a reconciliation found: to the operator, and once to the stores concerned."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import kassa.events.store as events
import kassa.ledger.audit_store as audits
import kassa.wallets.store as wallets
from kassa.core.clock import rfc3339
from kassa.core.facts import BlockRef
from kassa.core.ids import StoreId
from kassa.core.money import format_units
from kassa.db.pool import Tx
from kassa.events.model import NewEvent
from kassa.ledger.audit import Difference, Owner
from kassa.ledger.resource import entry_name


async def on_reconciled(
    tx: Tx, network: str, tip: BlockRef, found: Sequence[Difference], decimals: Mapping[str, int], now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Keep what a run has found and return it for people.

    The stores concerned get one `alert.opened` per difference and, from a later run without it, one `alert.closed`.
    """
    opened, gone = await audits.record(tx, network, tip, found, now)
    shown = [await _shown(tx, network, each, decimals) for each in found]
    told = []
    for each, body in zip(found, shown, strict=True):
        if each in opened:
            told += await _events(tx, network, each.owner, "alert.opened", body | {"reason": _reason(body, tip)}, now)
    for address_id, asset in gone:
        owner = None if address_id is None else await audits.owner(tx, address_id)
        body = {"address": None if owner is None else owner.address, "asset": asset}
        body |= {"reason": f"the books in {asset} are what the chain holds again, at block {tip.height}"}
        told += await _events(tx, network, owner, "alert.closed", body, now)
    await events.write(tx, told, now)
    return shown


async def _shown(tx: Tx, network: str, each: Difference, decimals: Mapping[str, int]) -> dict[str, Any]:  # JSON
    places, owner = decimals.get(each.asset, 0), each.owner
    return {
        "address": None if owner is None else owner.address,
        "asset": each.asset,
        "booked": format_units(each.booked, places),
        "found": format_units(each.found, places),
        "difference": format_units(each.found - each.booked, places),
        "store_id": None if owner is None else owner.store_id,
        "invoice_id": None if owner is None else owner.invoice_id,
        "customer_id": None if owner is None else owner.customer_id,
        "entries": [entry_name(number) for number in await audits.entries_on(tx, network, each)],
    }


async def _events(
    tx: Tx, network: str, owner: Owner | None, type_: str, body: Mapping[str, Any], now: datetime
) -> list[NewEvent]:
    # Of an address without an owner any store of the network may be the one concerned.
    known = None if owner is None else owner.store_id
    stores = await wallets.stores_on(tx, network) if known is None else [StoreId(known)]
    said = {"object": "alert", "network": network, **body, "at": rfc3339(now)}
    return [NewEvent(store, type_, said) for store in stores]


def _reason(body: Mapping[str, Any], tip: BlockRef) -> str:
    where = "entries that lead to no address" if body["address"] is None else body["address"]
    return (
        f"the books say that {body['booked']} {body['asset']} reached {where}, the chain holds {body['found']} "
        f"at block {tip.height}: see `kassa reconcile`"
    )
