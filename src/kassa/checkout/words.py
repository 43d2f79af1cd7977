"""An invoice in plain words. Pure: from the public invoice and its terms to what the page says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from kassa.checkout.languages import Language
from kassa.checkout.listing import LIVING, trimmed
from kassa.core.money import parse_amount, typed_step
from kassa.invoices.model import Terms
from kassa.invoices.policy import Over, Short
from kassa.stores.branding import Branding
from kassa.stores.origins import leads_to, origin_of

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """What to tell a payer. `payable`: money may still be sent, so addresses are shown. `waiting`: look again soon.

    `progress`: confirmations that are there, and how many it takes.
    """

    title: str
    texts: tuple[str, ...]
    tone: str  # "open", "good", "bad"
    payable: bool
    waiting: bool
    progress: tuple[int, int] | None = None


def state(invoice: Json, terms: Terms, now: datetime, said: Language) -> State:
    """Say where an invoice stands at a moment and what its payer should do."""
    match invoice["status"]:
        case "new" | "expired" if now > terms.expires_at and _lost(invoice) == "reversed":
            return _undone(invoice, said)
        case "new" if now > terms.expires_at:
            return _undecided(invoice, said)
        case "new":
            return _open(invoice, said)
        case "processing":
            return _processing(invoice, terms, said)
        case "settled":
            if "marked" in invoice["flags"]:
                text = said.say("Thank you. The shop has accepted this invoice as paid.")
            else:
                text = said.say("Thank you. The payment is complete.")
            texts = (text, *_excess(invoice, terms, said))
            return State(said.say("Paid"), texts, "good", False, not invoice["is_final"])
        case "expired":
            return _expired(invoice, terms, now, said)
        case _:
            sent = said.say("What you have sent was recorded; please contact the shop.") if _is_paid(invoice) else ""
            texts = (said.say("Please do not pay it; ask the shop."), *filter(None, [sent]))
            return State(said.say("This invoice was cancelled"), texts, "bad", False, False)


def payment_words(payment: Json, said: Language) -> str:
    """Say where one payment stands."""
    match payment["status"]:
        case "detected":
            return said.say("seen, not yet confirmed")
        case "settled":
            return said.say("complete")
        case "replaced":
            return said.say("replaced by another transaction")
        case "dropped":
            return said.say("no longer on the network")
        case "reversed":
            return said.say("undone by the network")
    return _confirmations(_progress(payment), said)


def least(option: Json, terms: Terms, said: Language) -> tuple[str, ...]:
    """Say why more is asked for than is missing, and what becomes of what is over; nothing where it is not."""
    due, to_send = (parse_amount(option[name], option["decimals"]) for name in ("amount_due", "amount_to_send"))
    if to_send - due < typed_step(option["decimals"]):
        return ()
    rest = f"{trimmed(option['amount_due'])} {option['symbol']}"
    why = said.say("Only {rest} is missing, but this is the smallest payment that the network carries.", rest=rest)
    match terms.policy.over:
        case Over.CREDIT:
            fate = said.say("What is over is kept as credit in your account with the shop.")
        case Over.FLAG:
            fate = said.say("What is over is recorded, and the shop decides about it.")
    return why, fate


def ways(invoice: Json) -> list[Json]:
    """Return the options by which anyone may pay now: those whose address passed its check, on a followed network."""
    return [option for option in invoice["payment_options"] if option["uri"] is not None]


def is_closed(invoice: Json) -> bool:
    """Tell whether there is no way to pay now, and there will be one again by itself."""
    return not ways(invoice) and any(option["closed"] for option in invoice["payment_options"])


def shop(redirect_url: str | None, branding: Branding, own_url: str) -> str | None:
    """Return the host that the way back leads to: a payer should see where a link goes.

    None also for a site that the store has left out of its list since, unless it is our own, where `own_url` is.
    """
    if redirect_url is None:
        return None
    sound = branding.may_lead_to(redirect_url) or leads_to(redirect_url, (origin_of(own_url),))
    return urlsplit(redirect_url).hostname if sound else None


def _open(invoice: Json, said: Language) -> State:
    lost = _lost(invoice)
    if is_closed(invoice):
        return _closed(invoice, said)
    if _is_paid(invoice):
        rest, price = said.money(invoice["amount_due"], invoice["currency"]), _price(invoice, said)
        text = said.say("{rest} of {price} is still missing. Send exactly the amount below.", rest=rest, price=price)
        return State(said.say("Part of it has arrived"), (text,), "open", True, True)
    match lost:
        case "replaced":
            title = said.say("Your payment was replaced")
            text = said.say(
                "Another transaction took its place and does not pay this invoice. "
                "Please pay again, unless you meant to cancel."
            )
        case "dropped":
            title = said.say("Your payment has disappeared")
            text = said.say(
                "The network no longer shows it. If your wallet still does, wait: it counts again when it comes back. "
                "Otherwise please pay again."
            )
        case "reversed":
            title = said.say("Your payment was undone")
            text = said.say(
                "The network took a confirmed payment back. Look into your wallet: "
                "if the money is there again, please pay again."
            )
        case _:
            title = said.say("Waiting for your payment")
            text = said.say("Send the exact amount below in one payment.")
    return State(title, (text,), "open" if lost is None else "bad", True, True)


def _closed(invoice: Json, said: Language) -> State:
    texts: tuple[str, ...] = (
        said.say("Payments cannot be followed safely at the moment. Please send nothing now."),
        said.say("This page opens again by itself."),
    )
    if _is_paid(invoice):
        texts = (*_arrived(invoice, said), *texts)
    return State(said.say("Closed for now"), texts, "bad", True, True)


def _undone(invoice: Json, said: Language) -> State:
    """Say of an invoice that cannot be paid any more that what had paid it was taken back."""
    text = said.say(
        "The network took a confirmed payment back. "
        "If the money is in your wallet again, ask the shop for a new invoice."
    )
    return State(said.say("Your payment was undone"), (text,), "bad", False, not invoice["is_final"])


def _undecided(invoice: Json, said: Language) -> State:
    """Say that the time is over, of an invoice that cannot expire yet: a network may still show what came in time."""
    texts: tuple[str, ...] = (
        said.say("Please do not pay any more; ask the shop for a new invoice."),
        said.say("If you have sent something already, it is not lost: it is recorded, and the shop decides."),
    )
    if _is_paid(invoice):
        texts = (*_arrived(invoice, said), *texts)
    return State(said.say("The time is over"), texts, "bad", False, True)


def _processing(invoice: Json, terms: Terms, said: Language) -> State:
    alive = [payment for payment in invoice["payments"] if payment["status"] in LIVING]
    excess = _excess(invoice, terms, said)
    rest = said.say("You need do nothing more, and may close this page.")
    if "reversed" in invoice["flags"]:
        text = said.say("The network undid a confirmation; the payment is being confirmed anew.")
        return State(said.say("Payment is confirmed again"), (text, rest, *excess), "open", False, True)
    behind = min(alive, key=_advance, default=None)
    if behind is None or behind["confirmations"] == 0:
        text = said.say("It is on the network and waits for its first confirmation.")
        return State(said.say("Payment seen"), (text, rest, *excess), "good", False, True)
    there = _progress(behind)
    if there[0] < there[1]:
        text = f"{_confirmations(there, said)}."
    else:  # its network's finality is awaited, or a person who holds the network or asset
        text = said.say("All confirmations are there. The payment is complete as soon as it counts as final.")
    return State(said.say("Payment is being confirmed"), (text, rest, *excess), "good", False, True, there)


def _advance(payment: Json) -> tuple[bool, bool, int]:
    there, needed = _progress(payment)
    return payment["status"] == "settled", there == needed, there


def _progress(payment: Json) -> tuple[int, int]:
    """Return the confirmations that are there and those that it takes: a network may go on long after these."""
    needed = max(1, payment["confirmations_required"])
    return min(payment["confirmations"], needed), needed


def _confirmations(progress: tuple[int, int], said: Language) -> str:
    return said.say("{n} of {m} confirmations", n=progress[0], m=progress[1])


def _expired(invoice: Json, terms: Terms, now: datetime, said: Language) -> State:
    waiting = not invoice["is_final"]
    graceful = waiting and terms.policy.late_grace_seconds > 0 and now <= terms.accepts_until
    # What came late is credited when the grace time is over and the network is sure of it, not at once.
    credited = invoice["is_credited"] or (waiting and terms.policy.short is Short.CREDIT)
    if "late" in invoice["flags"] and _came_back(invoice, terms):
        fate = _kept(said) if credited else _shortage(terms, said)
        return State(said.say("Not fully paid in time"), (*_arrived(invoice, said), fate), "bad", False, waiting)
    if "late" in invoice["flags"] and credited:
        return State(said.say("Your payment came too late"), (_kept(said),), "bad", False, waiting)
    if "late" in invoice["flags"]:
        text = said.say("It came after the time was over. The shop knows of it and decides; please contact it.")
        return State(said.say("Your payment came too late"), (text,), "bad", False, waiting)
    if _is_paid(invoice):
        # Nothing is credited, and nobody decides, while the rest may still be accepted.
        fate = _sent(terms, said) if graceful else _shortage(terms, said)
        texts = (*_arrived(invoice, said), fate)
        return State(said.say("Not fully paid in time"), texts, "bad", False, waiting)
    texts = (
        said.say("Please do not pay any more; ask the shop for a new invoice."),
        _sent(terms, said)
        if graceful
        else said.say("If you have sent something already, it is not lost: it is recorded, and the shop decides."),
    )
    return State(said.say("The time is over"), texts, "bad", False, waiting)


def _sent(terms: Terms, said: Language) -> str:
    return said.say(
        "If you have sent something already: what the network shows before {time} may still be accepted.",
        time=said.time(terms.accepts_until),
    )


def _kept(said: Language) -> str:
    return said.say("It is kept as credit in your account with the shop.")


def _arrived(invoice: Json, said: Language) -> tuple[str, ...]:
    """Say what arrived, and what is missing in the asset: in the price's currency it may be too little to write."""
    paid = said.money(invoice["amount_paid"], invoice["currency"])
    arrived = said.say("{paid} of {price} arrived.", paid=paid, price=_price(invoice, said))
    used = (option for option in invoice["payment_options"] if option["amount_paid"].strip("0."))
    missing = (
        said.say("{rest} is missing.", rest=f"{trimmed(option['amount_due'])} {option['symbol']}")
        for option in used
        if option["amount_due"].strip("0.")
    )
    return arrived, *list(missing)[:1]


def _excess(invoice: Json, terms: Terms, said: Language) -> tuple[str, ...]:
    """Say what becomes of what was sent beyond the price, by the store's policy."""
    if "overpaid" not in invoice["flags"]:
        return ()
    over = said.money(invoice["amount_over"], invoice["currency"])
    match terms.policy.over:
        case Over.CREDIT:
            fate = _kept(said)
        case Over.FLAG:
            fate = said.say("The shop knows of it; ask it to send the rest back.")
    return (said.say("You sent {over} too much.", over=over), fate)


def _shortage(terms: Terms, said: Language) -> str:
    """Say what becomes of a part of the price, by the store's policy."""
    match terms.policy.short:
        case Short.CREDIT:
            return _kept(said)
        case Short.FLAG | Short.ACCEPT:
            return said.say("The shop knows of it and decides; please contact it.")


def _lost(invoice: Json) -> str | None:
    """Return what happened to the last payment, where none is left alive.

    Of what had been settled it matters more that it was undone than by what.
    """
    payments = invoice["payments"]
    if not payments or any(payment["status"] in LIVING for payment in payments):
        return None
    return "reversed" if "reversed" in invoice["flags"] else str(payments[-1]["status"])


def _came_back(invoice: Json, terms: Terms) -> bool:
    """Tell whether all that lives was first seen in time: some of it was lost when the time ended, and came back."""
    seen = [payment["first_seen_at"] for payment in invoice["payments"] if payment["status"] in LIVING]
    whole = bool(seen) and not invoice["payments_left_off"]
    return whole and all(datetime.fromisoformat(moment) <= terms.expires_at for moment in seen)


def _is_paid(invoice: Json) -> bool:
    return bool(invoice["amount_paid"].strip("0."))


def _price(invoice: Json, said: Language) -> str:
    return said.money(invoice["amount"], invoice["currency"])
