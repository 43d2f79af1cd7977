"""Numbers as people type them into a form, for endpoints that know one spelling of each. Pure."""

import re
from collections.abc import Iterable

from babel import Locale

from kassa.checkout.typed import read_amount
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import Currency, currency
from kassa.dashboard.browser import Form

_SPOKEN = Locale("en")  # as the pages are
_PERCENT = Currency("%", 3)
_LEADING = re.compile(r"\A0+(?=[0-9])")


def amounts(form: Form, names: Iterable[str], code: str) -> dict[str, str]:
    """Return those fields that hold an amount, each such as "1234.5".

    `code`: of a currency, or an asset's id. Raises `Invalid` for a code that is not known, and for what is no amount
    or could be two.
    """
    symbol, _, network = code.partition("@")
    return _read(form, names, Currency(symbol, 18) if network else currency(code), "1234.50")


def percents(form: Form, names: Iterable[str]) -> dict[str, str]:
    """Return those fields that hold a share in percent, each such as "0.5"; raises `Invalid`."""
    return _read(form, names, _PERCENT, "0.5")


def _read(form: Form, names: Iterable[str], of: Currency, example: str) -> dict[str, str]:
    typed = {name: form.get(name) for name in names if form.get(name).strip()}
    read = {name: read_amount(text, _SPOKEN, of) for name, text in typed.items()}
    wrong = [name for name, text in read.items() if text is None]
    if wrong:
        said = f"is no number that can be read in one way only; write it like {example}"
        raise Invalid(*(FieldFault(name, said) for name in wrong))
    return {name: _LEADING.sub("", text) for name, text in read.items() if text is not None}
