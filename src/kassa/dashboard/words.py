"""What is said after something was done, what states are called, and how far a payment is."""

from collections.abc import Mapping
from typing import Any

DONE = {
    "marked": "Your decision was written down.",
    "created": "The invoice was created.",
    "revoked": "The key opens nothing any more.",
    "saved": "The changes were saved.",
    "unsaved": "Nothing was done: you had to sign in again. Fill it in anew.",
    "invited": "The invitation was made.",
    "withdrawn": "The invitation was withdrawn.",
    "role": "The role was changed. They must sign in again.",
    "same_role": "That is their role already. Nothing was changed.",
    "removed": "They no longer belong to this store.",
    "removed_keys": "They no longer belong to this store, but the keys below, which they made, still open it.",
    "role_keys": "The role was changed. The keys below, which they made, can do more than it allows.",
    "keys_revoked": "Their keys open nothing any more.",
    "assigned": "Whose it is was written down.",
    "ended": "The session was ended.",
    "passkey": "The passkey was added.",
    "dropped": "The passkey was removed. Other sessions were ended.",
    "password": "Your password was changed. Other sessions were ended.",
    "proven": "You proved who you are. Nothing was done yet: look it over, then do it.",
    "link_made": "The payment link was made.",
    "link_closed": "The link begins no more payments.",
    "link_opened": "The link can be paid again.",
    "customer_made": "The customer was added.",
    "written_off": "It is a loss now, and the decision was written down.",
    "webhook_gone": "The webhook was deleted. Its log stays.",
    "tested": "A test event is on its way.",
    "acknowledged": "You look after this alert.",
    "alert_closed": "The alert was closed.",
    "change_asked": "The change was asked for. Somebody else must confirm it.",
    "change_confirmed": "The change was confirmed. It is carried out after the delay, unless somebody cancels it.",
    "change_cancelled": "The change was given up. Nothing changes.",
    "wallet_added": "The wallet was added.",
    "resent": "It is being sent again.",
}
"""By name, so that an address cannot put words of its own on a page."""

UNSAVED = "unsaved"
"""What is said to whoever sent a form when their session was over, and had to sign in instead."""
PROVEN = "proven"
"""What is said to whoever proved who they are for a form, and is shown it again."""

RIGHTS = {
    "store:read": "see the store, its networks and assets",
    "store:write": "change the store and its policies",
    "invoices:read": "see invoices, links and the overview",
    "invoices:write": "make invoices and payment links",
    "invoices:decide": "mark an invoice as settled or invalid",
    "payments:read": "see payments",
    "payments:write": "say whose money without an owner is",
    "customers:read": "see customers and balances",
    "customers:decide": "write off what customers owe",
    "customers:write": "add customers, issue addresses, spend credit",
    "ledger:read": "see books and reports, and take them home",
    "events:read": "see everything that happened",
    "alerts:read": "see what is wrong",
    "alerts:write": "acknowledge and close alerts",
    "wallets:read": "see wallets and issued addresses",
    "wallets:write": "add and replace wallets",
    "webhooks:read": "see receivers and deliveries",
    "webhooks:write": "change receivers, send again",
    "audit:read": "see who changed what",
    "keys:read": "see API keys",
    "keys:write": "make, bind and revoke API keys",
    "people:read": "see people and invitations",
    "people:write": "invite and remove people, change roles",
}
"""What a right lets somebody do."""

TONES = {
    "settled": "good", "processing": "busy", "new": "plain", "expired": "dim", "invalid": "bad", "detected": "busy",
    "confirming": "busy", "replaced": "bad", "dropped": "bad", "reversed": "bad", "underpaid": "warn",
    "overpaid": "warn", "late": "warn", "marked": "plain", "delivered": "good", "due": "busy", "failed": "bad",
    "ok": "good", "syncing": "busy", "stalled": "bad", "halted": "bad", "unreachable": "bad", "live": "good",
    "test": "warn", "revoked": "dim", "active": "good",
    "open": "busy", "completed": "good", "closed": "dim", "asked": "warn", "confirmed": "warn", "applied": "good",
    "cancelled": "dim",
    "agrees": "good", "differs": "bad", "silent": "warn", "refused": "bad", "unknown": "plain",
    "critical": "bad", "warning": "warn", "info": "plain",
}  # fmt: skip


def depth(payment: Mapping[str, Any], finality: Mapping[str, bool] | None = None) -> str:  # JSON
    """Say how many confirmations a payment has and needs, and what it waits for when it has enough.

    `finality` says, by id, of payments that need it, whether they are final. Without it only the counts are told: those
    of a moment that is past.
    """
    there, needed, status = payment["confirmations"], payment["confirmations_required"], payment["status"]
    final = None if finality is None else finality.get(payment["id"])
    waits = finality is not None and status in ("detected", "confirming")
    if there < needed:
        return f"{there} of {needed} confirmations" + (
            "; must also become final" if waits and final is not None else ""
        )
    counts = f"needs {needed}, has {there}"
    if status == "settled" and there:
        return f"confirmed{', final' if final is not None else ''}: {counts}"  # else it would not have settled
    if not waits:
        return counts
    return f"{counts}; {'not final yet' if final is False else 'held, see Alerts'}"


def pause(seconds: int) -> str:
    """Say how long to wait: a long time in minutes, rounded up, so that who waits so long is let in."""
    number, unit = (seconds, "second") if seconds < 120 else (-(-seconds // 60), "minute")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
