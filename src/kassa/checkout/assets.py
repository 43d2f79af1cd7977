"""What the pages load: stylesheets and a script, named by their content, compressed once, kept by browsers."""

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from kassa.checkout.colours import theme
from kassa.checkout.languages import SPOKEN, language

_PLACE = "/i/assets"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: where it is, its bytes and the same compressed, and its integrity value (W3C SRI)."""

    path: str
    media_type: str
    body: bytes
    packed: bytes
    integrity: str


@lru_cache(maxsize=1)
def stylesheet() -> Asset:
    """Return the stylesheet of all pages."""
    return _asset("checkout", "css", "text/css", _read("checkout.css"))


@lru_cache(maxsize=10_000)
def own_colour(colour: str) -> Asset:
    """Return the few rules that put the colour of a store (`#rrggbb`) in the place of the stylesheet's own."""
    return _own_colour(colour)


@lru_cache(maxsize=1)
def script() -> Asset:
    """Return the script that keeps a page true while it is open."""
    return _asset("checkout", "js", "text/javascript", _read("live.js") + _read("checkout.js") + _read("wallet.js"))


@lru_cache(maxsize=1)
def link_script() -> Asset:
    """Return the script that keeps the page of a link true while something is awaited."""
    return _asset("link", "js", "text/javascript", _read("live.js") + _read("link.js") + _read("proof.js"))


@lru_cache(maxsize=1)
def icon() -> Asset:
    """Return the icon of a page's tab."""
    return _asset("icon", "svg", "image/svg+xml", _read("icon.svg"))


@lru_cache(maxsize=1)
def embedding() -> bytes:
    """Return the script for the pages of shops."""
    words = {one.code: (one.say("Your payment"), one.say("Close")) for one in map(language, SPOKEN)}
    return _read("embed.js").replace(b"WORDS = {};", b"WORDS = " + json.dumps(words).encode() + b";")


def find(name: str) -> Asset | None:
    """Return the file of a name that one of the pages gave, or None."""
    known = [script(), link_script(), icon(), stylesheet()]
    stem, _, digits = name.partition(".")[0].partition("-")
    if stem == "colour" and _is_colour(digits):
        # Not kept: a colour that nobody has must not throw out one of a store.
        known.append(_own_colour(f"#{digits}"))
    return next((asset for asset in known if asset.path == f"{_PLACE}/{name}"), None)


def _own_colour(colour: str) -> Asset:
    return _asset(colour.replace("#", "colour-"), "css", "text/css", theme(colour).encode())


def _asset(stem: str, ending: str, media_type: str, body: bytes) -> Asset:
    digest = hashlib.sha384(body).digest()
    return Asset(
        path=f"{_PLACE}/{stem}.{digest.hex()[:16]}.{ending}",
        media_type=media_type,
        body=body,
        packed=gzip.compress(body, 9, mtime=0),
        integrity="sha384-" + base64.b64encode(digest).decode(),
    )


def _is_colour(digits: str) -> bool:
    return len(digits) == 6 and set(digits) <= set("0123456789abcdef")


def _read(name: str) -> bytes:
    return (files("kassa.checkout") / "static" / name).read_bytes()
