"""Endpoints and the log of their deliveries, as merchants manage and read them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from kassa.alerts import store as alerts
from kassa.alerts.model import Kind
from kassa.core.errors import Conflict, NotFound
from kassa.core.ids import DeliveryId, StoreId, WebhookId, new_id
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.webhooks.model import Answer, Attempt, Change, Delivery, Endpoint, State
from kassa.webhooks.rules import MAX_ENDPOINTS, ROTATION

_ENDPOINT = "id, store_id, url, events, created_at, previous_secret_until, disabled_at, disabled_reason"
_DELIVERY = (
    "select d.id, d.store_id, d.event_id, e.type, d.webhook_id, coalesce(w.url, d.url) as url, d.state, d.created_at,"
    " d.due_at from deliveries d join events e on e.id = d.event_id left join webhooks w on w.id = d.webhook_id"
)


async def create_endpoint(
    tx: Tx, store_id: StoreId, url: str, filters: tuple[str, ...], secret: Secret, now: datetime
) -> Endpoint:
    """Add a receiver whose parts were checked by `rules.check_…`; raises `Conflict` when the store has too many."""
    # The row of the store serialises the count; its writers of events take a weaker lock and do not wait.
    await tx.execute("select from stores where id = $1 for no key update", store_id)
    count = await tx.fetchval("select count(*) from webhooks where store_id = $1 and deleted_at is null", store_id)
    if count >= MAX_ENDPOINTS:
        raise Conflict(f"the store has {count} webhooks, the most there can be: delete one first")
    row = await tx.fetchrow(
        "insert into webhooks (id, store_id, url, events, secret, created_at) values ($1, $2, $3, $4, $5, $6)"
        f" returning {_ENDPOINT}",
        new_id("whk", now),
        store_id,
        url,
        list(filters),
        secret.reveal(),
        now,
    )
    return _endpoint(row)


async def list_endpoints(
    tx: Tx, store_id: StoreId, before: WebhookId | None = None, limit: int | None = 100
) -> list[Endpoint]:
    """Return the store's endpoints, newest first, those made before `before`; with no limit every one."""
    rows = await tx.fetch(
        f"select {_ENDPOINT} from webhooks where store_id = $1 and deleted_at is null"
        " and ($2::text is null or id < $2) order by id desc limit $3",
        store_id,
        before,
        limit,
    )
    return [_endpoint(row) for row in rows]


async def get_endpoint(tx: Tx, store_id: StoreId, webhook_id: WebhookId) -> Endpoint:
    """Return an endpoint; raises `NotFound`."""
    row = await tx.fetchrow(
        f"select {_ENDPOINT} from webhooks where id = $1 and store_id = $2 and deleted_at is null",
        webhook_id,
        store_id,
    )
    return _endpoint(_found(row, "webhook", webhook_id))


async def update_endpoint(tx: Tx, store_id: StoreId, webhook_id: WebhookId, change: Change, now: datetime) -> Endpoint:
    """Change an endpoint. Disabled, its deliveries wait; enabled, they go out. Raises `NotFound`."""
    row = await tx.fetchrow(
        "update webhooks set url = coalesce($3, url), events = coalesce($4, events),"
        # The same secret again is the same request again: it must not push out the one that still signs beside it.
        " previous_secret = case when coalesce($5::text, secret) = secret then previous_secret else secret end,"
        " previous_secret_until = case when coalesce($5, secret) = secret then previous_secret_until else $6 end,"
        " secret = coalesce($5, secret),"
        " disabled_at = case when $7 then coalesce(disabled_at, $8) when not $7 then null else disabled_at end,"
        " disabled_reason = case when $7 then coalesce(disabled_reason, 'by the merchant') when not $7 then null"
        "  else disabled_reason end"
        f" where id = $1 and store_id = $2 and deleted_at is null returning {_ENDPOINT}",
        webhook_id,
        store_id,
        change.url,
        None if change.events is None else list(change.events),
        None if change.secret is None else change.secret.reveal(),
        now + ROTATION,
        change.disabled,
        now,
    )
    endpoint = _endpoint(_found(row, "webhook", webhook_id))
    if change.disabled:
        await hold(tx, [webhook_id])
    elif change.disabled is False:
        await alerts.close_alert(tx, Kind.WEBHOOK_DISABLED, webhook_id, "the webhook was enabled again", now)
        await tx.execute(
            "update deliveries set due_at = $2 where lane = $1 and state = 'due' and due_at is null",
            f"{store_id} {webhook_id}",
            now,
        )
        await _wake(tx)
    return endpoint


async def delete_endpoint(tx: Tx, store_id: StoreId, webhook_id: WebhookId, now: datetime) -> None:
    """Delete an endpoint: nothing is sent there any more, its log stays. Raises `NotFound`."""
    done = await tx.fetchrow(
        "update webhooks set deleted_at = $3 where id = $1 and store_id = $2 and deleted_at is null returning id",
        webhook_id,
        store_id,
        now,
    )
    _found(done, "webhook", webhook_id)
    await alerts.close_alert(tx, Kind.WEBHOOK_DISABLED, webhook_id, "the webhook was deleted", now)
    await tx.execute(
        "update deliveries set state = 'failed', due_at = null, claimed_until = null where lane = $1 and state = 'due'",
        f"{store_id} {webhook_id}",
    )


async def hold(tx: Tx, webhook_ids: Iterable[WebhookId]) -> None:
    """Let the due deliveries of disabled endpoints wait, but for those that are being sent."""
    await tx.execute(
        "update deliveries d set due_at = null from webhooks w where w.id = any($1::text[])"
        " and d.lane = w.store_id || ' ' || w.id and d.state = 'due' and d.claimed_until is null",
        list(webhook_ids),
    )


async def write_test_event(tx: Tx, store_id: StoreId, webhook_id: WebhookId, now: datetime) -> DeliveryId:
    """Write a `webhook.test` event for one endpoint, whatever its filter; raises `NotFound`, `Conflict` if disabled."""
    endpoint = await get_endpoint(tx, store_id, webhook_id)
    if endpoint.disabled_at is not None:
        raise Conflict("the webhook is disabled: enable it before testing it")
    event = NewEvent(store_id, "webhook.test", {"object": "webhook", "id": webhook_id, "url": endpoint.url})
    [event_id] = await events.write(tx, [event], now, only=webhook_id)
    # Not the newest one, which may be of an event that was committed meanwhile. The bound is for the index: the id of a
    # delivery begins with the time of its event's.
    found = await tx.fetchval(
        "select id from deliveries where webhook_id = $1 and event_id = $2 and id >= 'dlv_' || substr($2, 5, 10)",
        webhook_id,
        event_id,
    )
    if found is None:
        raise Conflict("the webhook was disabled just now: enable it before testing it")
    return DeliveryId(found)


async def list_deliveries(
    tx: Tx, store_id: StoreId, webhook_id: WebhookId, before: DeliveryId | None, limit: int
) -> list[Delivery]:
    """Return an endpoint's deliveries with their attempts, newest first, from before `before`; raises `NotFound`."""
    await get_endpoint(tx, store_id, webhook_id)
    rows = await tx.fetch(
        f"{_DELIVERY} where d.webhook_id = $1 and ($2::text is null or d.id < $2) order by d.id desc limit $3",
        webhook_id,
        before,
        limit,
    )
    return await _with_attempts(tx, rows)


async def list_of_invoice(
    tx: Tx, store_id: StoreId, invoice_id: str, before: DeliveryId | None, limit: int
) -> list[Delivery]:
    """Return the deliveries that tell of a store's invoice, whoever gets them, newest first, from before `before`."""
    rows = await tx.fetch(
        f"{_DELIVERY} where d.invoice_id = $1 and d.store_id = $2 and ($3::text is null or d.id < $3)"
        " order by d.id desc limit $4",
        invoice_id,
        store_id,
        before,
        limit,
    )
    return await _with_attempts(tx, rows)


async def list_failed(
    tx: Tx, store_id: StoreId, after: datetime | None, before: DeliveryId | None, limit: int
) -> list[Delivery]:
    """Return the deliveries of a store that were given up, newest first: those made after a moment, before `before`."""
    rows = await tx.fetch(
        f"{_DELIVERY} where d.store_id = $1 and d.state = 'failed' and ($2::text is null or d.id < $2)"
        " and ($4::timestamptz is null or d.created_at > $4) order by d.id desc limit $3",
        store_id,
        before,
        limit,
        after,
    )
    return await _with_attempts(tx, rows)


async def list_found(
    tx: Tx, store_id: StoreId, found: Sequence[DeliveryId], before: DeliveryId | None, limit: int
) -> list[Delivery]:
    """Return those of some deliveries that are a store's, newest first, from before `before`."""
    rows = await tx.fetch(
        f"{_DELIVERY} where d.store_id = $1 and d.id = any($2::text[]) and ($3::text is null or d.id < $3)"
        " order by d.id desc limit $4",
        store_id,
        found,
        before,
        limit,
    )
    return await _with_attempts(tx, rows)


async def get_delivery(tx: Tx, store_id: StoreId, delivery_id: DeliveryId) -> Delivery:
    """Return a delivery with its attempts; raises `NotFound`."""
    row = await tx.fetchrow(f"{_DELIVERY} where d.id = $1 and d.store_id = $2", delivery_id, store_id)
    [found] = await _with_attempts(tx, [_found(row, "delivery", delivery_id)])
    return found


async def retry_delivery(tx: Tx, store_id: StoreId, delivery_id: DeliveryId, now: datetime) -> Delivery:
    """Send a delivery again at once, whatever became of it; raises `NotFound`, `Conflict` if it has nowhere to go."""
    row = await tx.fetchrow(
        "select w.disabled_at, w.deleted_at from deliveries d left join webhooks w on w.id = d.webhook_id"
        " where d.id = $1 and d.store_id = $2",
        delivery_id,
        store_id,
    )
    if _found(row, "delivery", delivery_id)["deleted_at"] is not None:
        raise Conflict("the webhook was deleted: its deliveries cannot be sent again")
    if row["disabled_at"] is not None:
        raise Conflict("the webhook is disabled: enable it, and what waits for it goes out")
    # One that is being sent right now is left alone.
    await tx.execute(
        "update deliveries set state = 'due', due_at = $2, claimed_until = null"
        " where id = $1 and (claimed_until is null or claimed_until <= $2)",
        delivery_id,
        now,
    )
    await _wake(tx)
    return await get_delivery(tx, store_id, delivery_id)


async def _wake(tx: Tx) -> None:
    await tx.execute("select pg_notify($1, '')", events.CHANNEL)


async def _with_attempts(tx: Tx, rows: list[Any]) -> list[Delivery]:
    made: dict[str, list[Attempt]] = {row["id"]: [] for row in rows}
    for each in await tx.fetch(
        "select delivery_id, number, started_at, duration_ms, status_code, error, response from delivery_attempts"
        " where delivery_id = any($1::text[]) order by delivery_id, number",
        list(made),
    ):
        answer = Answer(each["started_at"], each["duration_ms"], each["status_code"], each["error"], each["response"])
        made[each["delivery_id"]].append(Attempt(each["number"], answer))
    return [_delivery(row, tuple(made[row["id"]])) for row in rows]


def _delivery(row: Any, attempts: tuple[Attempt, ...]) -> Delivery:  # asyncpg's record
    return Delivery(
        id=row["id"],
        store_id=row["store_id"],
        event_id=row["event_id"],
        event_type=row["type"],
        webhook_id=row["webhook_id"],
        url=row["url"],
        state=State(row["state"]),
        created_at=row["created_at"],
        next_attempt_at=row["due_at"],
        attempts=attempts,
    )


def _endpoint(row: Any) -> Endpoint:  # asyncpg's record
    return Endpoint(
        id=row["id"],
        store_id=row["store_id"],
        url=row["url"],
        events=tuple(row["events"]),
        created_at=row["created_at"],
        previous_secret_until=row["previous_secret_until"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
    )


def _found(row: Any, kind: str, wanted: str) -> Any:  # asyncpg's record, or none
    if row is None:
        raise NotFound(f"no {kind} {wanted!r} in this store")
    return row
