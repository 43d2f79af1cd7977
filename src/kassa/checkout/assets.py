"""What the pages load: stylesheets and a script, named by their content, compressed once, kept by browsers."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from kassa.checkout.colours import theme
from kassa.checkout.languages import SPOKEN, language
from kassa.files.model import File, make_file

_COMMENT = re.compile(rb"^ *//.*\n", re.MULTILINE)


@lru_cache(maxsize=1)
def stylesheet() -> File:
    """Return the stylesheet of all pages."""
    return make_file("checkout", "css", _read("checkout.css"))


@lru_cache(maxsize=10_000)
def own_colour(colour: str) -> File:
    """Return the few rules that put the colour of a store (`#rrggbb`) in the place of the stylesheet's own."""
    return _own_colour(colour)


@lru_cache(maxsize=1)
def script() -> File:
    """Return the script that keeps a page true while it is open."""
    text = _read("live.js") + _read("checkout.js") + _read("wallet.js")
    return make_file("checkout", "js", _COMMENT.sub(b"", text))  # a payer's phone needs no reasons


@lru_cache(maxsize=1)
def link_script() -> File:
    """Return the script that keeps the page of a link true while something is awaited."""
    return make_file("link", "js", _read("live.js") + _read("link.js") + _read("proof.js"))


@lru_cache(maxsize=1)
def icon() -> File:
    """Return the icon of a page's tab."""
    return make_file("icon", "svg", _read("icon.svg"))


@lru_cache(maxsize=1)
def embedding() -> bytes:
    """Return the script for the pages of shops."""
    words = {one.code: (one.say("Your payment"), one.say("Close")) for one in map(language, SPOKEN)}
    return _read("embed.js").replace(b"WORDS = {};", b"WORDS = " + json.dumps(words).encode() + b";")


def find(name: str) -> File | None:
    """Return the file of a name that one of the pages gave, or None."""
    known = _always()
    stem, _, digits = name.partition(".")[0].partition("-")
    if stem == "colour" and _is_colour(digits):
        # Not kept: a colour that nobody has must not throw out one of a store.
        known.append(_own_colour(f"#{digits}"))
    return next((file for file in known if file.name == name), None)


def all_files(colours: Iterable[str]) -> list[File]:
    """Return all files that a page may ask for where the stores have these colours."""
    return [*_always(), *map(_own_colour, colours)]


def _always() -> list[File]:
    return [script(), link_script(), icon(), stylesheet()]


def _own_colour(colour: str) -> File:
    return make_file(colour.replace("#", "colour-"), "css", theme(colour).encode())


def _is_colour(digits: str) -> bool:
    return len(digits) == 6 and set(digits) <= set("0123456789abcdef")


def _read(name: str) -> bytes:
    return (files("kassa.checkout") / "static" / name).read_bytes()
