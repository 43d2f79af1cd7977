"""Events: everything that happened, newest first, each with what it looked like then."""

import json

import msgspec

from kassa.core.errors import NotFound
from kassa.core.ids import EventId
from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.visit import Visit
from kassa.events import store as events
from kassa.events.model import TYPES
from kassa.events.resource import event_resource

_LIMIT = 50
FAMILIES = tuple(sorted({kind.partition(".")[0] + ".*" for kind in TYPES}))


async def _list(visit: Visit) -> Screen:
    visit.demand("events:read")
    kind = visit.query.get("type") if visit.query.get("type") in FAMILIES else None
    before = visit.query.get("cursor", "")
    below = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    async with visit.house.database.pool.acquire() as connection:
        found, more = await events.newest(connection, visit.store.id, kind, below, _LIMIT)
    cursor = None if more is None else str(more)
    return Screen("events.html", {"list": {"data": found, "next_cursor": cursor}, "families": FAMILIES})


async def _one(visit: Visit) -> Screen:
    visit.demand("events:read")
    async with visit.house.database.pool.acquire() as connection:
        event = await events.get(connection, visit.store.id, EventId(visit.id))
    if event is None:
        raise NotFound("")
    told = msgspec.json.decode(event_resource(event, livemode=visit.store.livemode))
    return Screen("event.html", {"event": event, "text": json.dumps(told, indent=2, ensure_ascii=False)})


PAGES: tuple[Page, ...] = (
    Page(path="events", title="Events", access="events:read", show=_list, nav="Technology"),
    Page(path="events/{id}", title="Event", access="events:read", show=_one, id_of="evt"),
)
ACTIONS: tuple[Action, ...] = ()
