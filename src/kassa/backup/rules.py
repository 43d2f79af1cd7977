"""What is decided about backups: which program may read which server, and how many addresses to pass over. Pure."""

from datetime import timedelta
from fractions import Fraction

MARGIN = 20
"""Addresses passed over in any case: what wallets bridge (BIP 44)."""
MOST_SKIPPED = 10_000
WEEK = timedelta(days=7)


def skipped(issued_in_week: int, age: timedelta) -> int:
    """Return how many addresses of a keychain may have been issued since a backup that nobody remembers.

    Twice the pace of the week before it, rounded up, and a margin: too many cost a larger gap in the merchant's wallet,
    too few would issue an address twice.
    """
    pace = Fraction(2 * issued_in_week * max(0, int(age.total_seconds())), int(WEEK.total_seconds()))
    return min(MOST_SKIPPED, MARGIN + -(-pace.numerator // pace.denominator))


def chosen(server: int, programs: dict[str, int]) -> str | None:
    """Return the path of the program to use with a server of a major version, among paths with theirs.

    The server's own version, else the oldest newer one: an older pg_dump refuses, and what a newer one writes an older
    pg_restore may not read.
    """
    fit = sorted((major, path) for path, major in programs.items() if major >= server)
    return fit[0][1] if fit else None
