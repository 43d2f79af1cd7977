"""What people decide about alerts, with what follows from it."""

from datetime import datetime

import kassa.alerts.store as alerts
import kassa.audit.store as audit
from kassa.alerts.model import Action, Alert, Deed, Verdict
from kassa.alerts.rules import refusal
from kassa.audit.model import Actor
from kassa.core.errors import Conflict
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.flow.contracts import thaw
from kassa.house import House


async def decide_alert(
    tx: Tx, house: House, store_id: StoreId | None, alert_id: str, verdict: Verdict, by: Actor, note: str, now: datetime
) -> Alert:
    """Keep a decision about an alert that a store sees (None: the operator's, who sees all) and carry it out.

    Raises `NotFound`, or `Conflict` when that cannot be decided (see `alerts.rules.refusal`).
    """
    alert = await alerts.get(tx, store_id, alert_id, lock=True)
    refused = refusal(alert, verdict, by_operator=store_id is None)
    if refused is not None:
        raise Conflict(refused[1], code=refused[0])
    if verdict is Verdict.UNDONE:
        for action in alert.finding.actions:
            await _undo(tx, house, action, by, now)
    decided = await alerts.decide(tx, alert, verdict, by.name, note, now)
    told = {"kind": alert.finding.kind.value, "subject": alert.finding.subject, "note": note}
    await audit.record(tx, by, f"alert.{verdict.value}", alert.id, now, store_id=store_id, after=told)
    return decided


async def _undo(tx: Tx, house: House, action: Action, by: Actor, now: datetime) -> None:
    match action.deed:
        case Deed.HALTED:
            remedy = f"kassa network resume {action.target} --depth N"
            raise Conflict(f"how deep a reorganisation may be is part of this decision: {remedy}", code="depth_needed")
        case Deed.FROZEN:
            await thaw(tx, house, action.target, by, now)
        case Deed.WITHHELD | Deed.DISABLED:
            pass  # ends with its cause
