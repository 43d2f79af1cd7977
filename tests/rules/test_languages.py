"""The pages' languages: every catalogue is whole, and money, times and wishes are read and written as people do."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from kassa.checkout.languages import SPOKEN, choose, language

CHECKOUT = Path(__file__).parent.parent.parent / "src" / "kassa" / "checkout"
KEYWORDS = {"say": None, "later": None}


def written() -> set[str]:
    """Return every text that the pages say, from code and templates."""

    def texts() -> Iterator[str]:
        for pattern, method in (("*.py", "python"), ("templates/*.html", "jinja2.ext:babel_extract")):
            for path in CHECKOUT.glob(pattern):
                with path.open("rb") as file:
                    for _, text, _, _ in extract(method, file, keywords=KEYWORDS, options={"trim_blocks": "true"}):
                        yield text if isinstance(text, str) else text[0]

    return set(texts())


@pytest.mark.parametrize("code", [code for code in SPOKEN if code != "en"])
def test_a_catalogue_says_everything_and_nothing_else(code: str) -> None:
    with (CHECKOUT / "locales" / f"{code}.po").open("rb") as file:
        said = {str(message.id): str(message.string) for message in read_po(file) if message.id}
    assert set(said) == written()
    assert [english for english, text in said.items() if not text.strip()] == []
    parts = re.compile(r"\{\w+\}")
    assert [
        english for english, text in said.items() if sorted(parts.findall(english)) != sorted(parts.findall(text))
    ] == []


@pytest.mark.parametrize(
    ("asked", "accepted", "expected"),
    [
        (None, None, "en"),
        (None, "", "en"),
        ("de", "fr", "de"),
        ("xx", "fr", "fr"),
        (None, "pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        (None, "en;q=0.5, ja;q=0.9", "ja"),
        (None, "sv, ar;q=0.1", "ar"),
        (None, "de;q=0, it;q=0.001", "it"),
        (None, "zh-Hant-TW", "zh"),
        (None, "*, ;q=, de;q=x,\x00" + "a," * 9_000, "en"),
    ],
)
def test_the_wanted_language_is_spoken(asked: str | None, accepted: str | None, expected: str) -> None:
    assert choose(asked, accepted).code == expected


@pytest.mark.parametrize(
    ("code", "amount", "currency", "expected"),
    [
        ("en", "1234.90", "EUR", "€1,234.90"),
        ("de", "1234.90", "EUR", "1.234,90\N{NO-BREAK SPACE}€"),
        ("ja", "5000", "JPY", "￥5,000"),
        ("fr", "0.00123456", "BTC", "0,00123456\N{NO-BREAK SPACE}BTC"),
        (
            "en",
            "100000000000000000000000.000000000000000001",
            "ETH",
            "100,000,000,000,000,000,000,000.000000000000000001\N{NO-BREAK SPACE}ETH",
        ),
        ("en", "1.234", "KWD", "KWD1.234"),
        # Among words from the right, number and symbol stay as they are written everywhere else on the page.
        ("ar", "0.0015", "BTC", "\u20680.0015\N{NO-BREAK SPACE}BTC\u2069"),
    ],
)
def test_money_keeps_every_digit(code: str, amount: str, currency: str, expected: str) -> None:
    assert language(code).money(amount, currency).replace("KWD\N{NO-BREAK SPACE}", "KWD") == expected


@pytest.mark.parametrize(
    ("asked", "accepted", "tag", "money", "moment"),
    [
        (None, "en-GB,en-US;q=0.9,en;q=0.8", "en-GB", "US$1,234.90", "4 Mar 2026, 15:06:07 UTC"),
        (None, "en-US", "en-US", "$1,234.90", "Mar 4, 2026, 3:06:07 PM UTC"),
        (None, "de-CH", "de-CH", "$\xa01'234.90", "04.03.2026, 15:06:07 UTC"),
        ("pt", "en-GB, pt-PT;q=0.5", "pt-PT", "1\xa0234,90\xa0US$", "04/03/2026, 15:06:07 UTC"),
        ("de", "en-GB", "de", "1.234,90\xa0$", "04.03.2026, 15:06:07 UTC"),
        (None, "zh-Hant-TW", "zh", "US$1,234.90", "2026年3月4日 15:06:07 UTC"),
        (None, "en-../../x, en-XX, en-gb;q=0.1", "en", "$1,234.90", "Mar 4, 2026, 3:06:07 PM UTC"),
    ],
)
def test_money_and_moments_are_written_as_in_the_region(
    asked: str | None, accepted: str, tag: str, money: str, moment: str
) -> None:
    said = choose(asked, accepted)
    assert (said.tag, said.money("1234.90", "USD")) == (tag, money)
    assert said.moment(datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC)).replace("\u202f", " ") == moment


def test_a_moment_is_written_as_each_language_does_and_says_its_zone() -> None:
    at = datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC)
    assert language("de").moment(at) == "04.03.2026, 15:06:07 UTC"
    assert language("en").moment(at).endswith("PM UTC")


def test_arabic_runs_from_right_to_left() -> None:
    assert {code for code in SPOKEN if language(code).direction == "rtl"} == {"ar"}
