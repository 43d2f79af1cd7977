"""A person's decision that what a customer owes will not be had: from then on it is a loss."""

from datetime import datetime
from typing import Any

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.customers.store as customers
import kassa.customers.write_off_store as write_offs
import kassa.ledger.store as ledger
from kassa.alerts.model import Kind
from kassa.audit.model import Actor
from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.core.money import format_units, parse_amount
from kassa.customers.resource import balance_resource
from kassa.db.pool import Tx
from kassa.ledger.model import Entry
from kassa.ledger.rules import claimed, delta, wanted_claim, written_off
from kassa.payments.asset_store import decimals
from kassa.stores.model import Store


async def write_off(
    tx: Tx, store: Store, customer_id: str, asset: str, amount: str | None, note: str, by: Actor, now: datetime
) -> dict[str, Any]:  # JSON
    """Write off what a customer owes in an asset (without an amount, all of it) and return their balance.

    The claim stands: what comes back later makes good the rest first, and then takes the loss back. Raises `NotFound`,
    `Invalid`, and `Conflict` (`not_owed`) where less is owed that is not written off yet.
    """
    customer, known = await customers.get(tx, store.id, customer_id), await decimals(tx)
    if asset not in known:
        raise Invalid(FieldFault("asset", f"{asset[:40]!r} is not known here"))
    owed = await write_offs.hold_owed(tx, customer.id, asset)
    units = owed if amount is None else parse_amount(amount, known[asset])
    if not 0 < units <= owed:
        raise Conflict(f"{format_units(owed, known[asset])} {asset} are owed and not written off", code="not_owed")
    await write_offs.write_off(tx, store.id, customer.id, asset, units, note, by.name, now)
    posted = (await ledger.posted(tx, [customer.id])).get(customer.id, {})
    before = {key: balance for key, balance in posted.items() if key[1] == asset}
    should = wanted_claim(customer.id, asset, written_off(claimed(before, asset), units))
    entry = Entry(store.id, "written off", customer_id=customer.id, postings=delta(before, should, None))
    await ledger.post(tx, [entry], now)
    told = {"asset": asset, "amount": format_units(units, known[asset]), "note": note}
    await audit.record(tx, by, "customer.written_off", customer.id, now, store_id=store.id, after=told)
    if units == owed:
        await alerts.close_alert(tx, Kind.CREDIT_LOST, f"{customer.id}/{asset}", "it was written off", now)
    (left,) = [each for each in await customers.balances(tx, customer.id) if each.asset == asset]
    return balance_resource(left, known)
