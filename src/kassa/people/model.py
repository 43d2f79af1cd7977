"""A person, their roles in stores, and what they prove themselves by."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kassa.core.ids import PersonId, StoreId


class Role(StrEnum):
    """What a person is in a store; what that allows is the table in `rules`."""

    OWNER = "owner"
    ADMIN = "admin"
    ACCOUNTANT = "accountant"
    SUPPORT = "support"
    VIEWER = "viewer"


class Stage(StrEnum):
    """How far a session has come. Only an open one opens anything."""

    PASSKEY = "passkey"
    CODE = "code"
    ENROL = "enrol"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in. The secrets stay in the database."""

    id: PersonId
    email: str
    name: str
    has_password: bool
    has_totp: bool
    passkeys: int

    @property
    def called(self) -> str:
        return self.name or self.email

    @property
    def has_second_factor(self) -> bool:
        return self.has_totp or self.passkeys > 0


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that signed in, or is about to. `person` is None while only a passkey could tell who it is."""

    id: str
    stage: Stage
    person: Person | None
    roles: Mapping[StoreId, Role]
    challenge: bytes | None
    asked_at: datetime | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    proven_at: datetime | None
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that was ended: how far it had come, when it began, and from where it was used last."""

    id: str
    stage: Stage
    created_at: datetime
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a person's password and codes are checked against."""

    id: PersonId
    password_hash: str | None
    totp_secret: str | None


@dataclass(frozen=True, slots=True)
class Passkey:
    """A public key that an authenticator made for a person."""

    id: str
    person: PersonId
    credential: str
    public_key: bytes
    sign_count: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """A person's place in a store."""

    person: PersonId
    email: str
    name: str
    role: Role
    added_at: datetime
    second_factor: bool
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link that lets somebody in once; without a store it lets a known person in again.

    `voids`: then what they proved themselves by is void, for they lost it.
    """

    id: str
    email: str
    store: StoreId | None
    role: Role | None
    made_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    voids: bool
