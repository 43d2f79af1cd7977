"""Whether this process can reach what it need not reach, found out without a word to a stranger."""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress

from kassa.doctor.finding import Finding, Verdict

NOBODY = ("192.0.2.1", "2001:db8::1")
"""Addresses for documents (RFC 5737, RFC 3849): no machine has one, and the way there is the way to the internet."""
CREDENTIALS = ("169.254.169.254", "fd00:ec2::254")
"""Where a cloud's own host answers its machines, with their credentials among the rest."""
TO_THE_INTERNET = frozenset({"up", "work"})
"""The roles that must reach it: webhooks and rates lead anywhere. The others talk to the database and to nodes."""
_DISCARD = 9  # RFC 863
_WAIT_SECONDS = 1


async def look_outside(role: str) -> list[Finding]:
    """Judge what the network lets this process reach, by what its role needs.

    An empty datagram to an address that nobody has either finds a way out, or is refused by this machine: no route, or
    a filter (systemd's IPAddressDeny, a firewall). What a router or firewall further on refuses is not seen. To a
    cloud's host a connection is opened, and nothing is said.
    """
    return [_internet(role, [address for address in NOBODY if _has_way(address)]), _host(await _open(CREDENTIALS))]


def _internet(role: str, found: list[str]) -> Finding:
    if not found:
        lacks = "; webhooks and rates need it" if role in TO_THE_INTERNET else ""
        return Finding("egress", Verdict.OK, f"this machine lets nothing out to the internet from here{lacks}")
    if role in TO_THE_INTERNET:
        detail = "the internet can be reached, as webhooks and rates need; the roles api and watch do not"
        return Finding("egress", Verdict.OK, detail)
    families = " and ".join("IPv6" if ":" in address else "IPv4" for address in found)
    detail = f"the internet can be reached over {families}, which the role {role} does not need"
    return Finding("egress", Verdict.WARN, detail, "bound it: docs/operations.md, “Where they may connect to”")


def _host(found: list[str]) -> Finding:
    if not found:
        return Finding("cloud credentials", Verdict.OK, "no host that hands them out answers here")
    remedy = "deny link-local addresses to Kassa, as ops/systemd does: no role of it asks there"
    return Finding("cloud credentials", Verdict.WARN, f"{', '.join(found)} answers this process", remedy)


def _has_way(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.setblocking(False)
            way.connect((address, _DISCARD))
            way.send(b"")  # a filter lets the connection be prepared, and refuses the datagram
    except OSError:
        return False
    return True


async def _open(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if await _answers(address)]


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            _, writer = await asyncio.open_connection(address, 80)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
