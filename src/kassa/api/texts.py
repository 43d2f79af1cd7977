"""Check what a schema cannot say of texts, moments and metadata in a request."""

import json
import math
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kassa.core.errors import FieldFault, Invalid
from kassa.stores.model import Store

MAX_METADATA = 8_192
MAX_DEPTH = 32

_BLANK = re.compile(r"[\s\\\"<>^`{|}]|[^\x21-\x7e]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_YEARS = range(1971, 9000)


def line_faults(field: str, text: str | None) -> list[FieldFault]:
    """Return what is wrong with a text of one line."""
    return [FieldFault(field, "must not contain control characters")] if text and _CONTROL.search(text) else []


def line(field: str, text: str | None) -> str | None:
    """Return a text of one line; raise `Invalid` for one with control characters."""
    if faults := line_faults(field, text):
        raise Invalid(*faults)
    return text


def moment(field: str, given: datetime | None) -> datetime | None:
    """Return a moment; raise `Invalid` for one that the database could not keep."""
    if given is not None and given.year not in _YEARS:
        raise Invalid(FieldFault(field, "is out of range"))
    return given


def url_faults(field: str, url: str | None) -> list[FieldFault]:
    """Return what is wrong with a URL that people are sent to."""
    if url is None:
        return []
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        sound = sound and parts.username is None and parts.password is None and not _BLANK.search(url)
    except ValueError:
        sound = False
    return [] if sound else [FieldFault(field, "must be an http or https URL in ASCII, without user or password")]


def way_back_faults(store: Store, url: str | None) -> list[FieldFault]:
    """Return what is wrong with the `redirect_url` of a store's invoice or link."""
    if faults := url_faults("redirect_url", url):
        return faults
    if url is None or store.branding.may_lead_to(url):
        return []
    return [FieldFault("redirect_url", "leads to a site that is not one of the store's redirect_origins")]


def read_metadata(raw: msgspec.Raw) -> tuple[str, FieldFault | None]:
    """Return metadata as compact JSON text, or what is wrong with it."""
    given = bytes(raw)
    if given in (b"", b"null"):
        return "{}", None
    text = msgspec.json.format(given, indent=-1)
    if len(text) > MAX_METADATA:
        return "", FieldFault("metadata", f"is over {MAX_METADATA} bytes of JSON")
    if not text.startswith(b"{"):
        return "", FieldFault("metadata", "must be a JSON object")
    try:
        sound = _storable(json.loads(text), MAX_DEPTH)
    except (RecursionError, ValueError):
        sound = False
    if not sound:
        return "", FieldFault("metadata", f"numbers must fit 64 bits, and {MAX_DEPTH} levels are the most")
    return text.decode(), None


def _storable(value: Any, levels: int) -> bool:  # JSON
    # What is echoed must be what was sent: other readers lose the digits of larger numbers.
    match value:
        case dict():
            return levels > 0 and all(_storable(each, levels - 1) for each in value.values())
        case list():
            return levels > 0 and all(_storable(each, levels - 1) for each in value)
        case int():
            return -(2**63) <= value < 2**63
        case float():
            return math.isfinite(value)
        case _:
            return True
