"""The sites that a store names, as whole origins (RFC 6454), and whether a URL leads to one of them. Pure."""

import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from kassa.core.errors import FieldFault, Invalid

MAX_ORIGINS = 20

_HOST = r"(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"(https?)://({_HOST})(:[0-9]{{1,5}})?\Z", re.ASCII)
# Nothing but a path, a query or a fragment may follow: no user, no backslash, whatever a browser makes of them.
_BEGINNING = re.compile(rf"https?://{_HOST}(?::[0-9]{{1,5}})?(?=[/?#]|\Z)", re.ASCII | re.IGNORECASE)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_origins(origins: Iterable[str], field: str) -> tuple[str, ...]:
    """Return origins as browsers write them, without repeats; raise `Invalid` for that field.

    Each is a whole origin: no path, no wildcard. Without TLS only this machine itself is one to be trusted.
    """
    checked = tuple(dict.fromkeys(_origin(text, field) for text in origins))
    if len(checked) > MAX_ORIGINS:
        raise Invalid(FieldFault(field, f"names more than {MAX_ORIGINS} sites"))
    return checked


def leads_to(url: str, origins: Collection[str]) -> bool:
    """Tell whether a URL leads to one of some origins that were checked: same scheme, host and port."""
    found = _BEGINNING.match(url)
    return found is not None and _written(found[0]) in origins


def origin_of(url: str) -> str:
    """Return the origin of a URL of our own."""
    parts = urlsplit(url)
    return _written(f"{parts.scheme}://{parts.netloc}")


def _origin(text: str, field: str) -> str:
    match = _ORIGIN.match(text.lower())
    if match is None or not _has_sound_port(text):
        raise Invalid(FieldFault(field, 'must be origins such as "https://shop.example"'))
    scheme, host, _ = match.groups()
    if scheme == "http" and host.strip("[]") not in _LOOPBACK:
        raise Invalid(FieldFault(field, f"{text[:80]!r} must begin with https://"))
    return _written(text)


def _written(origin: str) -> str:
    """Write an origin in small letters and without the port that its scheme has anyway."""
    text = origin.lower()
    return text.removesuffix(":443" if text.startswith("https:") else ":80")


def _has_sound_port(text: str) -> bool:
    try:
        return urlsplit(text).port != 0
    except ValueError:
        return False
