"""E6, E7: the receiver that docs/receiver.py shows, attacked with what is genuine and what is not."""

import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from kassa.core.secret import Secret
from kassa.webhooks.rules import make_secret, sign

_PATH = Path(__file__).parents[2] / "docs" / "receiver.py"
_SPEC = importlib.util.spec_from_file_location("receiver", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
receiver = importlib.util.module_from_spec(_SPEC)
sys.modules["receiver"] = receiver
_SPEC.loader.exec_module(receiver)

OURS, THEIRS = make_secret(b"o" * 32), make_secret(b"t" * 32)
Json = dict[str, Any]


@pytest.fixture
def shop() -> Any:
    order = receiver.Order("inv_1", "2000.00", "USD")
    return receiver.Shop("sto_ours", OURS, {"order-1001": order})


def settled(event: str = "evt_1", **invoice: str) -> Json:
    told = {"id": "inv_1", "store_id": "sto_ours", "reference": "order-1001", "amount": "2000.00", "currency": "USD"}
    return {"id": event, "type": "invoice.settled", "data": {"object": told | invoice}}


def delivered(event: Json, secret: str = OURS, age: int = 0) -> tuple[bytes, dict[str, str]]:
    """Sign an event as Kassa does, so many seconds ago."""
    body, at = json.dumps(event).encode(), int(datetime.now(UTC).timestamp()) - age
    signature = sign([Secret(secret)], event["id"], at, body)
    return body, {"webhook-id": event["id"], "webhook-timestamp": str(at), "webhook-signature": signature}


def test_the_orders_own_invoice_releases_it_once_however_often_it_is_told(shop: Any) -> None:
    delivery = delivered(settled())
    assert [receiver.receive(shop, *delivery) for _ in range(2)] == ["released", "seen before"]
    assert shop.orders["order-1001"].released


@pytest.mark.parametrize(
    "event",
    [
        settled(store_id="sto_theirs"),
        settled(id="inv_2", amount="1.00"),
        settled(id="inv_2"),
        settled(amount="1.00"),
        settled(currency="JPY"),
        settled(reference="order-1002"),
        settled() | {"type": "invoice.processing"},
    ],
    ids=["another store", "a smaller invoice", "another invoice", "less", "another currency", "no order", "unsettled"],
)
def test_a_genuine_event_that_is_not_of_the_order_releases_nothing(shop: Any, event: Json) -> None:
    receiver.receive(shop, *delivered(event))
    assert not shop.orders["order-1001"].released


def test_what_is_forged_altered_or_old_is_refused(shop: Any) -> None:
    body, headers = delivered(settled())
    altered = body.replace(b"inv_1", b"inv_2"), headers
    unsigned = body, headers | {"webhook-signature": ""}
    for delivery in (altered, unsigned, delivered(settled(), THEIRS), delivered(settled(), age=600)):
        with pytest.raises(WebhookVerificationError):
            receiver.receive(shop, *delivery)
    assert not shop.orders["order-1001"].released
    assert shop.seen == set()
