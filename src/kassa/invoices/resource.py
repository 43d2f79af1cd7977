"""Invoices and payments as the API, events and pages show them."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.ids import PaymentId
from kassa.core.money import format_rate, format_units
from kassa.customers.model import Spend
from kassa.customers.resource import spend_resource
from kassa.invoices.model import Option, Standing, Terms, Withheld
from kassa.invoices.parts import step_of
from kassa.invoices.policy import policy_resource
from kassa.invoices.rules import option_due, option_paid, option_to_send
from kassa.payments.foremost import foremost
from kassa.payments.model import Payment
from kassa.payments.resource import payment_resource
from kassa.payments.settling import tier_of

MOST_PAYMENTS = 50
"""So many of its payments an invoice's resource holds: anybody may send as many as they like, and receivers take
bodies of 100 KB, some no larger ones."""


@dataclass(frozen=True, slots=True)
class Face:
    """What only the chain knows of an asset: its CAIP-19 name, the least it carries, how to ask a wallet for it."""

    caip19: str
    least_units: int
    payment_uri: Callable[[str, int, str | None], str]


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that an invoice's picture is made of. `least`: the confirmations needed in any case, by network.

    `decimals` are those of its payments' assets, by asset id. An asset that is `withheld` is shown without its address.
    """

    terms: Terms
    standing: Standing
    payments: Sequence[Payment]
    settled_at: datetime | None
    checkout_url: str
    faces: Mapping[str, Face]
    decimals: Mapping[str, int]
    withheld: Mapping[str, Withheld]
    spends: Sequence[Spend]
    least: Mapping[str, int]


def invoice_resource(shown: Shown) -> dict[str, Any]:  # JSON
    """Return an invoice as JSON-ready values."""
    terms, standing = shown.terms, shown.standing
    decimals = terms.currency.decimals
    listed = foremost([(each.status.alive, each.value_units) for each in standing.payments], MOST_PAYMENTS)
    return {
        "object": "invoice",
        "id": terms.id,
        "store_id": terms.store_id,
        "livemode": terms.livemode,
        "status": standing.status.value,
        "flags": [flag.value for flag in standing.flags],
        "rules": [rule.value for rule in standing.rules],
        "is_final": standing.is_final,
        "amount": format_units(terms.amount_units, decimals),
        "currency": terms.currency.code,
        "amount_paid": format_units(standing.paid_units, decimals),
        "amount_settled": format_units(standing.settled_units, decimals),
        "amount_due": format_units(standing.due_units, decimals),
        "amount_over": format_units(standing.over_units, decimals),
        "reference": terms.reference,
        "description": terms.description,
        "metadata": json.loads(terms.metadata),
        "customer_id": terms.customer_id,
        "payment_link_id": terms.link_id,
        "created_at": rfc3339(terms.created_at),
        "expires_at": rfc3339(terms.expires_at),
        "settled_at": None if shown.settled_at is None else rfc3339(shown.settled_at),
        "checkout_url": shown.checkout_url,
        "redirect_url": terms.redirect_url,
        "policy": policy_resource(terms.policy, terms.currency),
        "payment_options": [_option(option, shown) for option in terms.options],
        "payments": payment_resources(shown, {standing.payments[place].id for place in listed}),
        "payments_left_off": len(standing.payments) - len(listed),
        "spends": [spend_resource(spend, shown.decimals[spend.asset]) for spend in shown.spends],
    }


def payment_resources(shown: Shown, wanted: Collection[PaymentId]) -> list[dict[str, Any]]:  # JSON
    """Return those of an invoice's payments that are wanted as JSON-ready values, oldest first."""
    payments = {payment.id: payment for payment in shown.payments}
    options = {option.asset.id: option for option in shown.terms.options}
    checked = {option.address for option in shown.terms.options if option.asset.id not in shown.withheld}
    return [
        payment_resource(
            (payment := payments[s.id]),
            s,
            shown.decimals[payment.asset],
            shown.terms.currency,
            _origin(payment, options.get(payment.asset)),
            trusted=payment.address in checked,
        )
        for s in shown.standing.payments
        if s.id in wanted
    ]


def _origin(payment: Payment, option: Option | None) -> tuple[str | None, datetime | None]:
    if option is None or payment.late_rate is not None:
        return payment.late_rate_source, payment.late_rate_at
    return option.rate_source, option.rate_at


def _option(option: Option, shown: Shown) -> dict[str, Any]:
    asset, face, withheld = option.asset, shown.faces.get(option.asset.id), shown.withheld.get(option.asset.id)
    due = option_due(option, shown.standing)
    to_send = option_to_send(due, 1 if face is None else face.least_units, step_of(option, shown.terms))
    return {
        "asset": asset.id,
        "symbol": asset.symbol,
        "network": asset.network,
        "caip19": None if face is None else face.caip19,
        "decimals": asset.decimals,
        "address": option.address if withheld is None else None,
        "withheld": withheld,
        "amount": format_units(option.due_units, asset.decimals),
        "amount_paid": format_units(option_paid(option, shown.payments, shown.spends, shown.standing), asset.decimals),
        "amount_due": format_units(due, asset.decimals),
        "amount_to_send": format_units(to_send, asset.decimals),
        "rate": format_rate(option.rate),
        "rate_source": option.rate_source,
        "rate_at": rfc3339(option.rate_at),
        "confirmations_required": max(
            tier_of(option.tiers, option.due_units).blocks, shown.least.get(asset.network, 0)
        ),
        "uri": None
        if face is None or withheld is not None
        else face.payment_uri(option.address, to_send, shown.terms.description),
    }
