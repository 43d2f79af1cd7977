"""Amounts that payers type, in every language of the pages."""

import pytest
from babel import Locale

from kassa.checkout.languages import SPOKEN, language
from kassa.checkout.typed import read_amount
from kassa.core.money import Currency, parse_amount

EUR, JPY, KWD, BTC = Currency("EUR", 2), Currency("JPY", 0), Currency("KWD", 3), Currency("BTC", 8)
SHOWN = [
    ("1234567.50", EUR), ("0.50", EUR), ("12.00", EUR), ("1000.00", EUR), ("20000", JPY), ("999", JPY),
    ("1234.500", KWD), ("0.01000000", BTC), ("1.50000000", BTC), ("21000000.00000000", BTC),
]  # fmt: skip


@pytest.mark.parametrize("code", SPOKEN)
@pytest.mark.parametrize("region", ["", "CH", "IN", "EG", "BR"])
def test_what_a_page_shows_is_read_back(code: str, region: str) -> None:
    spoken = language(code, region)
    for amount, currency in SHOWN:
        shown = spoken.money(amount, currency.code)
        read = read_amount(shown, spoken.locale, currency)
        assert read is not None, shown
        assert parse_amount(read, currency.decimals) == parse_amount(amount, currency.decimals), shown


@pytest.mark.parametrize(
    ("code", "text", "currency", "read"),
    [
        ("en", " 20 ", EUR, "20"),
        ("en", "1,50", EUR, "1.50"),
        ("de", "1.50", EUR, "1.50"),
        ("de", "1.500", EUR, "1500"),
        ("en", "1,500", EUR, "1500"),
        ("en", "1.234,50", EUR, "1234.50"),
        ("de", "1,234.50", EUR, "1234.50"),
        ("de", "0,5", BTC, "0.5"),
        ("de", "0,500", BTC, "0.500"),
        ("de", "1,500", KWD, "1.500"),
        ("en", "1.500", KWD, "1.500"),
        ("ar", "١٢٫٥", EUR, "12.5"),
        ("ar", "١٢", EUR, "12"),
        ("ja", "１２", JPY, "12"),
        ("ja", "２０，０００", JPY, "20000"),
        ("en", "€20", EUR, "20"),
        ("en", ".5", EUR, "0.5"),
        ("de", ",5", EUR, "0.5"),
        ("en", "20 eur", EUR, "20"),
        ("de", "1.234.567", EUR, "1234567"),
    ],
)
def test_an_amount_is_read_as_people_write_it(code: str, text: str, currency: Currency, read: str) -> None:
    assert read_amount(text, Locale.parse(code), currency) == read


@pytest.mark.parametrize(
    ("code", "text", "currency"),
    [
        ("de", "1.500", KWD),
        ("es", "1.000", BTC),
        ("en", "1,000", BTC),
        ("en", "1,2,3", EUR),
        ("en", "1.2.3", EUR),
        ("en", "1,23.456,7", EUR),
        ("en", "-5", EUR),
        ("en", "1e3", EUR),
        ("en", "", EUR),
        ("en", "EUR", EUR),
        ("en", ".", EUR),
        ("en", "5 USD", EUR),
        ("en", "½", EUR),
        ("en", "9" * 100_000 + "x", EUR),
    ],
)
def test_what_is_no_amount_or_could_be_two_is_none(code: str, text: str, currency: Currency) -> None:
    assert read_amount(text, Locale.parse(code), currency) is None
