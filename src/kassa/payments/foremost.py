"""Which of many payments are shown where there is no room for all of them. Pure."""

from collections.abc import Sequence


def foremost(payments: Sequence[tuple[bool, int]], most: int) -> list[int]:
    """Return the places of so many payments at most, in ascending order.

    Each is told by whether it counts and what it is worth, in the order in which they came. Those that count go before
    the dead ones, then the larger before the smaller, then the earlier before the later.
    """
    ranked = sorted(range(len(payments)), key=lambda place: (not payments[place][0], -payments[place][1], place))
    return sorted(ranked[:most])
