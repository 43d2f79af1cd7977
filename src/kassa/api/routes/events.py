"""The history of a store: every event, in order, without gaps, as often as anyone likes."""

from typing import Any

import msgspec

from kassa import measures
from kassa.api import shapes
from kassa.api.endpoint import Call, Endpoint
from kassa.api.lists import read_cursor
from kassa.core.errors import FieldFault, Invalid
from kassa.core.ids import EventId
from kassa.db.pool import Tx
from kassa.events.model import TYPES
from kassa.events.resource import event_resource
from kassa.events.store import list_after, number

_KINDS = TYPES | {kind.partition(".")[0] + ".*" for kind in TYPES}


async def _list(tx: Tx, call: Call) -> dict[str, Any]:  # JSON
    query: shapes.EventQuery = call.query
    if query.type is not None and query.type not in _KINDS:
        raise Invalid(FieldFault("type", "is not an event type such as invoice.settled, or a family such as invoice.*"))
    if query.after is not None and query.cursor is not None:
        raise Invalid(FieldFault("cursor", "is another name for after: give one of them"))
    field = "after" if query.cursor is None else "cursor"
    after = read_cursor("evt", query.after or query.cursor, field)
    async with tx.transaction():  # numbers are given under a lock that lasts as long as the transaction
        published = await number(tx, call.store.id)
    for each in published:
        measures.published(each.type, each.network, each.seconds)
    found = await list_after(tx, call.store.id, None if after is None else EventId(after), query.type, query.limit + 1)
    shown = found[: query.limit]
    return {
        "data": [msgspec.Raw(event_resource(event, livemode=call.store.livemode)) for event in shown],
        "next_cursor": shown[-1].id if len(found) > query.limit else None,
    }


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/events", name="list_events", summary="Read the store's events, oldest first",
        access="events:read", query=shapes.EventQuery, work=_list, result=shapes.Page[shapes.Event], bare=True,
    ),
)  # fmt: skip
