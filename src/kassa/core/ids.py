"""Ids: a prefix that names the kind, then 48 bits of time and 96 random bits, sortable as text.

This is the layout of a UUIDv7 (RFC 9562) widened to 144 bits, because a public invoice id must carry at least 96
random bits and a UUIDv7 carries 74. Written in Crockford's base 32 (lower case), whose alphabet sorts like its values.
"""

import re
from datetime import datetime
from os import urandom
from typing import NewType

StoreId = NewType("StoreId", str)
KeyId = NewType("KeyId", str)
WalletId = NewType("WalletId", str)
AddressId = NewType("AddressId", str)
InvoiceId = NewType("InvoiceId", str)
PaymentId = NewType("PaymentId", str)
CustomerId = NewType("CustomerId", str)
SpendId = NewType("SpendId", str)
EventId = NewType("EventId", str)
WebhookId = NewType("WebhookId", str)
DeliveryId = NewType("DeliveryId", str)
AlertId = NewType("AlertId", str)
LinkId = NewType("LinkId", str)
PersonId = NewType("PersonId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(r"[a-z]{3}_[0-9a-hjkmnp-tv-z]{29}\Z")
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


def new_id(prefix: str, now: datetime) -> str:
    """Make an id such as `inv_…`: ids made later (by at least 1 ms) sort after ids made earlier."""
    value = (int(now.timestamp() * 1000) << 96) | int.from_bytes(urandom(12))
    return f"{prefix}_{_base32(value)}"


def first_id(prefix: str, moment: datetime) -> str:
    """Return what sorts before every id that is made from a moment on, and after those made before."""
    return f"{prefix}_{_base32(int(moment.timestamp() * 1000) << 96)}"


def is_id(prefix: str, text: str) -> bool:
    """Tell whether `text` is shaped like an id of this kind. A shape is not existence."""
    return text.startswith(prefix + "_") and _PATTERN.match(text) is not None


def _base32(value: int) -> str:
    # Ten bits at a time: half the steps, and ids are made several times for every invoice.
    return _ALPHABET[value >> 140] + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(130, -1, -10)])
