"""Customers, their credit and what they spend, as the API and events show them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kassa.core.clock import rfc3339
from kassa.core.ids import CustomerId, InvoiceId, PaymentId, SpendId
from kassa.core.money import format_rate, format_units
from kassa.customers.model import Balance, Customer, Spend


def customer_resource(customer: Customer) -> dict[str, Any]:  # JSON
    """Return the public form of a customer."""
    return {
        "object": "customer",
        "id": customer.id,
        "store_id": customer.store_id,
        "reference": customer.reference,
        "name": customer.name,
        "metadata": json.loads(customer.metadata),
        "created_at": rfc3339(customer.created_at),
    }


def balance_resource(balance: Balance, decimals: Mapping[str, int]) -> dict[str, Any]:  # JSON
    """Return what a customer has in one asset; `decimals` by asset."""
    places = decimals[balance.asset]
    return {
        "object": "balance",
        "asset": balance.asset,
        "available": format_units(balance.available, places),
        "pending": format_units(balance.pending, places),
        "owed": format_units(balance.owed, places),
        "written_off": format_units(balance.written_off, places),
    }


def spend_resource(spend: Spend, decimals: int) -> dict[str, Any]:  # JSON
    """Return the public form of credit that paid a part of an invoice."""
    return {
        "object": "spend",
        "id": spend.id,
        "customer_id": spend.customer_id,
        "invoice_id": spend.invoice_id,
        "asset": spend.asset,
        "amount": format_units(spend.units, decimals),
        "rate": None if spend.rate is None else format_rate(spend.rate),
        "rate_source": spend.rate_source,
        "rate_at": None if spend.rate_at is None else rfc3339(spend.rate_at),
        "created_at": rfc3339(spend.made_at),
    }


def credit_resource(
    customer_id: CustomerId,
    asset: str,
    amount: str,
    value: tuple[str, str] | None,
    causes: tuple[PaymentId | None, SpendId | None, InvoiceId | None],
    now: datetime,
) -> dict[str, Any]:  # JSON
    """Return what was added to a customer's credit; `value` is an amount and its currency, where there was a rate."""
    payment_id, spend_id, invoice_id = causes
    return {
        "object": "credit",
        "customer_id": customer_id,
        "asset": asset,
        "amount": amount,
        "value": None if value is None else value[0],
        "currency": None if value is None else value[1],
        "payment_id": payment_id,
        "spend_id": spend_id,
        "invoice_id": invoice_id,
        "credited_at": rfc3339(now),
    }
