"""Reads the numbers and moments in answers: exactly, and nothing that is not plainly one."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import TypeVar

import msgspec

from kassa.core.errors import SourceInvalid

T = TypeVar("T")

_NUMBER = re.compile(rb'"?(-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?)"?\Z')
_SECONDS = range(1_000_000_000, 100_000_000_000)  # from 2001 on


def decode(body: bytes, shape: type[T]) -> T:
    """Decode JSON into a shape; raises `SourceInvalid` when the answer has another."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise SourceInvalid(f"the answer has not the known shape: {str(fault)[:200]}") from None


def number(raw: bytes) -> Fraction:
    """Read a JSON number, or a string that holds one, as it is written; raises `SourceInvalid`."""
    text = bytes(raw)
    match = _NUMBER.match(text)
    if match is None:
        raise SourceInvalid(f"{text[:40]!r} is not a number")
    return Fraction(match[1].decode())


def first(raws: Sequence[bytes]) -> Fraction:
    """Read the first of several numbers; raises `SourceInvalid`."""
    if not raws:
        raise SourceInvalid("the answer has not the known shape: a list is empty")
    return number(raws[0])


def moment(raw: bytes, per_second: int = 1) -> datetime:
    """Read a count of seconds since 1970, or of parts of them (rounded down); raises `SourceInvalid`."""
    seconds = number(raw) // per_second
    if seconds not in _SECONDS:
        raise SourceInvalid(f"{bytes(raw)[:40]!r} is not a time")
    return datetime.fromtimestamp(seconds, UTC)


def utc(time: datetime) -> datetime:
    """Bring a moment to UTC; raises `SourceInvalid` for one without a zone, or far from our days."""
    if time.tzinfo is None or not 2001 <= time.year < 5000:
        raise SourceInvalid(f"{time.isoformat()} is not a time with a zone")
    return time.astimezone(UTC)


def middle(bid: Fraction, ask: Fraction) -> Fraction:
    """Return what lies between bid and ask: unlike the last trade, it is as new as the answer."""
    return (bid + ask) / 2
