"""Say what a reconciliation found: to the operator, and once to the stores concerned."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import kassa.alerts.store as alerts
import kassa.ledger.audit_store as audits
import kassa.wallets.store as wallets
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.facts import BlockRef
from kassa.core.ids import StoreId
from kassa.core.money import format_units
from kassa.db.pool import Tx
from kassa.ledger.audit import Difference
from kassa.ledger.resource import entry_name
from kassa.payments.asset_store import decimals


async def on_reconciled(
    tx: Tx, network: str, tip: BlockRef, found: Sequence[Difference], now: datetime
) -> list[dict[str, Any]]:  # JSON
    """Keep what a run has found and return it for people.

    The stores concerned get one `alert.opened` per difference and, from a later run without it, one `alert.closed`.
    """
    opened, gone = await audits.record(tx, network, tip, found, now)
    known = await decimals(tx) if found else {}
    shown = [await _shown(tx, network, each, known[each.asset]) for each in found]
    for each, body in zip(found, shown, strict=True):
        if each in opened:
            store = await _concerned(tx, network, each)
            await alerts.open_alert(tx, _finding(network, each, body, tip, store), now)
    for key in gone:
        ended = f"the books in {key[1]} are what the chain holds again, at block {tip.height}"
        await alerts.close_alert(tx, Kind.BOOKS_DIFFER, _subject(network, key), ended, now)
    return shown


async def _shown(tx: Tx, network: str, each: Difference, places: int) -> dict[str, Any]:  # JSON
    owner = each.owner
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


async def _concerned(tx: Tx, network: str, each: Difference) -> StoreId | None:
    """Return the one store that a difference can concern; None where several could: the operator finds out."""
    if each.owner is not None and each.owner.store_id is not None:
        return StoreId(each.owner.store_id)
    if each.owner is None:
        stores = await wallets.stores_on(tx, network)
    else:
        stores = await wallets.stores_of_address(tx, each.owner.address_id)
    return stores[0] if len(stores) == 1 else None


def _finding(network: str, each: Difference, body: Mapping[str, Any], tip: BlockRef, store: StoreId | None) -> Finding:
    return Finding(
        Kind.BOOKS_DIFFER,
        _subject(network, each.key),
        Severity.CRITICAL,
        _reason(body, tip),
        store_id=store,
        network=None if store is None else network,
        about=body,
    )


def _subject(network: str, key: tuple[str | None, str]) -> str:
    return f"{network}/{key[0] or 'no address'}/{key[1]}"


def _reason(body: Mapping[str, Any], tip: BlockRef) -> str:
    where = "entries that lead to no address" if body["address"] is None else body["address"]
    return (
        f"the books say that {body['booked']} {body['asset']} reached {where}, the chain holds {body['found']} "
        f"at block {tip.height}: see `kassa reconcile`"
    )
