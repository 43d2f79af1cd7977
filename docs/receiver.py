"""How a shop receives Kassa's webhooks: it releases an order once, when its own invoice is settled (see api.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook


@dataclass
class Order:
    """What the shop kept when it created the invoice: the answer's `id`, and what it had asked for."""

    invoice_id: str
    amount: str
    currency: str
    released: bool = False


@dataclass
class Shop:
    """A shop's own records. In a real one these are tables, and `receive` is one transaction."""

    store_id: str
    secret: str
    orders: dict[str, Order]
    seen: set[str] = field(default_factory=set)


def receive(shop: Shop, body: bytes, headers: Mapping[str, str]) -> str:
    """Take one delivery; return what was done with it. Raises for what is forged, altered or five minutes old."""
    event: dict[str, Any] = Webhook(shop.secret).verify(body, dict(headers))  # JSON
    if event["id"] in shop.seen:
        return "seen before"  # at least once: the same event may come twice
    shop.seen.add(event["id"])
    if event["type"] != "invoice.settled":
        return "not for us to act upon"
    invoice = event["data"]["object"]
    order = shop.orders.get(invoice["reference"])
    if invoice["store_id"] != shop.store_id or order is None:
        return "of another store or order"
    # A reference is text that anybody with a key can put on an invoice of any amount: the order's own invoice counts.
    wanted = (order.invoice_id, order.amount, order.currency)
    if (invoice["id"], invoice["amount"], invoice["currency"]) != wanted:
        return "not what was asked for"
    order.released = True
    return "released"
