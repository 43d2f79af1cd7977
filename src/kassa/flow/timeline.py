"""Everything that happened to an invoice, in order: from its events, people's decisions, spends and book entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

import kassa.customers.store as customers
import kassa.events.store as events
import kassa.invoices.decision_store as decisions
import kassa.invoices.store as invoices
import kassa.ledger.store as ledger
from kassa.core.clock import rfc3339
from kassa.core.errors import FieldFault, Invalid, NotFound
from kassa.customers.resource import spend_resource
from kassa.db.pool import Tx
from kassa.house import House
from kassa.ledger.resource import entry_name
from kassa.payments.asset_store import decimals
from kassa.stores.model import Store

KINDS = ("decision", "spend", "event", "entry")
"""In the order in which one transaction writes them: causes, what was said, what was booked."""

_START = datetime(1970, 1, 1, tzinfo=UTC)
_INVOICE = ("status", "flags", "rules", "is_final", "amount_paid", "amount_settled", "amount_due", "amount_over")
_PAYMENT = (
    "id", "txid", "position", "asset", "amount", "value", "status", "confirmations", "confirmations_required",
    "block_height", "block_hash", "first_seen_at", "replaced_by",
)  # fmt: skip
_Place = tuple[datetime, int, int]
"""When, which kind, and its own number."""


@dataclass(frozen=True, slots=True)
class _Item:
    place: _Place
    told: dict[str, Any]  # JSON


async def timeline(
    tx: Tx, house: House, store: Store, invoice_id: str, cursor: str | None, limit: int
) -> dict[str, Any]:  # JSON
    """Return a part of what happened to a store's invoice, oldest first; raises `NotFound`, or `Invalid`."""
    if await invoices.store_of(tx, invoice_id) != store.id:
        raise NotFound("there is no such invoice in this store")
    after = (_START, -1, -1) if cursor is None else _read(cursor)
    found = [
        item
        for kind, read in enumerate((_decisions, _spends, _events, _entries))
        for item in await read(tx, house, invoice_id, kind, _after(after, kind), limit + 1)
    ]
    found.sort(key=lambda item: item.place)
    shown = found[:limit]
    return {
        "data": [item.told for item in shown],
        "next_cursor": _write(shown[-1].place) if len(found) > limit else None,
    }


def _after(place: _Place, kind: int) -> tuple[datetime, int]:
    at, last, number = place
    if kind == last:
        return at, number
    # What belongs before the last shown of the same moment was shown; what belongs behind it was not.
    return (at, 2**62) if kind < last else (at, -1)


async def _decisions(
    tx: Tx, _house: House, invoice: str, kind: int, after: tuple[datetime, int], limit: int
) -> list[_Item]:
    return [
        _item(d.at, kind, d.id, {"id": d.id, "decision": d.decision.value, "by": d.by})
        for d in await decisions.of_invoice_after(tx, invoice, after, limit)
    ]


async def _spends(
    tx: Tx, house: House, invoice: str, kind: int, after: tuple[datetime, int], limit: int
) -> list[_Item]:
    made, known = await customers.spends_after(tx, invoice, after, limit), await decimals(tx)
    return [_item(s.made_at, kind, number, spend_resource(s, known[s.asset]) | {"by": s.made_by}) for number, s in made]


async def _events(
    tx: Tx, _house: House, invoice: str, kind: int, after: tuple[datetime, int], limit: int
) -> list[_Item]:
    return [
        _item(e.at, kind, e.position, {"id": e.id, "type": e.type} | _said(e.type, e.object))
        for e in await events.of_invoice(tx, invoice, after, limit)
    ]


async def _entries(
    tx: Tx, _house: House, invoice: str, kind: int, after: tuple[datetime, int], limit: int
) -> list[_Item]:
    return [
        _item(e.booked_at, kind, e.number, {"id": entry_name(e.number), "reason": e.reason, "payment_id": e.payment_id})
        for e in await ledger.of_invoice(tx, invoice, after, limit)
    ]


def _said(type_: str, text: str) -> dict[str, Any]:  # JSON
    resource = msgspec.json.decode(text)
    if type_.startswith("invoice."):
        # Events from before there were rules tell none.
        return {"invoice": {name: resource.get(name) for name in _INVOICE}}
    if type_.startswith("payment."):
        return {"payment": {name: resource.get(name) for name in _PAYMENT}}
    return {"credit": resource}


def _item(at: datetime, kind: int, number: int, told: Mapping[str, Any]) -> _Item:
    name = KINDS[kind]
    return _Item((at, kind, number), {"object": "timeline_item", "at": rfc3339(at), "kind": name, name: told})


def _write(place: _Place) -> str:
    at, kind, number = place
    return f"{(at - _START) // timedelta(microseconds=1)}-{kind}-{number}"


def _read(cursor: str) -> _Place:
    parts: Sequence[str] = cursor.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise Invalid(FieldFault("cursor", "is not a cursor of this list; use next_cursor as it was given"))
    at, kind, number = map(int, parts)
    if kind >= len(KINDS) or at > 10**17:
        raise Invalid(FieldFault("cursor", "is not a cursor of this list; use next_cursor as it was given"))
    return _START + timedelta(microseconds=at), kind, number
