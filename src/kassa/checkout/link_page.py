"""The page of a payment link as HTML: what is asked, what was paid, and a form that begins to pay."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kassa.checkout import assets
from kassa.checkout.languages import Language
from kassa.checkout.page import TEMPLATES, languages, layout
from kassa.checkout.words import shop, state
from kassa.core.clock import rfc3339
from kassa.flow import LinkView, PayerView
from kassa.links.proof import Challenge
from kassa.stores.branding import logo_path

Json = Mapping[str, Any]

_TEMPLATE = TEMPLATES.get_template("link.html")


@dataclass(frozen=True, slots=True)
class Filled:
    """What the page knows of its reader: the form's token, what they entered, what was wrong with it, their language.

    `lang` is set where the address asks for the language. `wrong` is "", "bounds" or "small". `challenge` is what their
    browser must work on before they can begin.
    """

    said: Language
    token: str
    lang: str | None = None
    given: str = ""
    wrong: str = ""
    challenge: Challenge | None = None

    @property
    def query(self) -> str:
        return "" if self.lang is None else "?" + urlencode({"lang": self.lang})


@dataclass(frozen=True, slots=True)
class LinkState:
    """What to tell a payer. `payable`: the form is shown. `waiting`: look again soon; else now and then."""

    title: str
    text: str
    tone: str
    payable: bool = False
    waiting: bool = False


def link_state(link: Json, said: Language, *, begun: bool = False) -> LinkState:
    """Say where a link stands and what its payer can do; `begun`: they have a payment that they can still make."""
    single, say = not link["reusable"], said.say
    paid = single and _is_paid(link)
    match link["status"]:
        case "open" if single and "reversed" in link["flags"]:
            text = say("The network took a payment back. Please pay what is still due.")
            return LinkState(say("A payment was undone"), text, "bad", True, True)
        case "open" if paid and link["amount_due"] is not None:
            rest = said.money(link["amount_due"], link["currency"])
            text = say("{rest} is still to be paid.", rest=rest)
            return LinkState(say("Part of it has been paid"), text, "open", True, True)
        case "open":
            return LinkState("", "", "open", True, single)  # of another, nothing is awaited
        case "processing" if "late" in link["flags"]:
            text = say("Please do not pay again: the shop decides about it.")
            return LinkState(say("Not fully paid in time"), text, "bad", waiting=True)
        case "processing":
            text = say("It is being confirmed. You need do nothing more.")
            return LinkState(say("Payment received"), text, "good", waiting=True)
        case "completed":
            over = say("More was sent than was asked for; please contact the shop.")
            text = say("Thank you. The payment is complete.") + (f" {over}" if "overpaid" in link["flags"] else "")
            return LinkState(say("Paid"), text, "good")
    title = say("This link has expired") if link["status"] == "expired" else say("This link was closed")
    if begun:
        return LinkState(title, say("No new payments are taken. Yours below can be finished."), "open")
    recorded = say("What you have sent was recorded; please contact the shop.")
    text = say("Please do not pay any more; ask the shop for a new link.")
    return LinkState(title, f"{text} {recorded}" if paid else text, "bad")


def link_page(view: LinkView, filled: Filled, mine: PayerView | None = None) -> bytes:
    """Draw a link for its payer; `mine` is the invoice that they were given last."""
    link, said, branding = view.public, filled.said, view.store.branding
    own = None if mine is None else state(mine.public, mine.terms, mine.now, said)
    now = link_state(link, said, begun=own is not None and own.payable)
    bounds = _bounds(link, said)
    due = link["amount_due"] or link["amount"]
    return _TEMPLATE.render(
        **layout(said, branding.colour),
        link=link,
        now=rfc3339(view.now),
        store=view.store.name,
        logo=None if branding.logo_hash is None else logo_path(branding.logo_hash),
        state=now,
        title=link["title"],
        bounds=bounds,
        due=None if due is None else said.money(due, link["currency"]),
        sums=_sums(link, said) if _is_paid(link) or link["status"] == "completed" else [],
        filled=filled,
        mine=None if mine is None else mine.public,
        own=own,
        # The same invoice would be gone on with: one button is enough.
        begins=now.payable and not (own and mine and own.payable and mine.public["amount_due"] == link["amount_due"]),
        own_price=None if mine is None else said.money(mine.public["amount"], mine.public["currency"]),
        waiting=now.waiting or (own is not None and own.waiting),
        script=assets.link_script(),
        until=None if view.expires_at is None else said.time(view.expires_at),
        shop=shop(link["redirect_url"], branding, link["url"]),
        languages=languages(said, "?"),
    ).encode()


def _is_paid(link: Json) -> bool:
    return link["amount_paid"] is not None and link["amount_paid"].strip("0.") != ""


def _bounds(link: Json, said: Language) -> str:
    if link["amount"] is not None:
        return said.money(link["amount"], link["currency"])
    least = said.money(link["min_amount"], link["currency"])
    if link["max_amount"] is None:
        return said.say("at least {amount}", amount=least)
    return said.say("{least} to {most}", least=least, most=said.money(link["max_amount"], link["currency"]))


def _sums(link: Json, said: Language) -> list[tuple[str, str]]:
    if link["amount_paid"] is None:
        return []
    sums = [(said.say("Received"), link["amount_paid"]), (said.say("Of this confirmed"), link["amount_settled"])]
    sums += [] if link["amount_due"] is None else [(said.say("Still due"), link["amount_due"])]
    return [(name, said.money(amount, link["currency"])) for name, amount in sums]
