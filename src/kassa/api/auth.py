"""Who is asking: Bearer keys and scopes, and nothing else. No password, no Basic, no cookie ever opens this API."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

import kassa.audit.store as audit
from kassa.audit.model import Actor
from kassa.core.errors import Forbidden, Unauthorized
from kassa.core.ids import KeyId
from kassa.db.faults import DATABASE_AWAY
from kassa.db.pool import Database
from kassa.stores.model import SCOPES, ApiKey
from kassa.stores.rules import is_allowed, key_hash, opens
from kassa.stores.store import Receiver, find_keys, find_receivers, note_use, read_receivers
from kassa.wallets.store import Receiving

log = structlog.get_logger()

PUBLIC = "public"
ANY_KEY = "any key"
ACCESSES = frozenset({PUBLIC, ANY_KEY, *SCOPES})

_REFUSED = "send a valid API key as `Authorization: Bearer kassa_…`"
_ELSEWHERE = (
    "this key may not be used from {}, where Kassa sees this request come from: send it from one of the networks that"
    " the key is bound to, or have those changed in the dashboard or by `kassa key bind KEY`; if that address is a"
    " proxy's, name the proxy in http.trusted_proxies"
)
_NOTE_EVERY = timedelta(minutes=1)
_TELL_EVERY = timedelta(hours=1)
GUESSED_FOR = timedelta(seconds=5)
_GUESSES = 1_000  # keys, a few kilobytes each


async def authenticate(database: Database, authorization: bytes | None, now: datetime) -> ApiKey:
    """Return the key that a request carries. Unknown, expired and revoked keys are refused with the same words."""
    hashed = _hash_in(authorization)
    return _opened(None if hashed is None else await database.ask(find_keys, hashed), now)


async def authenticate_receiver(
    database: Database, authorization: bytes | None, now: datetime
) -> tuple[ApiKey, Sequence[Receiving]]:
    """Return the key that a request carries, as `authenticate` does, and what its store can take."""
    hashed = _hash_in(authorization)
    key, receiving = (None if hashed is None else await database.ask(find_receivers, hashed)) or (None, ())
    return _opened(key, now), receiving


class Receivers:
    """What was last read of the keys that make invoices, so that who makes the next one need not ask first.

    It is a guess and no more: the statement that writes the invoice compares the reading, and nobody is refused before
    it was compared. So a key that was revoked, or a network that was halted, makes no invoice from that moment on.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[bytes, tuple[datetime, Receiver]] = OrderedDict()

    def guess(self, authorization: bytes | None, now: datetime) -> Receiver | None:
        """Return what was read of a request's key some seconds ago, if it was."""
        hashed = _hash_in(authorization)
        known = None if hashed is None else self._known.get(hashed)
        if known is None or not timedelta() <= now - known[0] < GUESSED_FOR or not opens(known[1].key, now):
            return None
        return known[1]

    async def read(self, authorization: bytes | None, now: datetime) -> Receiver:
        """Read a request's key and what its store can take; refused as by `authenticate`."""
        hashed = _hash_in(authorization)
        read = None if hashed is None else await self._database.ask(read_receivers, hashed)
        _opened(None if read is None else read.key, now)
        assert read is not None
        self._known[read.reading.hash] = now, read
        self._known.move_to_end(read.reading.hash)
        if len(self._known) > _GUESSES:
            self._known.popitem(last=False)
        return read


def authorize(scopes: Collection[str], access: str) -> None:
    """Raise `Forbidden` unless the scope is among those of whoever asks; an access that is not known opens nothing."""
    if access != ANY_KEY and access not in scopes:
        raise Forbidden(f"this key lacks the scope {access}")


def check_address(key: ApiKey, address: str | None) -> None:
    """Raise `Forbidden` (`address_not_allowed`) for a key that is not to be used from an IP address."""
    if not is_allowed(key, address):
        raise Forbidden(_ELSEWHERE.format(address or "an address that is not known"), code="address_not_allowed")


class Uses:
    """Collects which keys were used, and writes it down apart from the requests: at most once a minute for each.

    A key that was tried from where it is not to be used is told of in the audit log, at most once an hour for each.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[KeyId, datetime] = {}
        self._refused: dict[KeyId, tuple[ApiKey, str | None, datetime]] = {}
        self._told: dict[KeyId, datetime] = {}

    def note(self, key: ApiKey, now: datetime) -> None:
        """Remember that a key was used now, unless that was written within the last minute."""
        if key.last_used_at is None or now - key.last_used_at > _NOTE_EVERY:
            self._waiting[key.id] = now

    def note_refusal(self, key: ApiKey, address: str | None, now: datetime) -> None:
        """Remember that a key was refused for where it came from, unless that was told within the last hour."""
        told = self._told.get(key.id)
        if told is None or now - told > _TELL_EVERY:
            self._told[key.id] = now
            self._refused[key.id] = key, address, now

    async def write(self) -> None:
        """Write what was noted; a failure loses a note of use, never a request."""
        for key, address, at in list(self._refused.values()):
            await _tell(self._database, key, address, at)
            del self._refused[key.id]
        if self._waiting:
            noted, self._waiting = self._waiting, {}
            await note_use(self._database.pool, list(noted), max(noted.values()))

    @asynccontextmanager
    async def writing(self, seconds: float = 2) -> AsyncIterator[None]:
        """Write every few seconds while the block runs."""
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self._loop(seconds))
            try:
                yield
            finally:
                loop.cancel()

    async def _loop(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.write()
            except DATABASE_AWAY as error:
                log.warning("the use of API keys could not be noted", error=type(error).__name__)


async def _tell(database: Database, key: ApiKey, address: str | None, at: datetime) -> None:
    by = Actor(key.id, address)
    await database.run(lambda tx: audit.record(tx, by, "api_key.refused", key.id, at, store_id=key.store.id))


def _hash_in(authorization: bytes | None) -> bytes | None:
    scheme, _, text = (authorization or b"").decode("latin-1").partition(" ")
    return key_hash(text.strip()) if scheme.lower() == "bearer" else None


def _opened(key: ApiKey | None, now: datetime) -> ApiKey:
    if key is None or not opens(key, now):
        raise Unauthorized(_REFUSED)
    return key
