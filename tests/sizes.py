"""How large a named fault is played: small enough for every day, or as large as it was written (`make catalogue`)."""

import os

FULL = os.environ.get("CATALOGUE", "") not in ("", "0")
"""Whether faults are played in the catalogue's own sizes, which takes some of them many minutes."""


def size(usual: int, full: int) -> int:
    """Return how many there are to be: the `usual` number, or what the catalogue asks for."""
    return full if FULL else usual
