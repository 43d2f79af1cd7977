"""Endpoints and deliveries as the outside sees them. A secret is shown when it is made, not here."""

from datetime import datetime
from typing import Any

from kassa.core.clock import rfc3339
from kassa.webhooks.model import Attempt, Delivery, Endpoint


def endpoint_resource(endpoint: Endpoint) -> dict[str, Any]:  # JSON
    """Write an endpoint as JSON values."""
    return {
        "object": "webhook",
        "id": endpoint.id,
        "store_id": endpoint.store_id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "created_at": rfc3339(endpoint.created_at),
        "previous_secret_until": _time(endpoint.previous_secret_until),
        "disabled_at": _time(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
    }


def delivery_resource(delivery: Delivery) -> dict[str, Any]:  # JSON
    """Write a delivery with each attempt, and the next one."""
    return {
        "object": "delivery",
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "webhook_id": delivery.webhook_id,
        "url": delivery.url,
        "state": delivery.state.value,
        "created_at": rfc3339(delivery.created_at),
        "next_attempt_at": _time(delivery.next_attempt_at),
        "attempts": [_attempt(each) for each in delivery.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:  # JSON
    answer = attempt.answer
    return {
        "number": attempt.number,
        "started_at": rfc3339(answer.started_at),
        "duration_ms": answer.duration_ms,
        "status_code": answer.status_code,
        "error": answer.error,
        "response": answer.response,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
