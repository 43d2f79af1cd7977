"""What an API key looks like and whether it opens anything. Pure: the random bits come in as an argument."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime

from kassa.core.errors import FieldFault, Invalid
from kassa.stores.model import SCOPES, ApiKey

SECRET_BYTES = 32  # 256 bits: nothing to guess, so a plain SHA-256 needs no salt and no slow hash
MAX_NAME = 200
MAX_SPREAD_PPM = 500_000

_KEY = re.compile(r"kassa_(?:live|test)_[0-9a-zA-Z]{43}\Z")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def key_text(livemode: bool, secret: bytes) -> str:
    """Write 32 random bytes as `kassa_live_…` or `kassa_test_…`: 43 letters and digits."""
    value, digits = int.from_bytes(secret), []
    for _ in range(43):  # 62**43 > 2**256
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return f"kassa_{'live' if livemode else 'test'}_{''.join(reversed(digits))}"


def key_hash(text: str) -> bytes | None:
    """Return what is stored of a key (SHA-256), or None for a text that no key can be."""
    return hashlib.sha256(text.encode()).digest() if _KEY.match(text) else None


def opens(key: ApiKey, now: datetime) -> bool:
    """Tell whether a key that was found opens anything now."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return known scopes in their order, without repeats; raise `Invalid` for an unknown one or for none at all."""
    asked = set(scopes)
    if unknown := sorted(asked - set(SCOPES)):
        raise Invalid(FieldFault("scopes", f"{unknown[0][:40]!r} is not a scope; known are {', '.join(SCOPES)}"))
    if not asked:
        raise Invalid(FieldFault("scopes", "name at least one scope"))
    return tuple(scope for scope in SCOPES if scope in asked)


def checked_name(name: str) -> str:
    """Return a store's name without outer blanks; raise `Invalid` when nothing printable of fitting length is left."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > MAX_NAME or not trimmed.isprintable():
        raise Invalid(FieldFault("name", f"must be 1 to {MAX_NAME} printable characters"))
    return trimmed
