"""What a receipt says: what was paid when, where, at which rate. Pure: from the public invoice to rows of words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kassa.checkout.languages import Language
from kassa.checkout.listing import LIVING, rest, trimmed
from kassa.checkout.words import payment_words

Json = Mapping[str, Any]
Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The rows of the whole, and those of each payment under its amount. Moments are in UTC: paper has no zone.

    What the invoice's resource leaves off is one sum at the end.
    """

    rows: Rows
    payments: tuple[tuple[str, Rows], ...]


def receipt(invoice: Json, title: Callable[[str], str], said: Language) -> Receipt | None:
    """Write the receipt of a settled invoice for which something came, None for another.

    `title` is what people call a network.
    """
    if invoice["status"] != "settled" or not invoice["amount_paid"].strip("0."):
        return None
    say = said.say
    money = {name: said.money(invoice[name], invoice["currency"]) for name in ("amount", "amount_paid", "amount_over")}
    rows = [
        (say("Invoice"), invoice["id"]),
        (say("Made on"), _moment(invoice["created_at"], said)),
        (say("Paid on"), _moment(invoice["settled_at"], said)),
        (say("Price"), money["amount"]),
        (say("Received"), money["amount_paid"]),
    ]
    if "overpaid" in invoice["flags"]:
        rows.append((say("Too much"), money["amount_over"]))
    paid = [_payment(payment, title, said) for payment in invoice["payments"] if payment["status"] in LIVING]
    spent = [(_amount(spend), _spend(spend, invoice, said)) for spend in invoice["spends"]]
    count, amount = rest(invoice, invoice["payments"])
    others = [(amount, ((say("Payments"), str(count)),))] if amount else []
    return Receipt(tuple(rows), (*paid, *others, *spent))


def _payment(payment: Json, title: Callable[[str], str], said: Language) -> tuple[str, Rows]:
    say = said.say
    rows = [
        (say("Seen on"), _moment(payment["first_seen_at"], said)),
        (say("State"), payment_words(payment, said)),
        (say("Network"), title(payment["asset"].partition("@")[2])),
        (say("Transaction"), payment["txid"]),
        (say("Address"), payment["address"] or ""),
        *_rate(payment, payment["currency"], said),
        (say("Value"), said.money(payment["value"], payment["currency"])),
    ]
    return _amount(payment), tuple(row for row in rows if row[1])


def _spend(spend: Json, invoice: Json, said: Language) -> Rows:
    made = (said.say("Made on"), _moment(spend["created_at"], said))
    return ((said.say("State"), said.say("paid from your credit")), made, *_rate(spend, invoice["currency"], said))


def _rate(moved: Json, currency: str, said: Language) -> Rows:
    """Say what one whole unit was worth, who said so and when; nothing where there was no rate."""
    if moved["rate"] is None:
        return ()
    symbol = moved["asset"].partition("@")[0]
    origin = [moved["rate_source"] or "", said.apart(_moment(moved["rate_at"], said))]
    return (
        (said.say("Rate"), f"1 {symbol} = {said.money(moved['rate'], currency)}"),
        (said.say("Source of the rate"), ", ".join(filter(None, origin))),
    )


def _amount(moved: Json) -> str:
    return f"{trimmed(moved['amount'])} {moved['asset'].partition('@')[0]}"


def _moment(text: str | None, said: Language) -> str:
    return "" if text is None else said.moment(datetime.fromisoformat(text))
