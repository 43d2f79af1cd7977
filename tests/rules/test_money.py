"""Exact amounts: C2, C8, C10, C11, C12, C23."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kassa.core.errors import Invalid
from kassa.core.money import (
    currency,
    due_units,
    format_rate,
    format_units,
    parse_amount,
    parse_rate,
    typed_step,
    value_units,
)


@given(st.integers(0, 2**256 - 1).map(lambda n: n // 10**20), st.integers(0, 24))
def test_what_is_written_reads_back(units: int, decimals: int) -> None:
    assert parse_amount(format_units(units, decimals), decimals) == units


@given(st.integers(-(2**256), 2**256), st.integers(0, 24))
def test_writing_is_exact_for_any_size(units: int, decimals: int) -> None:
    assert Fraction(format_units(units, decimals)) == Fraction(units, 10**decimals)


def test_c2_a_hundred_thousand_amounts_of_every_number_of_decimals_come_back_and_no_digit_more_is_taken() -> None:
    chance, examples = random.Random(2), min(settings().max_examples * 1_000, 100_000)
    for number in range(examples // 25):
        for decimals in range(25):
            units = chance.getrandbits(chance.randrange(1, 190))
            text = format_units(units, decimals)
            assert parse_amount(text, decimals) == units
            if number % 25 == decimals:
                with pytest.raises(Invalid, match="decimals"):
                    parse_amount(f"{text}0" if decimals else f"{text}.0", decimals)


@pytest.mark.parametrize(
    "text",
    [
        "", "-1", "+1", "-0", "1e400", "1e-30", "1E5", "０１２", "1_000", "1,5", " 1", "1 ", "0x10", "NaN", "Infinity",
        "1.", ".5", "01", "00", "1.2.3", "1\n", "\x001", "9" * 100_000, "١", "½", "--1", "1/2",
    ],
)  # fmt: skip
def test_hostile_amounts_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_amount(text, 8)


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [
        ("0", 2, 0),
        ("1000", 0, 1000),
        ("1.234", 3, 1234),
        ("0.1", 8, 10_000_000),
        ("49.90", 2, 4990),
        ("5", 18, 5 * 10**18),
    ],
)
def test_amounts_in_order_are_read(text: str, decimals: int, units: int) -> None:
    assert parse_amount(text, decimals) == units


@pytest.mark.parametrize(("text", "code"), [("1.5", "JPY"), ("1.2345", "KWD"), ("0.001", "EUR")])
def test_more_decimals_than_a_currency_has_are_refused(text: str, code: str) -> None:
    with pytest.raises(Invalid, match="decimals"):
        parse_amount(text, currency(code).decimals)


@pytest.mark.parametrize(("decimals", "units"), [(0, 1), (6, 1), (8, 1), (9, 10), (18, 10**10)])
def test_eight_decimals_can_be_typed_everywhere(decimals: int, units: int) -> None:
    assert typed_step(decimals) == units


@pytest.mark.parametrize(("code", "decimals"), [("JPY", 0), ("KRW", 0), ("EUR", 2), ("BHD", 3), ("CLF", 4), ("BTC", 8)])
def test_currencies_have_their_own_decimals(code: str, decimals: int) -> None:
    assert currency(code).decimals == decimals


@pytest.mark.parametrize("code", ["", "eur", "XXX", "EURO", "€", "E" * 1000])
def test_unknown_currencies_are_refused(code: str) -> None:
    with pytest.raises(Invalid):
        currency(code)


@given(st.integers(1, 10**15), st.fractions(Fraction(1, 10**6), 10**7), st.sampled_from([0, 2, 3]), st.integers(6, 18))
def test_what_is_due_is_never_worth_less_than_the_price_and_one_unit_less_would_be(
    price: int, rate: Fraction, price_decimals: int, decimals: int
) -> None:
    due = due_units(price, price_decimals, rate, decimals)
    worth = Fraction(due, 10**decimals) * rate
    assert worth >= Fraction(price, 10**price_decimals)
    assert Fraction(due - 1, 10**decimals) * rate < Fraction(price, 10**price_decimals)


def test_a_price_in_the_asset_itself_is_due_as_it_is() -> None:
    assert due_units(123, 8, Fraction(1), 8) == 123


@pytest.mark.parametrize(("units", "expected"), [(5, 0), (15, 2), (25, 2), (26, 3)])
def test_values_round_half_to_even(units: int, expected: int) -> None:
    assert value_units(units, 1, Fraction(1), 0) == expected


def test_products_beyond_28_digits_stay_exact() -> None:
    assert value_units(2**256 - 1, 18, Fraction(3), 18) == 3 * (2**256 - 1)


def test_a_number_may_have_sixty_digits_and_no_more() -> None:
    most = "9" * 60
    assert (parse_amount(most, 0), parse_rate(most)) == (int(most), int(most))
    with pytest.raises(Invalid) as refused:
        parse_amount(most + "9", 0)
    said = 'must be a decimal string such as "49.90" of at most 60 characters'
    assert [(fault.field, fault.message) for fault in refused.value.faults] == [("amount", said)]
    with pytest.raises(ValueError, match="positive"):
        parse_rate(most + "9")


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "NaN", "Infinity", "", "1e5", "6,000"])
def test_a_rate_that_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rate", "text"), [(Fraction(60000), "60000.00"), (Fraction("1.5"), "1.50"), (Fraction("0.00012345"), "0.00012345")]
)
def test_rates_are_written_with_two_decimals_or_more(rate: Fraction, text: str) -> None:
    assert format_rate(rate) == text


@given(st.fractions(min_value=Fraction(1, 10**20), max_value=10**12), st.integers(0, 8))
def test_a_rate_is_written_to_the_nearest_of_18_decimals(rate: Fraction, decimals: int) -> None:
    text = format_rate(rate, decimals)

    assert Fraction(text) == Fraction(round(rate * 10**18), 10**18)
    assert len(text.partition(".")[2]) >= decimals


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        ("0.0000000000000000005", "0.00"),
        ("0.0000000000000000006", "0.000000000000000001"),
        ("0.0000000000000000015", "0.000000000000000002"),
        ("0.0000000000000000025", "0.000000000000000002"),
    ],
)
def test_half_of_the_last_decimal_goes_to_the_even_side(rate: str, text: str) -> None:
    assert format_rate(Fraction(rate)) == text


@given(st.decimals("0.000001", "1000000", places=6))
def test_rates_read_back(value: Decimal) -> None:
    assert parse_rate(format(value, "f")) == Fraction(value)
