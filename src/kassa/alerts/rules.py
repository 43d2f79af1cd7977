"""What becomes of alerts when somebody looks again, and what may be decided about one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from kassa.alerts.model import REVERSIBLE, Alert, Deed, Finding, Kind, Severity, Verdict

_PERSONS = frozenset({Deed.HALTED, Deed.FROZEN})
_WORSE_WITH_MORE = frozenset({Kind.SETTLED_REVERSED})
_WORSE_WHEN_DOUBLED = frozenset({Kind.ADDRESS_MISMATCH})


@dataclass(frozen=True, slots=True)
class Steps:
    """What a look changes: alerts to close first, then findings to open; then what is noted without a word.

    `found`: what is known of an alert is brought up to date. `over`: it is not so any more, and a person has to end
    it, or has closed it already.
    """

    closed: tuple[Alert, ...]
    opened: tuple[Finding, ...]
    found: tuple[tuple[Alert, Finding], ...]
    over: tuple[Alert, ...]


def steps(open_: Sequence[Alert], muted: Sequence[Alert], findings: Sequence[Finding]) -> Steps:
    """Compare what is open, and what people closed while it was so (`muted`), with what is found now.

    What was muted is opened again once it was over, or when there is more of it. What became worse is closed and opened
    anew, so that everyone hears of it.
    """
    wanted = {(finding.kind, finding.subject): finding for finding in findings}
    held = {_cause(alert): alert for alert in open_}
    silent = {_cause(alert): alert for alert in muted}
    worse = {key for key, each in held.items() if key in wanted and _is_worse(wanted[key], each.finding)}
    more = {key for key, each in silent.items() if key in wanted and wanted[key].measure > each.finding.measure}
    gone = [alert for key, alert in held.items() if key not in wanted]
    return Steps(
        closed=(*(each for each in gone if not needs_person(each.finding)), *(held[key] for key in worse)),
        opened=tuple(
            finding
            for key, finding in wanted.items()
            if key in worse or (key not in held and (key not in silent or key in more))
        ),
        found=tuple(
            (known, wanted[key])
            for key, known in (silent | held).items()
            if key in wanted and key not in worse and key not in more
        ),
        over=(
            *(each for each in gone if needs_person(each.finding)),
            *(each for key, each in silent.items() if key not in wanted or key in more),
        ),
    )


def needs_person(finding: Finding) -> bool:
    """Tell whether only a person can end what was done about a finding."""
    return finding.lasting or any(action.deed in _PERSONS for action in finding.actions)


OPERATORS = frozenset({Kind.CUSTOMER_IN_DEBIT})
"""A store hears of these and looks after them; that they are over is the operator's to say."""


def refusal(alert: Alert, verdict: Verdict, *, by_operator: bool) -> tuple[str, str] | None:
    """Return why a decision is not possible (a code, and words); None when it is.

    What was done is never left in force without an open alert that tells of it; nor is a change that is under way.
    """
    if alert.closed_at is not None:
        return "alert_closed", "the alert is closed already"
    if not by_operator and alert.finding.store_id is None:
        return "operator_only", "this alert concerns more than your store: its operator decides"
    if not by_operator and alert.finding.kind in OPERATORS and verdict is not Verdict.ACKNOWLEDGED:
        return "operator_only", "only who runs the server can find out how this came: its operator decides"
    if alert.finding.kind is Kind.WALLET_CHANGE and verdict is not Verdict.ACKNOWLEDGED:
        return "change_under_way", "the change is under way: cancel it, or wait; the alert closes when it has ended"
    unknown = not alert.finding.kind.is_known or not all(action.deed.is_known for action in alert.finding.actions)
    if unknown and verdict is not Verdict.ACKNOWLEDGED:
        return (
            "newer_version",
            "a newer version opened this alert: decide when every process is of that version",
        )
    in_force = [action for action in alert.finding.actions if action.deed in REVERSIBLE]
    if verdict is Verdict.CLOSED and in_force:
        done = ", ".join(f"{action.target} is {action.deed.value}" for action in in_force)
        return "action_in_force", f"{done}: undo it to close the alert, or acknowledge the alert and leave it open"
    if verdict is Verdict.UNDONE and not in_force:
        return "nothing_to_undo", "nothing was done by itself that a decision could undo: close the alert"
    return None


def _cause(alert: Alert) -> tuple[str, str]:
    return alert.finding.kind, alert.finding.subject


def _is_worse(now: Finding, before: Finding) -> bool:
    if now.kind in _WORSE_WITH_MORE and now.measure > before.measure:
        return True
    if now.kind in _WORSE_WHEN_DOUBLED and _count(now).bit_length() > _count(before).bit_length():
        return True
    order = list(Severity)
    return order.index(now.severity) > order.index(before.severity)


def _count(finding: Finding) -> int:
    count: int = finding.about.get("count", 0)
    return count
