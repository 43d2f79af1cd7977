"""A payment as the API, events and pages show it."""

from datetime import datetime
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.money import Currency, format_rate, format_units
from kassa.payments.model import Payment, PaymentStanding, Status


def payment_resource(
    payment: Payment,
    standing: PaymentStanding,
    decimals: int,
    currency: Currency,
    origin: tuple[str | None, datetime | None],
    *,
    trusted: bool,
) -> dict[str, Any]:  # JSON
    """Return the public form of a payment in an asset of so many decimals, valued in a currency.

    `origin` is where its rate comes from, and of when it is. Its address is left out unless it is `trusted`: what its
    wallet derives.
    """
    source, at = (None, None) if standing.rate is None else origin
    sighting, settled_at = payment.sighting, payment.settled_at
    settled = standing.status is Status.SETTLED and settled_at is not None
    return {
        "object": "payment",
        "id": payment.id,
        "invoice_id": payment.invoice_id,
        "customer_id": payment.customer_id,
        "asset": payment.asset,
        "address": payment.address if trusted else None,
        "txid": payment.key.txid,
        "position": payment.key.position,
        "amount": format_units(payment.units, decimals),
        "value": format_units(standing.value_units, currency.decimals),
        "currency": currency.code,
        "rate": None if standing.rate is None else format_rate(standing.rate),
        "rate_source": source,
        "rate_at": None if at is None else rfc3339(at),
        "status": standing.status.value,
        "confirmations": standing.confirmations,
        "confirmations_required": standing.confirmations_required,
        "block_height": None if sighting.block is None else sighting.block.height,
        "block_hash": None if sighting.block is None else sighting.block.hash,
        "first_seen_at": rfc3339(payment.first_seen_at),
        "settled_at": rfc3339(settled_at) if settled and settled_at is not None else None,
        "assigned_to": payment.assigned_to,
        "replaced_by": sighting.conflict_txid,
    }
