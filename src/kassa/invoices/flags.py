"""Which sets of flags hold one: there are few, so invoices are looked up by the sets."""

from itertools import combinations

from kassa.invoices.model import Flag

Flags = tuple[Flag, ...]
"""In the order in which they are written."""


def sets_with(flag: Flag | None, *, undecided: bool) -> list[Flags]:
    """Return every set that holds a flag, or any; those of invoices that no person decided on alone, if so asked."""
    every = [each for size in range(1, len(Flag) + 1) for each in combinations(Flag, size)]
    return [each for each in every if flag in (None, *each) and not (undecided and Flag.MARKED in each)]


def write_set(flags: Flags) -> str:
    """Write a set as PostgreSQL writes an array."""
    return "{" + ",".join(flags) + "}"
