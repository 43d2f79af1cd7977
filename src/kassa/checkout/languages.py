"""The languages of the pages for payers: which one to speak, its words, and how it writes money and time.

English stands in the code; `locales/` holds a catalogue for each other language, read when it is first spoken.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files

from babel import Locale, localedata
from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import NumberPattern
from markupsafe import Markup, escape

from kassa.core.clock import rfc3339

SPOKEN = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "ar", "zh", "ja")
_EXACT = Context(prec=100)  # more digits than any amount has
_TIME = Markup('<time datetime="{}" data-local><bdi>{}</bdi></time>')
_MOST_ASKED = 16  # languages that a browser names


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language: its code, how it calls itself, which way it runs, and its words by the English ones.

    `tag` names it with the region whose way of writing money and time it follows, as in BCP 47: `en-GB`.
    """

    code: str
    tag: str
    name: str
    direction: str  # "ltr" or "rtl"
    locale: Locale = field(repr=False)
    words: Mapping[str, str] = field(repr=False)

    def say(self, english: str, **parts: object) -> str:
        """Return a text in this language with its `{parts}` filled in; English where the catalogue lacks it.

        With an element among its parts (`time`) it is markup, in which everything else is escaped.
        """
        text = self.words.get(english) or english
        if any(isinstance(part, Markup) for part in parts.values()):
            text = escape(text)
        return text.format(**parts) if parts else text

    def money(self, amount: str, currency: str) -> str:
        """Write an amount, given as a decimal string, with all its digits."""
        decimals = len(amount.partition(".")[2])
        known = currency in self.locale.currency_symbols
        pattern = _pattern(self.locale, "currency" if known else "decimal", decimals)
        with localcontext(_EXACT):
            text = str(pattern.apply(Decimal(amount), self.locale, currency=currency, currency_digits=False))
        # What is not in ISO 4217 (BTC, USDT) has no place of its own in a language: it stands behind the number.
        return text if known else self.apart(f"{text}\N{NO-BREAK SPACE}{currency}")

    def apart(self, text: str) -> str:
        """Keep the order of a text's parts among words that run from the right: an amount beside a symbol, a moment."""
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if self.direction == "rtl" else text

    def moment(self, at: datetime) -> str:
        """Write a moment, in UTC: nobody told us where the payer lives."""
        return _moment(self.locale, at)

    def time(self, at: datetime) -> Markup:
        """Write a moment as an element, for a script to put it into the zone of its reader."""
        return _TIME.format(rfc3339(at), self.moment(at))

    def percent(self, share: Fraction) -> str:
        """Write a share, given in millionths at most, as percent."""
        decimals = next(each for each in range(5) if (share * 10 ** (each + 2)).denominator == 1)
        pattern = _pattern(self.locale, "percent", decimals)
        with localcontext(_EXACT):
            return str(pattern.apply(Decimal(share.numerator) / share.denominator, self.locale))


def later(english: str) -> str:
    """Mark a text that is said elsewhere, for those who collect the texts to be translated."""
    return english


def choose(asked: str | None, accepted: str | None) -> Language:
    """Return the language that was asked for by its code, else the best of an Accept-Language header, else English.

    The region is the one that the header names beside that language.
    """
    wishes = _wishes(accepted or "")
    code = asked if asked in SPOKEN else next((code for code, _ in wishes if code in SPOKEN), "en")
    return language(code, next((region for wished, region in wishes if wished == code and region), ""))


def language(code: str, region: str = "") -> Language:
    """Return a language that is spoken here, written as in a region (ISO 3166, "GB") where that is known to differ."""
    known = len(region) == 2 and localedata.exists(f"{code}_{region}")
    return _language(code, f"{code}_{region}" if known else code)


@lru_cache(maxsize=500)  # more than there are
def _language(code: str, name: str) -> Language:
    locale, own = Locale.parse(name), Locale.parse(code)
    return Language(code, name.replace("_", "-"), _own_name(own), own.text_direction, locale, _words(code))


def _own_name(locale: Locale) -> str:
    name = locale.get_display_name(locale) or locale.language
    return name[:1].upper() + name[1:]


@lru_cache(maxsize=len(SPOKEN))
def _words(code: str) -> Mapping[str, str]:
    if code == "en":
        return {}
    with (files("kassa.checkout") / "locales" / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}


def _wishes(header: str) -> list[tuple[str, str]]:
    """Return languages and regions of an Accept-Language header (RFC 9110, section 12.5.4), the most wanted first."""
    wishes = []
    for place, part in enumerate(header[:500].split(",")[:_MOST_ASKED]):
        tag, _, weight = part.strip().partition(";")
        quality = weight.strip().removeprefix("q=").strip() or "1"
        # Weights compare as text where they are sound: "1", "0.8", "0.75", "0".
        if quality[:1] in ("0", "1") and quality.strip("0."):
            code, *more = tag.strip().split("-")
            # A script between them ("zh-Hant-TW") is another way of writing than the catalogue's.
            wishes.append((quality, -place, code.lower(), more[0].upper() if more else ""))
    return [(code, region) for _, _, code, region in sorted(wishes, reverse=True)]


@lru_cache(maxsize=4_000)  # a page that lives is drawn again and again
def _moment(locale: Locale, at: datetime) -> str:
    return f"{format_datetime(at, 'medium', locale=locale)} UTC"


@lru_cache(maxsize=500)
def _pattern(locale: Locale, kind: str, decimals: int) -> NumberPattern:
    formats = {"currency": locale.currency_formats.get("standard"), "percent": locale.percent_formats.get(None)}
    pattern: NumberPattern = copy(formats.get(kind) or locale.decimal_formats[None])
    pattern.frac_prec = (decimals, decimals)
    return pattern
