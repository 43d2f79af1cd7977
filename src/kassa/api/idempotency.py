"""`Idempotency-Key`: the work is done once, its answer kept in the same transaction and given again byte for byte."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kassa.api.endpoint import Call
from kassa.api.reply import Reply
from kassa.core.errors import Conflict, FieldFault, Invalid, Rejected
from kassa.stores.store import Answer, Kept, recall

WAIT_SECONDS = 5

_KEY = re.compile(rb"[\x20-\x7e]{1,255}\Z")
_IN_PROGRESS = "idempotency_in_progress"


class Repeats:
    """Recognises repeated requests.

    What was done is known by the database alone. The set of running requests of this process only spares the second of
    two equal ones its work (an address index, for one) while it waits for the first.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], asyncio.Event] = {}

    async def answer(
        self,
        call: Call,
        key: str,
        fingerprint: bytes,
        work: Callable[[Callable[[Reply], Kept]], Awaitable[Reply]],
    ) -> Reply:
        """Give the kept answer, or do `work`, which keeps its own as the function that it is handed makes of it.

        Raises `Invalid` (`idempotency_key_reused`) for a key that was used for something else, `Conflict`
        (`idempotency_in_progress`) when the first request is still running after a while.
        """
        database, store_id = call.house.database, call.store.id

        def keep(reply: Reply) -> Kept:
            return Kept(store_id, key, Answer(fingerprint, reply.status, reply.body), call.now)

        async with self._alone(store_id, key):
            if kept := await database.ask(recall, (store_id, key)):
                return _again(kept, fingerprint)
            try:
                return await work(keep)
            except Rejected:
                # Another process may have committed this key first. Our own work was rolled back, or was refused for
                # the very reason that it is done: an invoice that was just paid cannot be paid.
                if kept := await database.ask(recall, (store_id, key)):
                    return _again(kept, fingerprint)
                raise

    @asynccontextmanager
    async def _alone(self, store_id: str, key: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while running := self._running.get((store_id, key)):
                    await running.wait()
        except TimeoutError:
            raise Conflict("a request with this Idempotency-Key is running; send it again", code=_IN_PROGRESS) from None
        done = self._running[store_id, key] = asyncio.Event()
        try:
            yield
        finally:
            del self._running[store_id, key]
            done.set()


def read_key(header: bytes | None) -> str | None:
    """Return an `Idempotency-Key`; raise `Invalid` unless it is 1 to 255 printable ASCII characters."""
    if header is None:
        return None
    if not _KEY.match(header):
        raise Invalid(FieldFault("Idempotency-Key", "must be 1 to 255 printable ASCII characters"))
    return header.decode("ascii")


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """Return what tells one request from another: the endpoint and the body, byte for byte."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


def _again(kept: Answer, asked: bytes) -> Reply:
    if kept.request_hash != asked:
        raise Invalid(
            FieldFault("Idempotency-Key", "was used for another request; use a new one"), code="idempotency_key_reused"
        )
    return Reply(kept.status, kept.body, headers=((b"idempotent-replayed", b"true"),))
