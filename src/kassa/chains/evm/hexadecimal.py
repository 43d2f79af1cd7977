"""Numbers and bytes as a node writes them: "0x" and digits. Anything else is an answer that cannot be used."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from kassa.chains.base import Keys
from kassa.chains.matching import NO_KEYS
from kassa.core.errors import ChainUnavailable

# Python's own readers would also take blanks, signs and underscores.
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
_SEVERAL = re.compile(r"(?:0x[0-9a-fA-F]{1,64},)*\Z")


def number(text: str) -> int:
    """Read a quantity of at most 256 bits."""
    if not _NUMBER.match(text):
        raise ChainUnavailable(f"the node wrote {text[:80]!r} where a number must stand")
    return int(text, 16)


def numbers(texts: Sequence[str]) -> list[int]:
    """Read many quantities, each as `number` does, by one look at all of them."""
    if _SEVERAL.match("".join([text + "," for text in texts])):
        with suppress(ValueError):  # a comma within one of them
            return [int(text, 16) for text in texts]
    return [number(text) for text in texts]


def data(text: str, size: int | None = None) -> bytes:
    """Read bytes, of exactly `size` if it is given."""
    try:
        read = bytes.fromhex(text[2:]) if text.startswith("0x") else None
    except ValueError:
        read = None
    # Python's reader skips blanks, and then there are fewer bytes than digits say.
    if read is None or 2 + 2 * len(read) != len(text) or size not in (None, len(read)):
        raise ChainUnavailable(f"the node wrote {text[:80]!r} where {size or 'some'} bytes must stand")
    return read


def keys(digits: Iterable[str]) -> Keys:
    """Read pieces of 16 hexadecimal digits, each the first half of what it names, as search keys."""
    joined = "".join(digits)
    if not joined:
        return NO_KEYS
    try:
        raw = bytes.fromhex(joined)
    except ValueError:
        raw = b""
    if 2 * len(raw) != len(joined) or len(raw) % 8:
        raise ChainUnavailable("the node wrote something else than hexadecimal digits in an address")
    found: Keys = np.frombuffer(raw, "<i8")
    return found
