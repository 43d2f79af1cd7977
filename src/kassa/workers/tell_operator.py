"""Tell the operator's own receiver of every alert, also of those that concern no store."""

import asyncio
from datetime import timedelta
from fractions import Fraction
from secrets import randbelow
from typing import Any

import msgspec
import structlog

import kassa.alerts.telling_store as telling
from kassa.alerts.resource import alert_resource
from kassa.alerts.telling_store import Telling
from kassa.core.clock import rfc3339
from kassa.house import House
from kassa.webhooks.model import Delivered, RetryAt
from kassa.webhooks.poster import Poster
from kassa.webhooks.rules import GIVE_UP_AFTER, LONGEST_WAITS, outcome, sign

log = structlog.get_logger()

LOOK_SECONDS = 2
LEASE = timedelta(seconds=30)


async def tell_operator(house: House) -> None:
    """Post until cancelled; any number of processes may do it side by side. At least once, and in order per alert."""
    poster = Poster(private=True)  # the operator's own word says where to
    try:
        while True:
            now = house.clock.now()
            found = await house.database.run(
                lambda tx, now=now: telling.claim(tx, now, now + LEASE, GIVE_UP_AFTER, LONGEST_WAITS)  # type: ignore[misc]
            )
            async with asyncio.TaskGroup() as posts:
                for each in found:
                    posts.create_task(_tell(house, poster, each))
            if not found:
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        await poster.close()


async def _tell(house: House, poster: Poster, told: Telling) -> None:
    url, secret = house.settings.alerts.webhook_url, house.settings.alerts.webhook_secret
    assert url is not None
    assert secret is not None
    now = house.clock.now()
    id_, body = message(told)
    timestamp = int(now.timestamp())
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign([secret], id_, timestamp, body),
    }
    if told.restored:
        headers["webhook-restored"] = "true"
    reply = await poster.post(url.reveal(), headers, body)
    jitter = Fraction(randbelow(1000), 1000)
    # What is still wrong is never given up: it may have stood for days when a receiver is named, or mended.
    since = now if told.alert.closed_at is None else told.happened_at
    came = outcome(reply.status_code, told.attempts + 1, since, house.clock.now(), jitter)
    if isinstance(came, RetryAt):
        log.warning("the operator's receiver takes no alerts", alert=told.alert.id, error=reply.error)
        await house.database.run(lambda tx: telling.note_untold(tx, told, came.at))
        return
    if not isinstance(came, Delivered):
        log.error("the operator's receiver was not told of an alert", alert=told.alert.id, error=reply.error)
    await house.database.run(lambda tx: telling.note_told(tx, told, house.clock.now()))


def message(told: Telling) -> tuple[str, bytes]:
    """Return the id and body of what is posted: the alert with what only the operator may read."""
    type_ = "alert.closed" if told.closing else "alert.opened"
    data: dict[str, Any] = alert_resource(told.alert) | {"detail": told.alert.finding.detail}
    body = {"type": type_, "timestamp": rfc3339(told.happened_at), "data": data}
    return f"{told.alert.id}.{type_.partition('.')[2]}", msgspec.json.encode(body)
