"""What tests of detectors do: let one look, and see which alerts are open."""

from datetime import datetime

import kassa.alerts.store as alerts
from kassa import flow
from kassa.alerts.model import Alert, Kind, Verdict
from kassa.audit.model import Actor
from kassa.house import House

OPERATOR = Actor("operator")
BY_NAME = {each.name: each for each in flow.DETECTORS}


async def look(house: House, *names: str, now: datetime | None = None) -> dict[Kind, list[Alert]]:
    """Let some detectors look once; return the alerts that are open, by kind."""
    for name in names:
        await house.database.run(
            lambda tx, name=name: flow.detect(tx, house, BY_NAME[name], now or house.clock.now())  # type: ignore[misc]
        )
    return await open_alerts(house)


async def open_alerts(house: House) -> dict[Kind, list[Alert]]:
    """Return the alerts that are open, by kind."""
    async with house.database.transaction() as tx:
        found = await alerts.page(tx, None, alerts.Filters(is_open=True))
    kinds: dict[Kind, list[Alert]] = {}
    for alert in found:
        kinds.setdefault(alert.finding.kind, []).append(alert)
    return kinds


async def undo(house: House, alert: Alert, verdict: Verdict = Verdict.UNDONE) -> None:
    """Decide as an operator does with `kassa alert close --undo`."""
    async with house.database.transaction() as tx:
        await flow.decide_alert(tx, house, None, alert.id, verdict, OPERATOR, "looked", house.clock.now())
