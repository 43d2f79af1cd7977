"""Templates to pages: autoescaped, with the few filters that they need, and the static files by what they hold."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kassa.checkout.drawing import qr
from kassa.core.clock import rfc3339
from kassa.dashboard.words import DONE, PROVEN, RIGHTS, TONES, UNSAVED, depth
from kassa.files.model import File, make_file
from kassa.invoices.overview_store import MOST


def _file(stem: str, ending: str) -> File:
    return make_file(stem, ending, (files("kassa.dashboard") / "static" / f"{stem}.{ending}").read_bytes())


STYLE, SCRIPT, ICON = _file("dashboard", "css"), _file("dashboard", "js"), _file("icon", "svg")
FILES = {file.name: file for file in (STYLE, SCRIPT, ICON)}


def moment(value: "str | datetime | None") -> Markup:
    """Write a time for people, to the minute in UTC; the whole of it is there for programs and pointers."""
    if value is None:
        return Markup("-")
    text = rfc3339(value) if isinstance(value, datetime) else value
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(text, text[:16].replace("T", " "))


def short(text: str | None, ends: int = 8) -> str:
    """Shorten an id or a hash to what people compare: its beginning and its end."""
    if text is None:
        return "-"
    return text if len(text) <= 2 * ends + 1 else f"{text[:ends]}…{text[-ends:]}"


def grouped(amount: str) -> str:
    """Group the digits of whole units of an amount, which come as the API writes them: `-12,345.60`."""
    whole, dot, rest = amount.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{dot}{rest}" if digits.isdecimal() else amount


def bounded(count: int) -> str:
    """Write a count that was not read to its end beyond a bound: `1,000+`."""
    return f"{MOST:,}+" if count > MOST else str(count)


def lasting(time: timedelta | int) -> str:
    """Write how long something is (a time, or whole seconds) in its largest unit, rounded down: `3 min`."""
    seconds = max(0, time if isinstance(time, int) else int(time.total_seconds()))
    for unit, of in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * of:
            return f"{seconds // of} {unit}"
    return f"{seconds} s"


def sentence(name: str) -> str:
    """Write a name of programs for people: `payment_link.created` as `Payment link created`."""
    words = name.replace(".", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _tone(word: str) -> str:
    return TONES.get(word, "plain")


def _json_text(value: Any) -> str:  # JSON
    return json.dumps(value, ensure_ascii=False, indent=1)


def _with(query: Mapping[str, str], **changes: str | None) -> str:
    changed = {**query, **changes}
    return "?" + urlencode({name: value for name, value in changed.items() if value})


_ENVIRONMENT = Environment(
    loader=PackageLoader("kassa.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_ENVIRONMENT.filters |= {
    "moment": moment, "short": short, "tone": _tone, "tojson_text": _json_text, "grouped": grouped,
    "sentence": sentence, "bounded": bounded, "lasting": lasting, "depth": depth, "at": datetime.fromisoformat,
    "qr": qr, "pair": lambda text: (text, text),
}  # fmt: skip
_ENVIRONMENT.globals |= {"style": STYLE, "script": SCRIPT, "icon": ICON, "with_query": _with, "right_words": RIGHTS}


def render(template: str, **shown: Any) -> bytes:  # whatever the template shows
    """Draw a template."""
    name = str(shown.get("done", ""))
    said = {"done": DONE.get(name, ""), "unsaved": name in (UNSAVED, PROVEN)}
    return _ENVIRONMENT.get_template(template).render(**{**shown, **said}).encode()
