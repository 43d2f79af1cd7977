"""What is limited, and how much of it."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Whose requests are counted together, and which."""

    KEY = "key"
    """Every request of an API key."""
    STORE = "store"
    """Every request of a store's keys."""
    ADDRESS = "address"
    """Requests for pages, by the network address that they come from."""
    REFUSED = "refused"
    """Requests without a valid key, by address."""
    ISSUED = "issued"
    """Addresses that a store takes from its wallets: for invoices and deposits."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many in so many seconds. None at all: 0 means no limit."""

    most: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there were in a window, and in the one before it. `start` is the window's first second."""

    start: int
    current: int = 0
    previous: int = 0
