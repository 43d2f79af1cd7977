"""Whether there is room for one more request. Pure; seconds are whole seconds since 1970."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from kassa.core.ahead import AHEAD
from kassa.limits.model import Kind, Limit, Tally

MOST_ISSUED = 20_000
"""Addresses that a live store takes in an hour unless the settings say otherwise: five a second, all the time."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Room = tuple[Kind, bool]
"""What is counted side by side: the subjects of one kind, IPv6 networks apart from all others."""


def rolled(tally: Tally, limit: Limit, now: int) -> Tally:
    """Return a tally as it stands in the window of `now`."""
    start = now - now % limit.seconds
    if is_ahead(tally.start, now):
        return Tally(start)
    if start <= tally.start:  # a clock that was set back a little counts on in the window it has reached
        return tally
    return Tally(start, 0, tally.current if start - tally.start == limit.seconds else 0)


def is_ahead(start: int, now: int) -> bool:
    """Tell whether a window was counted by a clock that was ahead: nobody waits until it comes."""
    return start > now + AHEAD.total_seconds()


def wait_seconds(tally: Tally, limit: Limit, now: int) -> int:
    """Return after how many seconds one more may come; 0: now.

    The window slides: of the one before counts the share that is still within `limit.seconds`. So no moment sees more
    than the limit around the turn of two windows, and nobody waits longer than two of them.
    """
    if limit.most == 0:
        return 0
    left = limit.seconds - (now - tally.start)
    room = limit.most - tally.current
    if room > 0:
        return 0 if tally.previous * left < room * limit.seconds else _decay(tally.previous, room, limit, left)
    # This window is full: in the next one it counts as the one before, and fades.
    return max(left, 0) + _decay(tally.current, limit.most, limit, limit.seconds)


def _decay(previous: int, room: int, limit: Limit, left: int) -> int:
    # Until previous * left' < room * seconds.
    return max(1, left - (room * limit.seconds - 1) // previous)


@lru_cache(maxsize=10_000)
def bucket(address: str | None, prefix: int = 64) -> str | None:
    """Return what an address is counted as: an IPv6 one by its /64 at least, which one subscriber has.

    None: not counted, as this machine's own, which is everybody behind a proxy that was not named, and what is none.
    """
    parsed = parse_ip(address or "")
    if parsed is None or parsed.is_loopback:
        return None
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, prefix), strict=False))


def room_of(kind: Kind, subject: str) -> Room:
    """Return where a subject is counted: whoever has a million IPv6 networks can crowd out nobody on IPv4."""
    return kind, ":" in subject


def caller(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the address that a request comes from.

    `forwarded` are the entries of X-Forwarded-For in their order. Only what a trusted proxy wrote is believed: read
    from the end, the first address that is no proxy of ours is the caller's.
    """
    at = peer
    for entry in reversed(forwarded):
        if not _is_trusted(at, tuple(trusted)):
            return at
        found = parse_ip(_without_port(entry.strip()))
        if found is None:
            return at  # a proxy of ours wrote nothing that can be read: it stands for its caller
        at = str(found)
    return at


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address without its zone; one of IPv4 within IPv6 (RFC 4291, 2.5.5.2) is the one of IPv4."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=10_000)
def _is_trusted(address: str | None, trusted: tuple[Network, ...]) -> bool:
    parsed = parse_ip(address or "")
    return parsed is not None and any(parsed.version == net.version and parsed in net for net in trusted)


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
