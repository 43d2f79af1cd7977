"""How a store looks to its payers: colour, logo, and the sites that may frame its checkout. Pure."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from kassa.core.errors import FieldFault, Invalid

MAX_ANCESTORS = 20

_COLOUR = re.compile(r"#[0-9a-f]{6}\Z", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?\Z", re.ASCII)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Branding:
    """`colour` is `#rrggbb`; `logo_hash` names the image that is kept; `frame_ancestors` are origins."""

    colour: str | None = None
    logo_hash: str | None = None
    frame_ancestors: tuple[str, ...] = ()


PLAIN = Branding()


def checked_colour(text: str | None) -> str | None:
    """Return a colour in small letters, or None for none; raise `Invalid` (field `colour`)."""
    if text is None:
        return None
    colour = text.lower()
    if not _COLOUR.match(colour):
        raise Invalid(FieldFault("colour", 'must be a colour such as "#0b5cd5"'))
    return colour


def checked_ancestors(origins: Iterable[str]) -> tuple[str, ...]:
    """Return origins as browsers write them, without repeats; raise `Invalid` (field `frame_ancestors`).

    Each is a whole origin (RFC 6454): no path, no wildcard. Without TLS only this machine itself is one to be trusted.
    """
    checked = tuple(dict.fromkeys(_origin(text) for text in origins))
    if len(checked) > MAX_ANCESTORS:
        raise Invalid(FieldFault("frame_ancestors", f"names more than {MAX_ANCESTORS} sites"))
    return checked


def logo_name(image: bytes) -> str:
    """Return the name under which an image is served: its hash, so that a browser may keep it for ever."""
    return hashlib.sha256(image).hexdigest()[:32]


def logo_path(name: str) -> str:
    """Return the path under which an image is served."""
    return f"/i/logo/{name}"


def _origin(text: str) -> str:
    match = _ORIGIN.match(text.lower())
    if match is None or not _has_sound_port(text):
        raise Invalid(FieldFault("frame_ancestors", 'must be origins such as "https://shop.example"'))
    scheme, host, port = match.groups()
    if scheme == "http" and host.strip("[]") not in _LOOPBACK:
        raise Invalid(FieldFault("frame_ancestors", f"{text[:80]!r} must begin with https://"))
    return f"{scheme}://{host}" + ("" if port in (None, ":443" if scheme == "https" else ":80") else port)


def _has_sound_port(text: str) -> bool:
    try:
        return urlsplit(text).port != 0
    except ValueError:
        return False
