"""An invoice in plain words. Pure: from the public invoice to what the page says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """What to tell a payer. `payable`: money may still be sent, so addresses are shown. `waiting`: look again soon."""

    title: str
    text: str
    tone: str
    payable: bool
    waiting: bool


def state(invoice: Json) -> State:
    """Say where an invoice stands and what its payer should do."""
    paid = invoice["amount_paid"].strip("0.") != ""
    price = f"{invoice['amount']} {invoice['currency']}"
    match invoice["status"]:
        case "new" if paid:
            rest = f"{invoice['amount_due']} {invoice['currency']}"
            return State("Part of it has arrived", f"{rest} of {price} are still to be paid.", "open", True, True)
        case "new":
            return State("Waiting for your payment", "Send the exact amount shown below, once.", "open", True, True)
        case "processing":
            text = (
                "Your payment was seen and is being confirmed. You need not do anything, and you may close this page."
            )
            return State("Payment received", text, "good", False, True)
        case "settled":
            text = "Thank you. The payment is complete." + (
                " More was sent than was asked for: please contact the shop." if "overpaid" in invoice["flags"] else ""
            )
            return State("Paid", text, "good", False, not invoice["is_final"])
        case "expired":
            text = "Please do not pay it any more; ask the shop for a new one." + (
                " What you have sent was recorded: please contact the shop." if paid else ""
            )
            return State("This invoice has expired", text, "bad", False, not invoice["is_final"])
        case _:
            return State("This invoice was cancelled", "Please do not pay it; ask the shop.", "bad", False, False)


def ways(invoice: Json) -> list[Json]:
    """Return the options by which anyone may pay now: those whose address passed its check, on a followed network."""
    return [option for option in invoice["payment_options"] if option["uri"] is not None]


def shop(redirect_url: str | None) -> str | None:
    """Return the host that the way back leads to: a payer should see where a link goes."""
    return None if redirect_url is None else urlsplit(redirect_url).hostname
