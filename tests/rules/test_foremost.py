"""Which of many payments are shown, and what is said of the others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kassa.checkout.listing import listed, rest
from kassa.payments.foremost import foremost

TOLD = st.lists(st.tuples(st.booleans(), st.integers(0, 5)))


@given(TOLD, st.integers(0, 12))
def test_nothing_that_is_left_off_goes_before_what_is_shown(payments: list[tuple[bool, int]], most: int) -> None:
    shown = foremost(payments, most)
    assert len(shown) == min(most, len(payments))
    assert shown == sorted(set(shown))
    for kept in shown:
        for left in set(range(len(payments))) - set(shown):
            (counts, worth), (other_counts, other_worth) = payments[kept], payments[left]
            assert counts >= other_counts
            if counts == other_counts:
                assert worth >= other_worth
                assert worth > other_worth or kept < left


def payment(amount: str, value: str, status: str = "settled", asset: str = "BTC@bitcoin") -> dict[str, Any]:
    return {"asset": asset, "amount": amount, "value": value, "status": status}


def test_the_one_that_pays_is_listed_behind_a_flood() -> None:
    dust, dead = payment("0.00000001", "0.00"), payment("9.00000000", "450000.00", "replaced")
    real = payment("0.00100000", "50.00")
    payments = [*[dust] * 40, dead, real]
    assert listed(payments) == [*[dust] * 9, real]
    assert listed(payments[-2:]) == [dead, real]


def test_the_others_are_added_up_exactly_by_asset_and_what_is_dead_counts_for_nothing() -> None:
    dust, wei = payment("0.00000001", "0.00"), payment("0." + "0" * 17 + "1", "0.00", asset="ETH@ethereum")
    real, dead = payment("0.00100000", "50.00"), payment("0.50000000", "25000.00", "dropped")
    spend = {"asset": "BTC@bitcoin", "amount": "0.00000500"}
    invoice = {
        "payments": [dust, wei, real], "payments_left_off": 3, "spends": [spend],
        "payment_options": [
            {"asset": "BTC@bitcoin", "symbol": "BTC", "decimals": 8, "amount_paid": "0.00100504"},
            {"asset": "ETH@ethereum", "symbol": "ETH", "decimals": 18, "amount_paid": "0." + "0" * 17 + "2"},
        ],
    }  # fmt: skip
    assert rest(invoice, [real]) == (5, "0.00000004 BTC + 0.000000000000000002 ETH")
    assert rest(invoice, [dust, wei, real]) == (3, "0.00000003 BTC + 0.000000000000000001 ETH")
    assert rest(invoice | {"payments_left_off": 0, "payments": [dead]}, [dead]) == (
        0, "0.00100004 BTC + 0.000000000000000002 ETH",
    )  # fmt: skip
