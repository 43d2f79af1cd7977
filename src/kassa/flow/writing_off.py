"""A person's decision that what a customer owes will not be had: from then on it is a loss."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kassa.audit.store as audit
import kassa.customers.store as customers
import kassa.customers.write_off_store as write_offs
import kassa.ledger.store as ledger
from kassa.audit.model import Actor
from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.core.ids import CustomerId
from kassa.core.money import currency, format_units, parse_amount
from kassa.customers.resource import balance_resource
from kassa.db.pool import Tx
from kassa.flow import lost_credit
from kassa.ledger.model import Entry, Worth
from kassa.ledger.rules import Balances, Claim, claimed, delta, wanted_claim, written_off
from kassa.ledger.rules import owing as owing_claim
from kassa.payments.asset_store import decimals
from kassa.stores.model import Store


async def write_off(
    tx: Tx, store: Store, customer_id: str, asset: str, amount: str | None, note: str, by: Actor, now: datetime
) -> dict[str, Any]:  # JSON
    """Write off what a customer owes in an asset (without an amount, all of it) and return their balance.

    The claim stands: what comes back later makes good the rest first, and then takes the loss back. Raises `NotFound`,
    `Invalid`, and `Conflict` (`not_owed`) where less is owed that is not written off yet.
    """
    asked = await _asked(tx, store, customer_id, asset, amount)
    await write_offs.write_off(tx, store.id, asked.customer_id, asset, asked.units, note, by.name, now)
    await ledger.post(tx, _entries(store, asset, asked), now)
    purse = asked.customer_id, asset
    left = asked.owed - asked.units, asked.decimals
    await lost_credit.tell(tx, purse, left, store.id, now, ended="it was written off")
    told = {"asset": asset, "amount": format_units(asked.units, asked.decimals), "note": note}
    await audit.record(tx, by, "customer.written_off", asked.customer_id, now, store_id=store.id, after=told)
    held = (await customers.balances(tx, [asked.customer_id]))[asked.customer_id]
    (balance,) = [each for each in held if each.asset == asset]
    return balance_resource(balance, {asset: asked.decimals})


async def preview_write_off(
    tx: Tx, store: Store, customer_id: str, asset: str, amount: str | None
) -> dict[str, Any]:  # JSON
    """Tell what `write_off` would make a loss, and what that is worth in the books; raises what it raises."""
    asked = await _asked(tx, store, customer_id, asset, amount)
    value = asked.after.loss.value - asked.before.loss.value
    return {
        "customer_id": asked.customer_id,
        "asset": asset,
        "amount": format_units(asked.units, asked.decimals),
        "left": format_units(asked.owed - asked.units, asked.decimals),
        "value": format_units(value, currency(store.currency).decimals),
        "currency": store.currency,
    }


async def owing(tx: Tx, store: Store) -> list[dict[str, Any]]:  # JSON
    """Return which customers of a store owe what, and how much of that is written off; oldest customers first."""
    known = await decimals(tx)
    return [
        {"customer_id": each.customer_id, "reference": each.reference} | balance_resource(each.balance, known)
        for each in await write_offs.owing(tx, store.id)
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be written off: units of all that is `owed` and not written off, with the claim before and after.

    `posted` is what the books say, where an older version that still runs may have moved the claim to the losses.
    """

    customer_id: CustomerId
    decimals: int
    owed: int
    units: int
    posted: Balances
    before: Claim
    after: Claim


async def _asked(tx: Tx, store: Store, customer_id: str, asset: str, amount: str | None) -> _Asked:
    customer, known = await customers.get(tx, store.id, customer_id), await decimals(tx)
    if asset not in known:
        raise Invalid(FieldFault("asset", f"{asset[:40]!r} is not known here"))
    # Held until the end: nobody else writes off the same, and no block makes it good meanwhile.
    owed, lost = await write_offs.hold_owed(tx, customer.id, asset)
    left = owed - lost
    units = left if amount is None else parse_amount(amount, known[asset])
    if amount is not None and not units:
        raise Invalid(FieldFault("amount", "must be more than zero"))
    if not 0 < units <= left:
        raise Conflict(f"{format_units(left, known[asset])} {asset} are owed and not written off", code="not_owed")
    posted = (await ledger.posted(tx, [customer.id])).get(customer.id, {})
    mine = {key: balance for key, balance in posted.items() if key[1] == asset}
    before = owing_claim(claimed(mine, asset), left, lost, Worth(None, 0, 0))
    return _Asked(customer.id, known[asset], left, units, mine, before, written_off(before, units))


def _entries(store: Store, asset: str, asked: _Asked) -> list[Entry]:
    before, after = (wanted_claim(asked.customer_id, asset, claim) for claim in (asked.before, asked.after))
    steps = (("owed by the customer, no loss", asked.posted, before), ("written off", before, after))
    return [
        Entry(store.id, reason, customer_id=asked.customer_id, postings=postings)
        for reason, posted, should in steps
        if (postings := delta(posted, should, None))
    ]
