"""Acts: what somebody did that matters to safety."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

ActId = NewType("ActId", str)

Shown = Mapping[str, Any]
"""JSON: what a thing looked like, without secrets."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from which network address, where that is known.

    The name is the id of an API key or of a person, `operator NAME` at the command line, or `kassa`.
    """

    name: str
    address: str | None = None


KASSA = Actor("kassa")
"""The program by itself: a halt, a counter that jumps."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act, as it is chained. `kind` is `thing.deed`; `before` and `after` are JSON texts."""

    id: ActId
    at: datetime
    store_id: str | None
    actor: Actor
    kind: str
    subject: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """An act in the chain: its number and the hash that covers it and all before it."""

    number: int
    hash: bytes
    act: Act


@dataclass(frozen=True, slots=True)
class Head:
    """A place in the chain: all up to this number has this hash. Number 0: nothing yet."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


START = Head(0, bytes(32))


@dataclass(frozen=True, slots=True)
class Course:
    """What the log tells of the change of a wallet: where it was asked for, and whether it ended."""

    asked: Head
    ended: bool


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold any more, and how that shows."""

    number: int
    words: str
