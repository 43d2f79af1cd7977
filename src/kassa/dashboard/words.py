"""What is said after something was done, and what states are called."""

DONE = {
    "marked": "Your decision was written down.",
    "created": "The invoice was created.",
    "revoked": "The key opens nothing any more.",
    "saved": "The changes were saved.",
    "invited": "The invitation was made.",
    "withdrawn": "The invitation was withdrawn.",
    "role": "The role was changed. They must sign in again.",
    "removed": "They no longer belong to this store.",
    "ended": "The session was ended.",
    "passkey": "The passkey was added.",
    "dropped": "The passkey was removed.",
    "password": "Your password was changed. Other sessions were ended.",
    "proven": "Thank you. You can go on.",
    "link_made": "The payment link was made.",
    "link_closed": "The link begins no more payments.",
    "link_opened": "The link can be paid again.",
    "customer_made": "The customer was added.",
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

TONES = {
    "settled": "good", "processing": "busy", "new": "plain", "expired": "dim", "invalid": "bad", "detected": "busy",
    "confirming": "busy", "replaced": "bad", "dropped": "bad", "reversed": "bad", "underpaid": "warn",
    "overpaid": "warn", "late": "warn", "marked": "plain", "delivered": "good", "due": "busy", "failed": "bad",
    "ok": "good", "syncing": "busy", "stalled": "bad", "halted": "bad", "unreachable": "bad", "live": "good",
    "test": "warn", "revoked": "dim", "active": "good",
    "open": "busy", "completed": "good", "closed": "dim", "asked": "warn", "confirmed": "warn", "applied": "good",
    "cancelled": "dim",
    "critical": "bad", "warning": "warn", "info": "plain",
}  # fmt: skip
