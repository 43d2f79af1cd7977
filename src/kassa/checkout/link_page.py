"""The page of a payment link as HTML: what is asked, what was paid, and a form that begins to pay."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kassa.checkout.languages import language
from kassa.checkout.page import REFRESH_SECONDS, TEMPLATES, layout
from kassa.checkout.words import shop, state
from kassa.flow import PayerView

Json = Mapping[str, Any]

_TEMPLATE = TEMPLATES.get_template("link.html")


@dataclass(frozen=True, slots=True)
class Said:
    """What to tell a payer. `payable`: the form is shown. `waiting`: look again soon."""

    title: str
    text: str
    tone: str
    payable: bool = False
    waiting: bool = False


def said(link: Json) -> Said:
    """Say where a link stands and what its payer can do."""
    paid = link["amount_paid"] is not None and link["amount_paid"].strip("0.") != ""
    single = not link["reusable"]
    undone = single and "reversed" in link["flags"]
    match link["status"]:
        case "open" if undone:
            return Said("A payment was undone", "The network took a payment back. Please pay what is due.", "bad", True)
        case "open" if single and paid and link["amount_due"] is not None:
            return Said("Part of it has been paid", f"{_money(link, 'amount_due')} are still to be paid.", "open", True)
        case "open":
            return Said("", "", "open", True)
        case "processing" if "late" in link["flags"]:
            text = "The payment came after its time was over. Please do not pay again: the shop will decide."
            return Said("A payment came late", text, "bad", waiting=True)
        case "processing":
            text = "The payment was seen and is being confirmed. You need not do anything."
            return Said("Payment received", text, "good", waiting=True)
        case "completed":
            over = " More was sent than was asked for: please contact the shop." if "overpaid" in link["flags"] else ""
            return Said("Paid", f"Thank you. The payment is complete.{over}", "good")
        case "expired":
            return Said("This link has expired", _ended(single and paid), "bad")
        case _:
            return Said("This link was closed", _ended(single and paid), "bad")


def link_page(link: Json, token: str, mine: PayerView | None = None, *, given: str = "", fault: str = "") -> bytes:
    """Draw a link for its payer; `mine` is the invoice they were given last, `fault` what was wrong in the form."""
    now = said(link)
    spoken = language("en")  # these texts stand in no catalogue yet
    own = None if mine is None else state(mine.public, mine.terms, spoken)
    return _TEMPLATE.render(
        **layout(spoken, None),
        link=link,
        state=now,
        title=link["title"],
        ask=_ask(link),
        token=token,
        given=given,
        fault=fault,
        mine=None if mine is None else mine.public,
        own=own,
        waiting=now.waiting or (own is not None and own.waiting and not now.payable),
        refresh_seconds=REFRESH_SECONDS,
        until=None if link["expires_at"] is None else link["expires_at"][:16].replace("T", " "),
        shop=shop(link["redirect_url"]),
    ).encode()


def _ended(paid: bool) -> str:
    recorded = " What has been sent was recorded: please contact the shop."
    return "Please do not pay it any more; ask the shop for a new one." + (recorded if paid else "")


def _ask(link: Json) -> str:
    if link["amount"] is not None:
        return _money(link, "amount")
    if link["max_amount"] is None:
        return f"at least {_money(link, 'min_amount')}"
    return f"{link['min_amount']} to {_money(link, 'max_amount')}"


def _money(link: Json, name: str) -> str:
    return f"{link[name]} {link['currency']}"
