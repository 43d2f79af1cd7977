"""What is sent where and when: event filters, receivers' URLs and addresses, signatures, the retry schedule. Pure."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from kassa.core.errors import FieldFault, Invalid
from kassa.core.secret import Secret
from kassa.events.model import TYPES
from kassa.webhooks.model import Delivered, GaveUp, Gone, Outcome, RetryAt

MAX_URL = 2000
MAX_FILTERS = 100
MAX_ENDPOINTS = 100
ROTATION = timedelta(hours=24)
"""How long the secret before the present one still signs."""
GIVE_UP_AFTER = timedelta(hours=72)
HOLD_ATTEMPTS: Final = 4
"""Up to this many failed attempts of an event hold back the later events of the same invoice."""
PAUSES: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 21600, 28800)
"""Seconds before the second, third, … attempt, before jitter; the last one repeats until 72 h are over."""
LONGEST_WAITS: Final = tuple(max(seconds, PAUSES[HOLD_ATTEMPTS - 1]) * 6 // 5 for seconds in (0, *PAUSES))
"""Seconds after which a delivery that failed 0, 1, … times is tried again at the latest; it may wait for another's."""
EXCERPT_BYTES = 1024

_SCHEME: Final = "whsec_"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:[/?][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z", re.IGNORECASE | re.ASCII)
_COMING = re.compile(r"(?:refund|payout)\.[a-z_]{1,40}\Z")  # event types whose full names are not fixed yet
# RFC 6761, RFC 6762, ICANN's name for private use, and what clouds and home routers answer to.
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa")
# IANA's special-purpose registries (RFC 6890) in full: what Python's own tables call global changes with its version.
# Besides: multicast, 6to4 and its relays (they carry any IPv4 address inside), and the one public address at which a
# cloud answers as the machine's host (168.63.129.16).
_DENIED: Final = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_GLOBAL_IPV6 = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


def takes(filters: Iterable[str], event_type: str) -> bool:
    """Tell whether an endpoint with these filters gets this type: `*`, the type itself, or `family.*`."""
    return any(each in ("*", event_type, event_type.partition(".")[0] + ".*") for each in filters)


def check_filters(filters: Sequence[str]) -> tuple[str, ...]:
    """Return the filters without repeats; raises `Invalid` for one that could never match."""
    families = {kind.partition(".")[0] + ".*" for kind in TYPES} | {"customer.*", "refund.*", "payout.*"}
    known = TYPES | families | {"*", "customer.credited"}
    faults = [
        FieldFault(
            f"events.{place}", f"{each[:80]!r} is no event type; use one of the list, a family such as invoice.*, or *"
        )
        for place, each in enumerate(filters)
        if each not in known and not _COMING.match(each)
    ]
    if not filters:
        faults = [FieldFault("events", 'name at least one event type, or ["*"] for all')]
    if len(filters) > MAX_FILTERS:
        faults = [FieldFault("events", f"at most {MAX_FILTERS} event types")]
    if faults:
        raise Invalid(*faults)
    return tuple(dict.fromkeys(filters))


def check_url(url: str, *, private: bool, field: str = "url") -> str:
    """Return the URL if a receiver may have it, else raise `Invalid`. `private`: local addresses, ports and http too.

    Names are not resolved here: each connection checks the addresses it is about to use.
    """
    if fault := _url_fault(url, private):
        raise Invalid(FieldFault(field, fault))
    return url


def _url_fault(url: str, private: bool) -> str | None:
    if len(url) > MAX_URL:
        return f"longer than {MAX_URL} characters"
    if "@" in url.partition("//")[2].partition("/")[0]:
        return "must not carry credentials; the signature tells your receiver who is calling"
    parts = _URL.fullmatch(url)
    if parts is None or "#" in url or "\\" in url:
        return (
            "must be an absolute https URL in printable ASCII (international host names as xn--…), without a fragment"
        )
    if private:
        return None if _port(parts["port"]) else "the port must be between 1 and 65535"
    if parts["scheme"].lower() != "https":
        return "must be https"
    if parts["port"] is not None and int(parts["port"]) not in (80, 443):
        return "only ports 443 and 80 are allowed"
    return _host_fault(parts["host"].lower())


def _port(text: str | None) -> bool:
    return text is None or 1 <= int(text) <= 65535


def _host_fault(host: str) -> str | None:
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return None if is_public(ip_address(bare)) else "points to an address that is not on the public internet"
    except ValueError:
        if bare != host:
            return "is not an IPv6 address between the brackets"
    name = host.removesuffix(".")
    labels = name.split(".")
    # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses (WHATWG URL, "ends in a number").
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        return "is a number that is not a dotted IPv4 address"
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        return "has a host that is not a domain name"
    if len(labels) == 1 or any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES):
        return "has a host that is a local name, not one of the public internet"
    return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the public internet: global unicast, and no wrapping of another address.

    NAT64 (RFC 6052) stands for the IPv4 address inside, because on an IPv6-only machine every IPv4 receiver looks so.
    """
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_IPV6:  # also ::ffff:0:0/96, ::/96, fe80::/10, fc00::/7, fec0::/10, ff00::/8
            return False
    return not any(address in network for network in _DENIED if network.version == address.version)


def make_secret(random: bytes) -> str:
    """Write a signing secret of 24 to 64 random bytes as the Standard Webhooks specification does."""
    return _SCHEME + base64.b64encode(random).decode()


def check_secret(secret: str) -> str:
    """Return a secret that a merchant brought; raises `Invalid` unless it is `whsec_` and base64 of 24 to 64 bytes."""
    try:
        size = len(_key(secret)) if secret.startswith(_SCHEME) else 0
    except (binascii.Error, ValueError):
        size = 0
    if not 24 <= size <= 64:
        raise Invalid(
            FieldFault("secret", "must be whsec_ followed by base64 of 24 to 64 random bytes; leave it out to get one")
        )
    return secret


def sign(secrets: Sequence[Secret], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header: one signature for each live secret (Standard Webhooks, symmetric `v1`)."""
    text = f"{message_id}.{timestamp}.".encode() + body
    signed = (hmac.new(_key(secret.reveal()), text, hashlib.sha256).digest() for secret in secrets)
    return " ".join("v1," + base64.b64encode(each).decode() for each in signed)


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_SCHEME), validate=True)


def outcome(status_code: int | None, made: int, created_at: datetime, now: datetime, jitter: Fraction) -> Outcome:
    """Decide after attempt number `made` (from 1) what becomes of a delivery.

    `jitter` is a share in [0, 1): the pause is between 80 % and 120 % of the planned one, so that those who failed
    together do not come back together.
    """
    if status_code is not None and 200 <= status_code < 300:
        return Delivered()
    if status_code == 410:
        return Gone()
    planned = PAUSES[min(made, len(PAUSES)) - 1]
    at = now + timedelta(milliseconds=int(planned * (800 + 400 * jitter)))
    # The last attempt is made when 72 h are over, not given up some hours before.
    last = created_at + GIVE_UP_AFTER
    if now >= last:
        return GaveUp()
    return RetryAt(min(at, last))


def holds_back(made: int) -> bool:
    """Tell whether a delivery that failed `made` times keeps the invoice's later ones waiting for its next attempt.

    Order matters while a receiver stumbles; after that, one event that a receiver never takes must not hide the rest.
    """
    return made <= HOLD_ATTEMPTS


def excerpt(body: bytes) -> str:
    """Return the start of a response as harmless text of at most 1 KiB: control and unprintable characters as `·`."""
    text = body[:EXCERPT_BYTES].decode("utf-8", "replace")
    clean = "".join(each if each.isprintable() or each == "\n" else "·" for each in text)
    return clean.encode()[:EXCERPT_BYTES].decode("utf-8", "ignore")
