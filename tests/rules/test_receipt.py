"""What a receipt says."""

from typing import Any

import pytest

from kassa.checkout.languages import language
from kassa.checkout.receipt import receipt

PAYMENT: dict[str, Any] = {
    "asset": "BTC@bitcoin", "amount": "0.00100000", "txid": "aa" * 32, "address": "bc1qxyz", "status": "settled",
    "confirmations": 3, "confirmations_required": 2, "value": "50.00", "currency": "EUR", "rate": "50000.00",
    "rate_source": "median(kraken,bitstamp)", "rate_at": "2026-03-04T15:00:00.000Z",
    "first_seen_at": "2026-03-04T15:06:07.000Z",
}  # fmt: skip
INVOICE: dict[str, Any] = {
    "id": "inv_1", "status": "settled", "flags": [], "amount": "50.00", "currency": "EUR", "amount_paid": "50.00",
    "amount_over": "0.00", "created_at": "2026-03-04T15:00:00.000Z", "settled_at": "2026-03-04T16:00:00.000Z",
    "payments": [PAYMENT], "payments_left_off": 0, "spends": [], "payment_options": [],
}  # fmt: skip


def written(**change: Any) -> Any:
    return receipt(INVOICE | change, lambda network: f"The {network} network", language("de"))


def test_it_says_all_that_a_bookkeeper_asks_for() -> None:
    assert written().rows == (
        ("Rechnung", "inv_1"),
        ("Erstellt am", "04.03.2026, 15:00:00 UTC"),
        ("Bezahlt am", "04.03.2026, 16:00:00 UTC"),
        ("Preis", "50,00\xa0€"),
        ("Eingegangen", "50,00\xa0€"),
    )
    assert written().payments == (
        (
            "0.001 BTC",
            (
                ("Gesehen am", "04.03.2026, 15:06:07 UTC"),
                ("Stand", "abgeschlossen"),
                ("Netzwerk", "The bitcoin network"),
                ("Transaktion", "aa" * 32),
                ("Adresse", "bc1qxyz"),
                ("Kurs", "1 BTC = 50.000,00\xa0€"),
                ("Quelle des Kurses", "median(kraken,bitstamp), 04.03.2026, 15:00:00 UTC"),
                ("Wert", "50,00\xa0€"),
            ),
        ),
    )


def test_a_moment_behind_a_name_keeps_its_own_order_where_words_run_from_the_right() -> None:
    shown = receipt(INVOICE, str, language("ar"))
    assert shown is not None
    name, at = dict(shown.payments[0][1])["مصدر السعر"].split(", ", 1)
    assert (name, at[0], at[-1]) == ("median(kraken,bitstamp)", "\u2068", "\u2069")


def test_each_living_payment_is_on_it_and_no_dead_one() -> None:
    second = PAYMENT | {"amount": "0.50000000", "asset": "LTC@litecoin", "status": "confirming"}
    dead = [PAYMENT | {"status": status, "amount": "9.00"} for status in ("replaced", "dropped", "reversed")]
    assert [amount for amount, _ in written(payments=[PAYMENT, second, *dead]).payments] == ["0.001 BTC", "0.5 LTC"]


def test_what_the_invoice_leaves_off_is_one_sum_at_its_end() -> None:
    option = {"asset": "BTC@bitcoin", "symbol": "BTC", "decimals": 8, "amount_paid": "0.00100060"}
    shown = written(payments_left_off=60, payment_options=[option])
    assert shown.payments[-1] == ("0.0000006 BTC", (("Zahlungen", "60"),))


def test_what_is_not_known_is_left_out() -> None:
    bare = PAYMENT | {"address": None, "rate": None, "rate_source": None, "rate_at": None}
    ((_, rows),) = written(payments=[bare]).payments
    assert [name for name, _ in rows] == ["Gesehen am", "Stand", "Netzwerk", "Transaktion", "Wert"]


def test_credit_that_was_spent_and_what_was_too_much_are_on_it() -> None:
    spend = {
        "asset": "BTC@bitcoin", "amount": "0.00020000", "created_at": "2026-03-04T15:01:00.000Z", "rate": "50000.00",
        "rate_source": "fixed", "rate_at": "2026-03-04T15:00:00.000Z",
    }  # fmt: skip
    shown = written(payments=[], spends=[spend], flags=["overpaid"], amount_over="5.00")
    assert shown.rows[-1] == ("Zu viel", "5,00\xa0€")
    assert shown.payments[0][0] == "0.0002 BTC"
    assert ("Stand", "aus deinem Guthaben bezahlt") in shown.payments[0][1]


@pytest.mark.parametrize("status", ["new", "processing", "expired", "invalid"])
def test_only_what_is_paid_has_one(status: str) -> None:
    assert written(status=status) is None


def test_there_is_none_where_nothing_came() -> None:
    assert written(amount_paid="0.00", flags=["marked"], payments=[]) is None
    assert written(amount_paid="0.01", flags=["marked"]) is not None
