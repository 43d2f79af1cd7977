"""What each role may do, what a password must be, how tries are slowed down. Pure: chance and clock are arguments."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta

from kassa.core.ahead import AHEAD
from kassa.core.errors import FieldFault, Invalid
from kassa.people.model import Invitation, Role, Session, Stage

IDLE = timedelta(hours=12)
"""A session that was not used for so long is over."""
LONGEST = timedelta(days=7)
"""No session lasts longer, however much it is used."""
UNFINISHED = timedelta(minutes=10)
"""Within this time a sign-in that was begun must be finished."""
FRESH = timedelta(minutes=10)
"""So long after proving who one is, sensitive things may be changed."""
ANSWERED = timedelta(minutes=5)
"""So long after a passkey was asked for, its answer counts."""
INVITED = timedelta(days=3)
"""A link that nobody used for so long is void."""

FREE_TRIES = {"person": 20, "place": 5, "session": 5, "address": 30, "asks": 60}
"""So many tries in a row cost nothing yet: at an account, at an account from one address, in an open session, from one
address; and so often an address may ask for what a passkey shall sign."""
LONGEST_PAUSE = timedelta(minutes=15)
LONGEST_PAUSE_OF_PERSON = timedelta(minutes=7)
"""Shorter than that of a place: so one address alone leaves gaps in which the person gets in from elsewhere."""
KNOWN = timedelta(days=30)
"""Where somebody signed in so lately, tries from elsewhere do not keep them out."""
FORGOTTEN = timedelta(hours=24)
"""Tries this old play no part any more."""

PASSWORD_LENGTHS = range(12, 257)
RECOVERY_CODES = 10
RECOVERY_BYTES = 10

_ALL = frozenset(Role)
_OFFICE = frozenset({Role.OWNER, Role.ADMIN, Role.ACCOUNTANT})
_DESK = frozenset({Role.OWNER, Role.ADMIN, Role.SUPPORT})
_ADMINS = frozenset({Role.OWNER, Role.ADMIN})
_OWNERS = frozenset({Role.OWNER})

ROLES_WITH: Mapping[str, frozenset[Role]] = {
    "store:read": _ALL,
    "store:write": _ADMINS,
    "invoices:read": _ALL,
    "invoices:write": _DESK,
    "payments:read": _ALL,
    "payments:write": _ADMINS,
    "customers:read": _ALL,
    "customers:write": _DESK,
    "ledger:read": _OFFICE,
    "events:read": _ALL,
    "wallets:read": _OFFICE,
    "wallets:write": _OWNERS,
    "webhooks:read": _DESK,
    "webhooks:write": _ADMINS,
    "audit:read": _ADMINS,
    "alerts:read": _ALL,
    "alerts:write": _DESK,
    "invoices:decide": _ADMINS,
    "customers:decide": _ADMINS,
    "keys:read": _ADMINS,
    "keys:write": _ADMINS,
    "people:read": _ADMINS,
    "people:write": _OWNERS,
}
"""The one table: which roles have a right. The rights are the scopes of the API, and some that no key can have."""
PEOPLE_ONLY = ("invoices:decide", "customers:decide", "keys:read", "keys:write", "people:read", "people:write")
"""What the API does not offer, or (to decide on an invoice, to write off) asks more of a person than of a program."""

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f<>()\[\],;:\\\"]{1,64}@[^\s@\x00-\x1f\x7f<>()\[\],;:\\\"]{1,190}\Z")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MASKED = re.compile(r"[0-9a-f]{128}\Z")
_TOTP = re.compile(r"[0-9]{6}\Z", re.ASCII)


def rights(role: Role) -> frozenset[str]:
    """Return everything that a role may do in its store."""
    return frozenset(right for right, roles in ROLES_WITH.items() if role in roles)


def checked_email(text: str) -> str:
    """Return an address in the one form in which it is kept; raise `Invalid` for what cannot be one."""
    email = unicodedata.normalize("NFKC", text.strip()).lower()
    if not _EMAIL.match(email) or not email.isprintable():
        raise Invalid(FieldFault("email", "is not an e-mail address"))
    return email


def checked_role(text: str) -> Role:
    """Read a role; raise `Invalid` for an unknown one."""
    try:
        return Role(text)
    except ValueError:
        raise Invalid(FieldFault("role", f"must be one of {', '.join(Role)}")) from None


def checked_person_name(text: str) -> str:
    """Return a name without outer blanks, which may be empty; raise `Invalid` for one that cannot be shown."""
    name = text.strip()
    if len(name) > 100 or not name.isprintable():
        raise Invalid(FieldFault("name", "must be at most 100 printable characters"))
    return name


def checked_password(text: str, email: str) -> str:
    """Return a new password in the form in which it is hashed; raise `Invalid` for one that is too easy."""
    password = password_form(text)
    if len(password) not in PASSWORD_LENGTHS:
        raise Invalid(FieldFault("password", f"must have {PASSWORD_LENGTHS[0]} to {PASSWORD_LENGTHS[-1]} characters"))
    name = email.partition("@")[0]
    # A name of a letter or two is in every password.
    if len(set(password)) < 6 or (len(name) > 3 and name in password.lower()):
        raise Invalid(FieldFault("password", "is too easy to guess: use several words, without your name"))
    return password


def password_form(text: str) -> str:
    """Return a password as NFKC (NIST SP 800-63B): the same keys make the same characters on every device."""
    return unicodedata.normalize("NFKC", text[: PASSWORD_LENGTHS[-1] + 1])


def token_hash(token: str) -> bytes:
    """Return what is kept of a random token: it has 256 bits, so a plain SHA-256 needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def csrf_token(token: str) -> str:
    """Return what a form must carry to prove that a page of ours was shown to the browser that holds `token`."""
    return hmac.new(token.encode(), b"kassa csrf", hashlib.sha256).hexdigest()


def masked(token: str, mask: bytes) -> str:
    """Write a form's token under a mask of 32 bytes: packed pages tell none of it (BREACH)."""
    return mask.hex() + _crossed(bytes.fromhex(token), mask).hex()


def unmasked(text: str) -> str:
    """Return the token that `masked` wrote; another text as it is, such as a token without a mask."""
    if not _MASKED.match(text):
        return text
    both = bytes.fromhex(text)
    return _crossed(both[32:], both[:32]).hex()


def _crossed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def recovery_code(secret: bytes) -> str:
    """Write 80 random bits as a code that can be copied by hand: `xxxx-xxxx-xxxx-xxxx`."""
    value, letters = int.from_bytes(secret), []
    for _ in range(16):
        value, digit = divmod(value, 32)
        letters.append(_ALPHABET[digit])
    text = "".join(letters)
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def recovery_hash(text: str) -> bytes | None:
    """Return what is kept of a recovery code, however it was typed; None for what cannot be one."""
    plain = re.sub(r"[\s-]", "", text.lower()).translate(str.maketrans("oil", "011"))
    if len(plain) != 16 or not set(plain) <= set(_ALPHABET):
        return None
    return hashlib.sha256(plain.encode()).digest()


def is_totp(text: str) -> bool:
    """Tell whether a text is shaped like a code of an authenticator app."""
    return _TOTP.match(text) is not None


def pause(tries: int, kind: str) -> timedelta:
    """Return how long after so many wrong tries in a row no further one is looked at."""
    over = tries - FREE_TRIES[kind]
    longest = LONGEST_PAUSE_OF_PERSON if kind == "person" else LONGEST_PAUSE
    return timedelta(0) if over < 0 else min(timedelta(seconds=2 ** min(over, 20)), longest)


def is_alive(session: Session, now: datetime) -> bool:
    """Tell whether a session that was found still holds."""
    return now < session.expires_at and (session.stage is not Stage.OPEN or now < session.last_seen_at + IDLE)


def is_fresh(session: Session, now: datetime) -> bool:
    """Tell whether the person proved who they are so lately that sensitive things may be changed."""
    return session.proven_at is not None and now - FRESH < session.proven_at <= now + AHEAD


def question(session: Session, now: datetime) -> bytes | None:
    """Return what a passkey was asked to sign in a session, while an answer still counts."""
    return session.challenge if session.asked_at is not None and now < session.asked_at + ANSWERED else None


def is_open(invitation: Invitation, now: datetime) -> bool:
    """Tell whether an invitation still lets anybody in."""
    return invitation.used_at is None and invitation.revoked_at is None and now < invitation.expires_at
