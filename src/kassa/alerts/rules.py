"""What may be decided about an alert. Pure."""

from kassa.alerts.model import REVERSIBLE, Alert, Verdict


def refusal(alert: Alert, verdict: Verdict, *, by_operator: bool) -> tuple[str, str] | None:
    """Return why a decision is not possible (a code, and words); None when it is.

    What was done is never left in force without an open alert that tells of it.
    """
    if alert.closed_at is not None:
        return "alert_closed", "the alert is closed already"
    if not by_operator and alert.finding.store_id is None:
        return "operator_only", "this alert concerns more than your store: its operator decides"
    in_force = [action for action in alert.finding.actions if action.deed in REVERSIBLE]
    if verdict is Verdict.CLOSED and in_force:
        done = ", ".join(f"{action.target} is {action.deed.value}" for action in in_force)
        return "action_in_force", f"{done}: undo it to close the alert, or acknowledge the alert and leave it open"
    if verdict is Verdict.UNDONE and not in_force:
        return "nothing_to_undo", "nothing was done by itself that a decision could undo: close the alert"
    return None
