"""Payment links as the API, events and pages show them."""

import json
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.money import format_units
from kassa.links.model import Chosen, Fixed, Link, Standing

_PRIVATE = ("store_id", "metadata", "reference", "invoices")


def link_resource(link: Link, standing: Standing, url: str, *, livemode: bool) -> dict[str, Any]:  # JSON
    """Return a link as JSON-ready values."""
    decimals = link.currency.decimals

    def amount(units: int | None) -> str | None:
        return None if units is None else format_units(units, decimals)

    ask = link.ask
    return {
        "object": "payment_link",
        "id": link.id,
        "store_id": link.store_id,
        "livemode": livemode,
        "status": standing.status.value,
        "flags": [flag.value for flag in standing.flags],
        "title": link.title,
        "description": link.description,
        "reference": link.reference,
        "metadata": json.loads(link.metadata),
        "amount": amount(ask.units) if isinstance(ask, Fixed) else None,
        "min_amount": amount(ask.least) if isinstance(ask, Chosen) else None,
        "max_amount": amount(ask.most) if isinstance(ask, Chosen) else None,
        "currency": link.currency.code,
        "asset": link.asset,
        "payment_options": None if link.payment_options is None else list(link.payment_options),
        "reusable": link.reusable,
        "show_received": link.show_received,
        "amount_paid": amount(standing.paid_units),
        "amount_settled": amount(standing.settled_units),
        "amount_due": amount(standing.due_units),
        "amount_over": amount(standing.over_units),
        "invoices": {status.value: count for status, count in standing.invoices.items()},
        "invoice_expires_in": link.invoice_seconds,
        "redirect_url": link.redirect_url,
        "created_at": rfc3339(link.created_at),
        "expires_at": None if link.expires_at is None else rfc3339(link.expires_at),
        "closed_at": None if link.closed_at is None else rfc3339(link.closed_at),
        "url": url,
    }


def public_link(resource: dict[str, Any]) -> dict[str, Any]:  # JSON
    """Return what a payer may see of a link: not what all payers together paid, where the merchant keeps that."""
    public = {name: value for name, value in resource.items() if name not in _PRIVATE}
    if not resource["show_received"]:
        public |= {"amount_paid": None, "amount_settled": None}
    return public
