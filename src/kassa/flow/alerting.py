"""What follows from a finding, and from what people decide about alerts."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.payments.store as payments
import kassa.watch.restraint_store as restraints
from kassa.alerts.model import RESTRAINTS, Action, Alert, Deed, Finding, Kind, Verdict
from kassa.alerts.rules import refusal, steps
from kassa.audit.model import Actor
from kassa.core.errors import Conflict
from kassa.core.ids import InvoiceId, PaymentId, StoreId
from kassa.db.pool import Tx
from kassa.flow.contracts import thaw
from kassa.flow.standing import lock, reassess
from kassa.house import House
from kassa.payments.model import Touched
from kassa.watch.model import Restraint


async def on_findings(
    tx: Tx,
    house: House,
    kinds: Sequence[Kind],
    findings: Sequence[Finding],
    now: datetime,
    *,
    subject: str | None = None,
    among: Sequence[str] | None = None,
) -> None:
    """Bring the alerts of some kinds in line with what was found now.

    All of them; or those about one `subject` and its parts, or about subjects `among` which was looked for.

    Holds back what a finding asks for while its alert is open. Doing it again changes nothing.
    """
    known, muted = await alerts.standing(tx, kinds, subject, among)
    wanted = steps(known, muted, findings)
    touched: set[str] = set()
    anew = {(finding.kind, finding.subject) for finding in wanted.opened}
    for alert in wanted.closed:
        cause = alert.finding.kind, alert.finding.subject
        touched |= await _lift(tx, alert, now)
        await alerts.close_alert(tx, *cause, "it became worse: see the next" if cause in anew else "it is over", now)
    await alerts.note_over(tx, wanted.over, now)
    for alert, finding in wanted.found:
        if alert.closed_at is None and alert.finding.actions != finding.actions:
            touched |= await _lift(tx, alert, now) | await _hold(tx, alert, finding, now)
        if alert.finding != finding or alert.over_at is not None:
            await alerts.note_found(tx, alert, finding)
    for finding in wanted.opened:
        opened = await alerts.open_alert(tx, finding, now)
        if opened is not None:
            touched |= await _hold(tx, opened, finding, now)
    await _reassess(tx, house, touched, now)


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
        await _reassess(tx, house, await _lift(tx, alert, now), now)
    again = _readable_again(alert, verdict)
    await lock(tx, again)  # before the alert, as whoever finds that it cannot be read
    decided = await alerts.decide(tx, alert, verdict, by.name, note, now)
    await reassess(tx, house, again, now)
    told = {"kind": alert.finding.kind.value, "subject": alert.finding.subject, "note": note}
    await audit.record(tx, by, f"alert.{verdict.value}", alert.id, now, store_id=store_id, after=told)
    return decided


def _readable_again(alert: Alert, verdict: Verdict) -> Touched:
    subject = alert.finding.subject
    if alert.finding.kind is not Kind.RECORD_UNREADABLE or verdict is not Verdict.CLOSED:
        return Touched()
    if subject.startswith("pay_"):
        return Touched(deposits=frozenset([PaymentId(subject)]))
    return Touched(frozenset([InvoiceId(subject)]))


async def _undo(tx: Tx, house: House, action: Action, by: Actor, now: datetime) -> None:
    match action.deed:
        case Deed.HALTED:
            remedy = f"kassa network resume {action.target} --depth N"
            raise Conflict(f"how deep a reorganisation may be is part of this decision: {remedy}", code="depth_needed")
        case Deed.FROZEN:
            await thaw(tx, house, action.target, by, now)
        case _:
            pass  # is lifted with its alert, or ends with its cause


async def _hold(tx: Tx, alert: Alert, finding: Finding, now: datetime) -> set[str]:
    networks = set()
    for action in finding.actions:
        if action.deed not in RESTRAINTS:
            continue
        _, at, of_asset = action.target.partition("@")
        network, asset = (of_asset, action.target) if at else (action.target, None)
        restraint = Restraint(action.deed.value, now, asset, finding.store_id, action.blocks)
        await restraints.put(tx, alert.id, restraint, network)
        networks.add(network)
    return networks


async def _lift(tx: Tx, alert: Alert, now: datetime) -> set[str]:
    return set(await restraints.lift(tx, alert.id, now))


async def _reassess(tx: Tx, house: House, networks: Iterable[str], now: datetime) -> None:
    touched = Touched()
    for network in sorted(networks):
        touched |= await payments.unsettled(tx, network)
    await reassess(tx, house, touched, now)
