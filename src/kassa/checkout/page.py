"""The page of an invoice as HTML: autoescaped, nothing inline but the QR codes that are drawn here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kassa.chains.base import Chain
from kassa.checkout import assets
from kassa.checkout.drawing import qr
from kassa.checkout.ending import ending
from kassa.checkout.languages import SPOKEN, Language, language
from kassa.checkout.listing import LIVING, listed, rest, trimmed
from kassa.checkout.receipt import receipt
from kassa.checkout.words import is_closed, least, payment_words, shop, state, ways
from kassa.core.clock import rfc3339
from kassa.core.errors import Unavailable
from kassa.core.facts import BY_BALANCE
from kassa.core.money import parse_amount
from kassa.flow import PayerView
from kassa.invoices.model import Terms
from kassa.stores.branding import logo_path

_GROUP = 4  # characters of an address that are read at once
_ENDS = 2  # groups at each end of it, which people compare

TEMPLATES = Environment(
    loader=PackageLoader("kassa.checkout"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True, auto_reload=False,
)  # fmt: skip
_AMOUNT = Markup('<bdi dir="ltr">{}</bdi>')
_INVOICE = TEMPLATES.get_template("invoice.html")
_NOTICE = TEMPLATES.get_template("notice.html")
_LANGUAGES = TEMPLATES.get_template("languages.html")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the address of a page says besides the invoice: how to pay, which language, who shows it in a frame."""

    said: Language
    asset: str | None = None
    lang: str | None = None
    embed: str | None = None

    def url(self, **change: str | None) -> str:
        """Return the query that keeps all of it, but for what changes."""
        kept = {"asset": self.asset, "lang": self.lang, "embed": self.embed} | change
        return "?" + urlencode({name: value for name, value in kept.items() if value is not None})


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to pay, as the page shows it. `request` is for a wallet in the payer's browser, as JSON."""

    option: Mapping[str, Any]
    title: str
    query: str
    chosen: bool
    contract: str | None = None
    contract_url: str | None = None
    amount: str = ""
    least: tuple[str, ...] = ()
    groups: tuple[tuple[str, bool], ...] = ()
    request: str | None = None
    codes: tuple[Any, ...] = field(default=(), repr=False)


def invoice_page(view: PayerView, chains: Mapping[str, Chain], wish: Wish, version: str) -> bytes:
    """Draw an invoice for its payer, showing how to pay in `wish.asset` (or else in the first one that is offered).

    Raises `Unavailable` when it may be paid and there is no way to pay it. `version` is that of its public part, as the
    stream names it.
    """
    invoice, said, branding = view.public, wish.said, view.store.branding
    now = state(invoice, view.terms, view.now, said)
    embed = wish.embed if wish.embed in branding.frame_ancestors else None
    payable = ways(invoice)
    if now.payable and not payable and not is_closed(invoice):
        raise Unavailable("no address of this invoice can be shown")
    offered = invoice["payment_options"] if now.payable else []
    # The choice is in the address of the page, so that loading it again keeps it. While it is closed nothing else is
    # shown: what somebody is about to pay must not turn into another asset under their eyes.
    wished = next((one for one in offered if one["asset"] == wish.asset), None)
    if wished is None or not (wished in payable or wished["closed"]):
        wished = payable[0] if payable else None
    chosen = wished if wished in payable else None
    shown = [_way(option, chains, wish, option is chosen, view.terms) for option in offered]
    seen = listed(invoice["payments"])
    return _INVOICE.render(
        **layout(said, branding.colour),
        wish=wish,
        embed=embed,
        invoice=invoice,
        state=now,
        version=version,
        now=rfc3339(view.now),
        price=said.money(invoice["amount"], invoice["currency"]),
        store=view.store.name,
        logo=None if branding.logo_hash is None else logo_path(branding.logo_hash),
        expires=said.time(view.terms.expires_at),
        printed_end=said.moment(view.terms.expires_at),  # paper has no zone
        ending=ending(view.terms, view.paid, said),
        created=said.time(view.terms.created_at),
        ways=shown,
        way=next((way for way in shown if way.chosen), None),
        payments=[_payment(payment, chains, said) for payment in seen],
        rest=_rest(invoice, seen, said),
        spends=[_spend(spend, said) for spend in invoice["spends"]],
        receipt=receipt(invoice, lambda network: _title(chains.get(network), network), said),
        back=_back(view, wish),
        again=wish.url() if chosen is None else wish.url(asset=chosen["asset"]),
        script=assets.script(),
        script_words=_script_words(said),
        languages=languages(said, wish.url(lang=None)),
    ).encode()


def layout(said: Language, colour: str | None) -> dict[str, Any]:
    """Return what every page is laid out with."""
    styles = [assets.stylesheet(), *([] if colour is None else [assets.own_colour(colour)])]
    return {"said": said, "say": said.say, "styles": styles, "icon": assets.icon()}


@lru_cache(maxsize=100)
def languages(said: Language, kept: str) -> Markup:
    """Draw the choice of a language, in `said`. `kept` is the query ("?" or longer) that each of its links extends.

    The last ones are kept: it is half of all that a page escapes.
    """
    more = kept if kept == "?" else f"{kept}&"
    spoken = [(one.code, one.name, f"{more}lang={one.code}") for one in map(language, SPOKEN)]
    return Markup(_LANGUAGES.render(said=said, say=said.say, spoken=spoken))  # noqa: S704  autoescaped


def notice_page(title: str, text: str, said: Language, number: str = "") -> bytes:
    """Draw a page that only says something; with a `number` to ask about, and a way to load it again."""
    return _NOTICE.render(**layout(said, None), title=said.say(title), text=said.say(text), number=number).encode()


def _back(view: PayerView, wish: Wish) -> tuple[str, str] | None:
    """Return where the way back leads, and in which words: to the payment link in the language chosen, or the shop."""
    said, invoice = wish.said, view.public
    if view.terms.link_id is not None:
        lang = "" if wish.lang is None else "?" + urlencode({"lang": wish.lang})
        return f"/l/{view.terms.link_id}{lang}", said.say("Back to the payment link")
    name = shop(invoice["redirect_url"], view.store.branding, invoice["checkout_url"])
    return None if name is None else (invoice["redirect_url"], said.say("Back to {shop}", shop=name))


def _way(option: Mapping[str, Any], chains: Mapping[str, Chain], wish: Wish, chosen: bool, terms: Terms) -> _Way:
    chain = chains.get(option["network"])
    way = _Way(
        option=option,
        title=_title(chain, option["network"]),
        query=wish.url(asset=option["asset"]),
        chosen=chosen,
        contract=None if chain is None else chain.contracts.get(option["asset"]),
        contract_url=None if chain is None else chain.contract_url(option["asset"]),
    )
    if not chosen:
        return way
    address = option["address"]
    return replace(
        way,
        amount=trimmed(option["amount_to_send"]),
        least=least(option, terms, wish.said),
        groups=_groups(address),
        request=_request(option, chain),
        codes=(qr(option["uri"]), qr(address)),
    )


def _title(chain: Chain | None, network: str) -> str:
    return chain.title if chain is not None and chain.title else network


def _groups(address: str) -> tuple[tuple[str, bool], ...]:
    """Cut an address into groups; those at its ends, which people compare, are marked."""
    groups = [address[at : at + _GROUP] for at in range(0, len(address), _GROUP)]
    return tuple((group, min(place, len(groups) - 1 - place) < _ENDS) for place, group in enumerate(groups))


def _request(option: Mapping[str, Any], chain: Chain | None) -> str | None:
    if chain is None or chain.wallet_request is None:
        return None
    asset = next(one for one in chain.assets if one.id == option["asset"])
    units = parse_amount(option["amount_to_send"], asset.decimals)
    return json.dumps(chain.wallet_request(option["address"], asset, units))


def _payment(payment: Mapping[str, Any], chains: Mapping[str, Chain], said: Language) -> dict[str, Any]:
    symbol, _, network = payment["asset"].partition("@")
    chain, rival = chains.get(network), payment["replaced_by"]
    return {
        "amount": trimmed(payment["amount"]),
        "symbol": symbol,
        "words": payment_words(payment, said),
        "alive": payment["status"] in LIVING,
        "txid": payment["txid"],
        "by_balance": payment["position"].startswith(BY_BALANCE),
        "url": None if chain is None else chain.explorer_url(payment["txid"], payment["position"]),
        "rival": rival,
        "rival_url": None if chain is None or rival is None else chain.explorer_url(rival, payment["position"]),
    }


def _rest(invoice: Mapping[str, Any], seen: Sequence[Mapping[str, Any]], said: Language) -> str:
    """Say how many payments are not listed; nothing where all are."""
    count, amount = rest(invoice, seen)
    if not count:
        return ""
    amount = amount or f"0 {invoice['payment_options'][0]['symbol']}"
    return said.say("and {n} more, together {amount}", n=count, amount=_AMOUNT.format(amount))


def _spend(spend: Mapping[str, Any], said: Language) -> dict[str, Any]:
    words = said.say("paid from your credit")
    return {"amount": trimmed(spend["amount"]), "symbol": spend["asset"].partition("@")[0], "words": words}


@lru_cache(maxsize=500)
def _script_words(said: Language) -> str:  # JSON
    words = {
        "copied": said.say("Copied"),
        "pay_with": said.say("Pay with {wallet}"),
        "some_wallet": said.say("a wallet in this browser"),
        "confirm": said.say("Please confirm in your wallet…"),
        "sent": said.say("Sent. Waiting until the network shows it…"),
        "declined": said.say("You declined it in your wallet. Nothing was sent."),
        "wrong_network": said.say("Your wallet is not on this network. Please switch it by hand and try again."),
        "undone": said.say("The transaction failed, and nothing was paid. You can try again."),
        "gone": said.say(
            "The network no longer knows the transaction. "
            "Look into your wallet: if nothing was paid, you can try again."
        ),
        "slow": said.say(
            "Your wallet has not answered. Look there: if the payment waits there, confirm or decline it there. "
            "Only if nothing waits there and nothing was sent, try again."
        ),
        "again": said.say("Nothing was sent: try again"),
        "twice": said.say("The first payment was sent after all. Decline the second one in your wallet."),
        "changed": said.say(
            "What is to be paid has changed. Decline what your wallet still asks you for, and try again."
        ),
        "failed": said.say("Your wallet reported an error. Look there before you try again."),
    }
    return json.dumps(words)
