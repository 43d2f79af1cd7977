"""What an API key looks like and whether it opens anything. Pure: the random bits come in as an argument."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from kassa.core.errors import FieldFault, Invalid
from kassa.limits.rules import Network, parse_ip
from kassa.stores.model import SCOPES, ApiKey

SECRET_BYTES = 32  # 256 bits: nothing to guess, so a plain SHA-256 needs no salt and no slow hash
MAX_NAME = 200
MAX_SPREAD_PPM = 500_000
MAX_NETWORKS = 32

_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?\Z")
_KEY = re.compile(r"kassa_(?:live|test)_[0-9a-zA-Z]{43}\Z")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def key_text(livemode: bool, secret: bytes) -> str:
    """Write 32 random bytes as `kassa_live_…` or `kassa_test_…`: 43 letters and digits."""
    value, digits = int.from_bytes(secret), []
    for _ in range(43):  # 62**43 > 2**256
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return f"kassa_{'live' if livemode else 'test'}_{''.join(reversed(digits))}"


def key_hash(text: str) -> bytes | None:
    """Return what is stored of a key (SHA-256), or None for a text that no key can be."""
    return hashlib.sha256(text.encode()).digest() if _KEY.match(text) else None


def opens(key: ApiKey, now: datetime) -> bool:
    """Tell whether a key that was found opens anything now."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def is_allowed(key: ApiKey, address: str | None) -> bool:
    """Tell whether a key may be used from an IP address; one that is not known is in no network."""
    return not key.allowed_from or _is_within(key.allowed_from, address)


def checked_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return IP networks and single addresses in their one form: `10.0.0.0/8`, `203.0.113.7`, `2001:db8::/32`.

    Raises `Invalid` for what is none or names another network than it means, for repeats, and for too many.
    """
    found: list[str] = []
    for text in texts:
        network = _written(_network(text.strip()))
        if network in found:
            raise _fault(f"{network} is there twice")
        found.append(network)
        if len(found) > MAX_NETWORKS:
            raise _fault(f"these are more than {MAX_NETWORKS} networks: name a larger one that holds several of them")
    return tuple(found)


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return known scopes in their order, without repeats; raise `Invalid` for an unknown one or for none at all."""
    asked = set(scopes)
    if unknown := sorted(asked - set(SCOPES)):
        raise Invalid(FieldFault("scopes", f"{unknown[0][:40]!r} is not a scope; known are {', '.join(SCOPES)}"))
    if not asked:
        raise Invalid(FieldFault("scopes", "name at least one scope"))
    return tuple(scope for scope in SCOPES if scope in asked)


def checked_name(name: str) -> str:
    """Return a store's name without outer blanks; raise `Invalid` when nothing printable of fitting length is left."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > MAX_NAME or not trimmed.isprintable():
        raise Invalid(FieldFault("name", f"must be 1 to {MAX_NAME} printable characters"))
    return trimmed


def _network(text: str) -> Network:
    shown = repr(text[:60])
    if "%" in text:
        raise _fault(f"{shown} has a zone, which only one machine knows: leave out what begins with %")
    try:
        if not _NETWORK.match(text):
            raise ValueError
        given = ipaddress.ip_interface(text)
    except ValueError:
        raise _fault(
            f"{shown} is no IP address and no network such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    if given.ip != given.network.network_address:
        raise _fault(f"{shown} is one address within a network: write {given.network} or {given.ip}")
    return _unmapped(given.network)


def _unmapped(network: Network) -> Network:
    # Callers are never known by ::ffff:1.2.3.4, see `parse_ip`.
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def _written(network: Network) -> str:
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _fault(message: str) -> Invalid:
    return Invalid(FieldFault("allowed_from", message))


@lru_cache(maxsize=10_000)
def _is_within(networks: tuple[str, ...], address: str | None) -> bool:
    found = parse_ip(address or "")
    return found is not None and any(found in network for network in _parsed(networks))


@lru_cache(maxsize=1_000)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, networks))
