"""Amounts as payers type them: in the signs of their language, and refused where they could mean two things. Pure."""

import re
import unicodedata

from babel import Locale
from babel.numbers import get_currency_symbol, get_group_symbol

from kassa.core.money import Currency

_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?\Z")
_ARABIC_SIGNS = str.maketrans({"\N{ARABIC DECIMAL SEPARATOR}": ".", "\N{ARABIC THOUSANDS SEPARATOR}": ","})
_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"  # between thousands, in Switzerland
_LONGEST = 60


def read_amount(text: str, locale: Locale, currency: Currency) -> str | None:
    """Return what was typed as a plain decimal number, such as "1234.5"; None where it is none, or not surely one.

    What a page shows is read back, whatever the language. `1.234,50` and `1,234.50` can mean one thing only. A single
    sign before three digits (`1.500`) divides thousands where the language does so, unless the currency has three
    decimals or more: then it could be either.
    """
    if len(text) > _LONGEST:
        return None
    bare = _without_currency(_ascii(text), locale, currency.code)
    group = get_group_symbol(locale, numbering_system="latn")
    signs = [sign for sign in bare if sign in ".,"]
    if len(set(signs)) == 2:
        return _split(bare, decimal=signs[-1], group=signs[0])
    if len(signs) > 1:
        return _split(bare, decimal="", group=signs[0])
    if signs and re.fullmatch(r"[1-9][0-9]{0,2}[.,][0-9]{3}", bare) and signs[0] == group:
        return _split(bare, decimal="", group=group) if currency.decimals < 3 else None
    return _checked(bare.replace(",", "."))


def _ascii(text: str) -> str:
    """Write digits of any script, and signs of full width, as those of ASCII; drop spaces and what cannot be seen."""
    plain = unicodedata.normalize("NFKC", text.translate(_ARABIC_SIGNS))
    kept = (one for one in plain if not one.isspace() and one not in _APOSTROPHES and unicodedata.category(one) != "Cf")
    return "".join(str(unicodedata.decimal(one, one)) for one in kept)


def _without_currency(text: str, locale: Locale, code: str) -> str:
    for name in (code, _ascii(get_currency_symbol(code, locale))):
        for cut in (text.upper().removeprefix(name.upper()), text.upper().removesuffix(name.upper())):
            if len(cut) < len(text):
                return cut
    return text


def _split(text: str, *, decimal: str, group: str) -> str | None:
    """Take the signs between groups out of a number; groups are of three digits, in India also of two."""
    whole, point, part = text.partition(decimal) if decimal else (text, "", "")
    sign = re.escape(group)
    if not re.fullmatch(f"[0-9]{{1,3}}({sign}[0-9]{{2,3}})*{sign}[0-9]{{3}}", whole):
        return None
    return _checked(whole.replace(group, "") + (f".{part}" if point else ""))


def _checked(text: str) -> str | None:
    text = f"0{text}" if text.startswith(".") else text
    return text if _PLAIN.match(text) else None
