"""Work that whoever begins many payments of a link must prove: a challenge of ours, and a number found for it. Pure."""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from kassa.links.model import Attempt

LIFETIME = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_BITS = 24
_TEXT = re.compile(r"([0-9]{1,12})\.[0-9a-f]{32}\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,11}\Z", re.ASCII)

Sealed = Callable[[str], bytes]
"""Returns the seal over the end of a challenge, and over whose it is."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a payer's browser must work on: SHA-256 of "`text`:number" shall begin with so many bits of zero."""

    text: str
    bits: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a form brought: a challenge, and the number that was found for it. Nothing of it is believed."""

    text: str
    number: str


def challenge(sealed: Sealed, bits: int, now: datetime) -> Challenge:
    """Return a challenge that holds for ten minutes."""
    return Challenge(_text(sealed, str(_second(now + LIFETIME))), bits)


def is_proven(proof: Proof | None, sealed: Sealed, bits: int, now: datetime) -> bool:
    """Tell whether a proof is of our own challenge to the same payer, in time, and took the work."""
    known = None if proof is None else _TEXT.match(proof.text)
    if proof is None or known is None or int(known[1]) < _second(now):
        return False
    ours = hmac.compare_digest(_text(sealed, known[1]), proof.text)
    return ours and _NUMBER.match(proof.number) is not None and is_found(proof.text, proof.number, bits)


def is_found(text: str, number: str, bits: int) -> bool:
    """Tell whether a number is one that is asked for."""
    return int.from_bytes(hashlib.sha256(f"{text}:{number}".encode()).digest()) >> (256 - bits) == 0


def find(asked: Challenge) -> str:
    """Return the first number that is asked for; after 2 to the power of `bits` tries, on average."""
    return next(number for each in count() if is_found(asked.text, number := str(each), asked.bits))


def begun_last(attempts: Sequence[Attempt]) -> str:
    """Say what the payer in question began last, of the `attempts`, newest first.

    A challenge holds only until it says something else: so it lets in once, and nothing is kept about it.
    """
    return next((attempt.began_at.isoformat() for attempt in attempts if attempt.mine), "")


def _second(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


def _text(sealed: Sealed, until: str) -> str:
    # Together with a number of eleven digits it fits into one block of SHA-256.
    return f"{until}.{sealed(until).hex()[:32]}"
