"""JSON-RPC 2.0 as text: what asks, what answers, and the two shapes that an answer has."""

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from kassa.core.errors import ChainUnavailable

T = TypeVar("T")

DEPTH = 5_000
"""How deep an answer may be nested: calls between contracts, which a trace nests twice each, go 1,024 deep."""

Call = tuple[str, Sequence[object]]
"""A method and its parameters."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The node's own refusal of one call: its error code and message."""

    code: int
    message: str


class TooMuch(ChainUnavailable):
    """The node, a gateway before it or our own limit refuses a request for its size: ask for less."""


class TooOften(TooMuch):
    """We ask more often than the node allows: wait, for `seconds` if it named them (else 0), before asking again."""

    def __init__(self, message: str, seconds: float = 0) -> None:
        super().__init__(message)
        self.seconds = seconds


class BrokenOff(ChainUnavailable):
    """The node was there, and its connection ended before it had answered, each time: ask for less, or again."""


class TooLarge(TooMuch):
    """An answer is larger than the node says, or we take, at once: that of a single call will never be smaller."""


class Error(msgspec.Struct):
    """The error of an answer."""

    code: int
    message: str = ""


class Answer(msgspec.Struct):
    """One answer; `id` is the number of the call in its request."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None


class Read(msgspec.Struct, Generic[T]):
    """One answer whose result was read together with it."""

    id: int | str | None = None
    result: T | None = None
    error: Error | None = None


class Notice(msgspec.Struct):
    """What a node says without being asked."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")


_encode = msgspec.json.Encoder().encode
_one = msgspec.json.Decoder(Answer)
_many = msgspec.json.Decoder(list[Answer])
_notice = msgspec.json.Decoder(Notice)


def request(calls: Sequence[Call], first: int = 0) -> bytes:
    """Write calls as one request, numbered from `first`."""
    items = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for number, (method, params) in enumerate(calls, first)
    ]
    # A single call goes out bare: some nodes and gateways know no batches.
    return _encode(items if len(items) > 1 else items[0])


def answers(body: bytes) -> list[Answer] | None:
    """Read the answers to a request; None for what is none."""
    try:
        return decode(_many, body) if body[:1] == b"[" else [decode(_one, body)]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def read_answers(body: bytes, result: Hashable) -> list[Read[Any]] | None:
    """Read the answers to several calls with their results, a type; None unless every one is of it, null or an error.

    Then `answers` leaves each as text, and whoever reads it says what is wrong with it.
    """
    try:
        return decode(_reading(result), body) if body[:1] == b"[" else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


@cache
def _reading(result: Hashable) -> msgspec.json.Decoder[list[Read[Any]]]:
    return msgspec.json.Decoder(list[Read[result]])  # type: ignore[valid-type]  # a type, known when it runs


def decode(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    """Decode what may be nested deeper than Python's own code ever is; raises what the decoder raises."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, DEPTH))
    try:
        return decoder.decode(text)
    finally:
        sys.setrecursionlimit(usual)


def notice(body: bytes) -> Notice | None:
    """Read a notice; None for what is none."""
    try:
        return _notice.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
