"""The languages of the pages for payers: which one to speak, its words, and how it writes money and time.

English stands in the code; `locales/` holds a catalogue for each other language, read when it is first spoken.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from importlib.resources import files

from babel import Locale
from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import NumberPattern

SPOKEN = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "ar", "zh", "ja")
_EXACT = Context(prec=100)  # more digits than any amount has
_MOST_ASKED = 16  # languages that a browser names


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language: its code, how it calls itself, which way it runs, and its words by the English ones."""

    code: str
    name: str
    direction: str  # "ltr" or "rtl"
    locale: Locale = field(repr=False)
    words: Mapping[str, str] = field(repr=False)

    def say(self, english: str, **parts: object) -> str:
        """Return a text in this language with its `{parts}` filled in; English where the catalogue lacks it."""
        text = self.words.get(english) or english
        return text.format(**parts) if parts else text

    def money(self, amount: str, currency: str) -> str:
        """Write an amount, given as a decimal string, with all its digits."""
        decimals = len(amount.partition(".")[2])
        known = currency in self.locale.currency_symbols
        pattern = _pattern(self.locale, "currency" if known else "decimal", decimals)
        with localcontext(_EXACT):
            text = str(pattern.apply(Decimal(amount), self.locale, currency=currency, currency_digits=False))
        # What is not in ISO 4217 (BTC, USDT) has no place of its own in a language: it stands behind the number.
        return text if known else f"{text}\N{NO-BREAK SPACE}{currency}"

    def moment(self, at: datetime) -> str:
        """Write a moment, in UTC: nobody told us where the payer lives."""
        return _moment(self.code, at)


def later(english: str) -> str:
    """Mark a text that is said elsewhere, for those who collect the texts to be translated."""
    return english


def choose(asked: str | None, accepted: str | None) -> Language:
    """Return the language that was asked for by its code, else the best of an Accept-Language header, else English."""
    if asked in SPOKEN:
        return language(asked)
    return language(next((code for code in _wishes(accepted or "") if code in SPOKEN), "en"))


@lru_cache(maxsize=len(SPOKEN))
def language(code: str) -> Language:
    """Return a language that is spoken here."""
    locale = Locale.parse(code)
    return Language(code, _own_name(locale), locale.text_direction, locale, _words(code))


def _own_name(locale: Locale) -> str:
    name = locale.get_display_name(locale) or locale.language
    return name[:1].upper() + name[1:]


def _words(code: str) -> Mapping[str, str]:
    if code == "en":
        return {}
    with (files("kassa.checkout") / "locales" / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}


def _wishes(header: str) -> list[str]:
    """Return the languages of an Accept-Language header (RFC 9110, section 12.5.4), the most wanted first."""
    wishes = []
    for place, part in enumerate(header[:500].split(",")[:_MOST_ASKED]):
        tag, _, weight = part.strip().partition(";")
        quality = weight.strip().removeprefix("q=").strip() or "1"
        # Weights compare as text where they are sound: "1", "0.8", "0.75", "0".
        if quality[:1] in ("0", "1") and quality.strip("0."):
            wishes.append((quality, -place, tag.strip().partition("-")[0].lower()))
    return [code for _, _, code in sorted(wishes, reverse=True)]


@lru_cache(maxsize=4_000)  # a page that lives is drawn again and again
def _moment(code: str, at: datetime) -> str:
    return f"{format_datetime(at, 'medium', locale=code)} UTC"


@lru_cache(maxsize=500)
def _pattern(locale: Locale, kind: str, decimals: int) -> NumberPattern:
    formats = locale.currency_formats["standard"] if kind == "currency" else locale.decimal_formats[None]
    pattern: NumberPattern = copy(formats)
    pattern.frac_prec = (decimals, decimals)
    return pattern
