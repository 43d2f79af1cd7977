"""Events: everything that happened, newest first, each with what it looked like then."""

import json
from typing import Any

import msgspec

from kassa import flow
from kassa.core.errors import NotFound
from kassa.core.ids import EventId
from kassa.dashboard.page import Action, Page, Screen
from kassa.dashboard.render import sentence
from kassa.dashboard.visit import Visit
from kassa.events import store as events
from kassa.events.model import TYPES
from kassa.events.resource import event_resource

_LIMIT = 50
_LONGEST = 2_048  # as the searches of the API
FAMILIES = tuple(sorted({kind.partition(".")[0] + ".*" for kind in TYPES}))


async def _list(visit: Visit) -> Screen:
    visit.demand("events:read")
    kind = visit.query.get("type") if visit.query.get("type") in FAMILIES else None
    before = visit.query.get("cursor", "")
    below = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    text = visit.query.get("search", "").strip()
    if len(text) > _LONGEST:
        visit.faults = {"search": f"must be at most {_LONGEST} characters long"}
        return Screen("events.html", {"list": {"data": [], "next_cursor": None}, "families": FAMILIES}, 422)
    async with visit.house.database.pool.acquire() as connection:
        sought = await flow.find_events(connection, visit.house, visit.store, text) if text else None
        found, more = await events.newest(connection, visit.store.id, kind, below, _LIMIT, sought)
    cursor = None if more is None else str(more)
    shown = [(event, *_about(msgspec.json.decode(event.object))) for event in found]
    return Screen("events.html", {"list": {"data": shown, "next_cursor": cursor}, "families": FAMILIES})


def _about(told: dict[str, Any]) -> tuple[str, str]:  # JSON
    """Return the page of what an event is about (or none), and what to call it."""
    match told.get("object"):
        case "invoice":
            return f"invoices/{told['id']}", f"{told['reference'] or told['id']}, {told['amount']} {told['currency']}"
        case "payment":
            return f"payments/{told['id']}", f"{told['amount']} {told['asset']}"
        case "payment_link":
            return f"links/{told['id']}", told["title"]
        case "alert":
            return f"alerts/{told['id']}", sentence(told["kind"])
    return "", told.get("asset") or told.get("network") or ""


async def _one(visit: Visit) -> Screen:
    visit.demand("events:read")
    async with visit.house.database.pool.acquire() as connection:
        event = await events.get(connection, visit.store.id, EventId(visit.id))
    if event is None:
        raise NotFound("")
    told = msgspec.json.decode(event_resource(event, livemode=visit.store.livemode))
    return Screen("event.html", {"event": event, "text": json.dumps(told, indent=2, ensure_ascii=False)})


PAGES: tuple[Page, ...] = (
    Page(path="events", title="Events", access="events:read", show=_list, nav="Technology", live=True),
    Page(path="events/{id}", title="Event", access="events:read", show=_one, id_of="evt"),
)
ACTIONS: tuple[Action, ...] = ()
