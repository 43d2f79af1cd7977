"""What an operator decides about alerts."""

from datetime import datetime

import kassa.alerts.store as alerts
from kassa import flow
from kassa.alerts.model import Alert, Kind, Verdict
from kassa.alerts.resource import alert_resource
from kassa.core.errors import Conflict, FieldFault, Invalid
from kassa.db.pool import Tx
from kassa.house import House
from kassa.main import open_house
from kassa.operations.acting import Told, in_transaction, operator
from kassa.settings import Settings

_ALERTS = 1_000


async def list_alerts(settings: Settings, *, closed: bool, kind: str | None = None) -> Told:
    """Tell the alerts of every store and of none, newest first; only the open ones, unless `closed`.

    At most a thousand: `more` tells whether there are others.
    """
    filters = alerts.Filters(is_open=None if closed else True, kind=kind and _kind(kind))

    async def work(tx: Tx, _now: datetime) -> Told:
        found = await alerts.page(tx, None, filters, limit=_ALERTS + 1)
        return {"data": [_alert(alert) for alert in found[:_ALERTS]], "more": len(found) > _ALERTS}

    return await in_transaction(settings, work)


async def acknowledge_alert(settings: Settings, alert_id: str, note: str) -> Told:
    """Keep that an operator looks after an alert."""
    return await _decide_alert(settings, alert_id, Verdict.ACKNOWLEDGED, note)


async def close_alert(settings: Settings, alert_id: str, note: str, *, undo: bool) -> Told:
    """Keep an operator's decision to close an alert, with what was done by itself undone if told so."""
    return await _decide_alert(settings, alert_id, Verdict.UNDONE if undo else Verdict.CLOSED, note)


async def close_alerts(settings: Settings, kind: str, note: str) -> Told:
    """Keep an operator's decision to close every open alert of a kind, one act for each; tell how many there were."""
    filters, closed, before = alerts.Filters(is_open=True, kind=_kind(kind)), 0, None
    async with open_house(settings) as house:
        while True:
            async with house.database.transaction() as tx:
                page = await alerts.page(tx, None, filters, before)
            for alert in page:
                try:
                    await _decide(house, alert.id, Verdict.CLOSED, note)
                    closed += 1
                except Conflict:  # what is over, or somebody else's decision, has closed it meanwhile
                    continue
            if not page:
                return {"kind": kind, "closed": closed}
            before = page[-1].id


def _kind(text: str) -> str:
    if text not in (known := sorted(kind.value for kind in Kind)):
        raise Invalid(FieldFault("kind", f"{text[:40]!r} is no kind of alert; known: {', '.join(known)}"))
    return text


async def _decide_alert(settings: Settings, alert_id: str, verdict: Verdict, note: str) -> Told:
    async with open_house(settings) as house:
        return _alert(await _decide(house, alert_id, verdict, note))


async def _decide(house: House, alert_id: str, verdict: Verdict, note: str) -> Alert:
    return await house.database.run(
        lambda tx: flow.decide_alert(tx, house, None, alert_id, verdict, operator(), note, house.clock.now())
    )


def _alert(alert: Alert) -> Told:
    return alert_resource(alert) | {"detail": alert.finding.detail}
