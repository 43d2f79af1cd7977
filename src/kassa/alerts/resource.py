"""An alert as the outside sees it."""

from datetime import datetime
from typing import Any

from kassa.alerts.model import Alert, Decided
from kassa.core.clock import rfc3339


def alert_resource(alert: Alert) -> dict[str, Any]:  # JSON
    """Return an alert as JSON-ready values; what only the operator may read is left out."""
    found = alert.finding
    return {
        "object": "alert",
        "id": alert.id,
        "kind": found.kind.value,
        "subject": found.subject,
        "severity": found.severity.value,
        "status": "open" if alert.closed_at is None else "closed",
        "store_id": found.store_id,
        "network": found.network,
        "reason": found.reason,
        "about": dict(found.about),
        "actions": [
            {"action": each.deed.value, "target": each.target, "blocks": each.blocks or None} for each in found.actions
        ],
        "opened_at": rfc3339(alert.opened_at),
        "acknowledged_at": _time(alert.acknowledged_at),
        "over_at": _time(alert.over_at),
        "undone_at": _time(alert.undone_at),
        "closed_at": _time(alert.closed_at),
        "closed_by": alert.closed_by,
        "ended": alert.ended,
        "decisions": [_decision(each) for each in alert.decisions],
    }


def _decision(decided: Decided) -> dict[str, Any]:  # JSON
    return {
        "decision": decided.verdict.value,
        "at": rfc3339(decided.at),
        "by": decided.by,
        "note": decided.note,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
