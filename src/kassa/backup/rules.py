"""What is decided about backups: which program may read which server, and how many addresses to pass over. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from math import ceil

MARGIN = 20
"""Addresses passed over in any case: what wallets bridge (BIP 44)."""
MOST_ESTIMATED = 1_000_000
"""An estimate above this is not acted on: the operator says how many."""
NAME = re.compile(r"kassa-[0-9]{8}T[0-9]{6}Z\.age")
"""How a backup is called in a folder."""
PARTIAL = ".partial"
"""What follows its name until it is whole and verified."""
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Pace:
    """How many addresses a keychain had issued within the last week and the last day, and for how long it was there."""

    week: int
    day: int
    lived: timedelta


def skipped(pace: Pace, age: timedelta) -> int:
    """Return how many addresses of a keychain may have been issued since a backup that nobody remembers.

    Twice the pace before it, that of the week or of the last day, whichever was faster, rounded up, and a margin: too
    many cost a larger gap in the merchant's wallet, too few would issue an address twice. A keychain that was not there
    for all of the time is judged by what it lived, an hour at the least.
    """
    fastest = max(_per_second(pace.week, pace.lived, WEEK), _per_second(pace.day, pace.lived, DAY))
    return MARGIN + ceil(2 * fastest * max(0, int(age.total_seconds())))


def _per_second(issued: int, lived: timedelta, window: timedelta) -> Fraction:
    return Fraction(issued, int(min(window, max(lived, HOUR)).total_seconds()))


def outdated(names: Iterable[str], keep: int, made: str) -> list[str]:
    """Return the backups of a folder beyond the newest so many, the one just made counted and never among them.

    By the moment in their names; what is called otherwise is not ours.
    """
    others = sorted(name for name in names if NAME.fullmatch(name) and name != made)
    return others[: max(0, len(others) + 1 - keep)]


def unfinished(names: Iterable[str]) -> list[str]:
    """Return what in a folder is a backup that is being written, or was when something ended it."""
    return sorted(name for name in names if name.endswith(PARTIAL) and NAME.fullmatch(name.removesuffix(PARTIAL)))


def chosen(server: int, programs: dict[str, int]) -> str | None:
    """Return the path of the program to use with a server of a major version, among paths with theirs.

    The server's own version, else the oldest newer one: an older pg_dump refuses, and what a newer one writes an older
    pg_restore may not read.
    """
    fit = sorted((major, path) for path, major in programs.items() if major >= server)
    return fit[0][1] if fit else None
