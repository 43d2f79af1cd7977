"""The way of one request through an endpoint: who, what, whether it was asked before, the work, the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from litestar.types import Receive, Scope

from kassa.api.auth import ANY_KEY, Receivers, Uses, authenticate, authenticate_receiver, authorize, check_address
from kassa.api.endpoint import Call, Endpoint
from kassa.api.errors import from_away, from_rejection
from kassa.api.idempotency import Repeats, fingerprint, read_key
from kassa.api.incoming import Body, decode_body, decode_query, read_headers
from kassa.api.reply import Reply, json_reply
from kassa.core.errors import Forbidden, NotFound, Outdated, Rejected, Unauthorized
from kassa.core.ids import is_id
from kassa.db.faults import DATABASE_AWAY
from kassa.db.pool import Tx
from kassa.house import House
from kassa.limits.model import Kind
from kassa.limits.rules import bucket
from kassa.stores.model import ApiKey
from kassa.stores.rules import is_allowed, opens
from kassa.stores.store import Kept, Reading, Receiver, remember

ANSWER_SECONDS = 15
"""Within this time a caller gets an answer, whatever the database does."""

Serve = Callable[[Scope, Receive], Awaitable[Reply]]
Keep = Callable[[Reply], Kept]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an endpoint: the raw query, and a body that is read when its turn comes."""

    endpoint: Endpoint
    decoder: "msgspec.json.Decoder[Any]"
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    read: Callable[[], Awaitable[bytes]]
    repeat: str | None


class _Nothing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The body of a call that takes none: no body at all, or an empty object."""


def body_decoder(endpoint: Endpoint) -> "msgspec.json.Decoder[Any]":
    """Return what decodes the bodies of an endpoint."""
    return msgspec.json.Decoder(endpoint.body or _Nothing)


class Desk:
    """Serves endpoints. Nothing here outlives a request but notes that may be lost."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.uses = Uses(house.database)
        self.repeats = Repeats()
        self._receivers = Receivers(house.database)

    def server(self, endpoint: Endpoint) -> Serve:
        """Make the function that serves an endpoint."""
        decoder = body_decoder(endpoint)

        def serve(scope: Scope, receive: Receive) -> Awaitable[Reply]:
            return _bounded(self._serve(endpoint, decoder, scope, receive))

        return serve

    async def show(self, scope: Scope, reply: Reply) -> Reply:
        """Give a ready answer to whoever has a key."""

        async def check() -> Reply:
            await self._admit(scope, read_headers(scope["headers"]), ANY_KEY)
            return reply

        return await _bounded(check())

    async def ask(self, asked: "Asked", call: Call, rights: frozenset[str]) -> Reply:
        """Carry out an endpoint for a person, exactly as for a key that has these rights; raises `Rejected`."""
        authorize(rights, asked.endpoint.access)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._carry_out(asked, call)

    async def _serve(
        self, endpoint: Endpoint, decoder: "msgspec.json.Decoder[Any]", scope: Scope, receive: Receive
    ) -> Reply:
        headers = read_headers(scope["headers"])
        body = Body(headers, receive)
        if endpoint.receiving and b"idempotency-key" not in headers:
            asked = Asked(endpoint, decoder, scope["path"], scope["query_string"], headers, body, None)
            return await self._receive(scope, asked, body)
        call = await self._admit(scope, headers, endpoint.access, receiving=endpoint.receiving)
        # Strangers are refused before anything is read of them. Who may send a body says when it ends, and may do so
        # no longer then.
        if endpoint.writes and await body.arrive():
            call = await self._admit(scope, headers, endpoint.access, receiving=endpoint.receiving, again=True)
        call.id = "" if endpoint.id_of is None else scope["path_params"]["id"]
        repeat = read_key(headers.get(b"idempotency-key")) if endpoint.repeatable else None
        return await self._carry_out(
            Asked(endpoint, decoder, scope["path"], scope["query_string"], headers, body, repeat), call
        )

    async def _receive(self, scope: Scope, asked: "Asked", body: Body) -> Reply:
        """Carry out an endpoint that makes an invoice, if possible by what was read some seconds ago.

        Then the statement that writes it finds out whether that still holds, and who is refused is refused by what
        holds now: nobody learns anything from a key that was revoked a moment ago, nor gets anything for it.
        """
        now, sent = self.house.clock.now(), asked.headers.get(b"authorization")
        guessed, read = self._receivers.guess(sent, now), None
        if guessed is not None and self._can_guess(guessed, _address(scope), now):
            try:
                return await self._carry_out_for(guessed, scope, asked, body, reading=guessed.reading)
            except Outdated:
                pass
            except Rejected:
                read = await self._read_receiver(scope, sent)
                if read.reading == guessed.reading:
                    raise
            read = read or await self._read_receiver(scope, sent)
            return await self._carry_out_for(read, scope, asked, body, again=True)
        return await self._carry_out_for(await self._read_receiver(scope, sent), scope, asked, body)

    async def _carry_out_for(
        self,
        receiver: Receiver,
        scope: Scope,
        asked: "Asked",
        body: Body,
        reading: Reading | None = None,
        *,
        again: bool = False,
    ) -> Reply:
        access, now = asked.endpoint.access, self.house.clock.now()
        call = self._let_in(scope, receiver.key, access, now, again=again)
        if await body.arrive():  # as in `_serve`
            now = self.house.clock.now()
            if reading is None:
                receiver = await self._read_receiver(scope, asked.headers.get(b"authorization"))
            elif not opens(receiver.key, now):
                raise Outdated("the key expired")  # the statement compares what was read, but not with the clock
            call = self._let_in(scope, receiver.key, access, now, again=True)
        call.receiving, call.reading, call.again = receiver.takes, reading, again
        return await self._carry_out(asked, call)

    def _can_guess(self, receiver: Receiver, address: str | None, now: datetime) -> bool:
        guesses = self.house.guesses
        return is_allowed(receiver.key, address) and not any(
            guesses.is_asked_first(each.wallet.keychain_id, now) for each in receiver.takes
        )

    async def _carry_out(self, asked: "Asked", call: Call) -> Reply:
        endpoint = asked.endpoint
        if endpoint.id_of is not None and not is_id(endpoint.id_of, call.id):
            raise NotFound("")
        call.query = decode_query(asked.query, endpoint.query)
        if not endpoint.writes:
            database = self.house.database
            async with database.pool.acquire() if endpoint.bare else database.snapshot() as tx:
                return json_reply(endpoint.status, await endpoint.work(tx, call))
        body = await asked.read()
        if endpoint.body is not None or body:
            call.body = decode_body(asked.headers, body, asked.decoder)
        if asked.repeat is None:
            return await self._work(endpoint, call, None)
        print_ = fingerprint(endpoint.method, asked.path, body)
        return await self.repeats.answer(call, asked.repeat, print_, lambda keep: self._work(endpoint, call, keep))

    async def _admit(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        access: str,
        *,
        receiving: bool = False,
        again: bool = False,
    ) -> Call:
        now, database, sent = self.house.clock.now(), self.house.database, headers.get(b"authorization")
        takes = None
        with self._counting_refusals(scope, now):
            if receiving:
                key, takes = await authenticate_receiver(database, sent, now)
            else:
                key = await authenticate(database, sent, now)
        call = self._let_in(scope, key, access, now, again=again)
        call.receiving = takes
        return call

    async def _read_receiver(self, scope: Scope, sent: bytes | None) -> Receiver:
        now = self.house.clock.now()
        with self._counting_refusals(scope, now):
            return await self._receivers.read(sent, now)

    @contextmanager
    def _counting_refusals(self, scope: Scope, now: datetime) -> Iterator[None]:
        """Tell whoever comes without a valid key too often to wait.

        A valid key is let in from any address: whoever shares one with strangers (behind a proxy that was not named,
        or in one building) would be shut out by them. Keys are too long to be guessed, and are looked up together.
        """
        try:
            yield
        except Unauthorized:
            self.house.limits.check(Kind.REFUSED, bucket(_address(scope)), now)
            raise

    def _let_in(self, scope: Scope, key: ApiKey, access: str, now: datetime, *, again: bool = False) -> Call:
        limits, address = self.house.limits, _address(scope)
        try:
            check_address(key, address)
        except Forbidden:
            # Before anything is counted for the key: who stole it could use up what its owner may ask.
            self.uses.note_refusal(key, address, now)
            limits.check(Kind.REFUSED, bucket(address), now)
            raise
        limits.check(Kind.KEY, key.id, now, count=not again)
        limits.check(Kind.STORE, key.store.id, now, count=not again)
        self.uses.note(key, now)
        authorize(key.scopes, access)
        return Call(self.house, key.store, key.id, now, address)

    async def _work(self, endpoint: Endpoint, call: Call, keep: Keep | None) -> Reply:
        call.alone = endpoint.single and (keep is None or endpoint.keeps)
        if keep is not None and endpoint.keeps:
            call.keep = lambda made: keep(json_reply(endpoint.status, made))
        if endpoint.prepare is not None:
            call.prepared = await endpoint.prepare(call)

        async def work(tx: Tx) -> Reply:
            if call.still_may is not None:
                await call.still_may(tx)
            reply = json_reply(endpoint.status, await endpoint.work(tx, call))
            if keep is not None:
                await remember(tx, [keep(reply)])
            return reply

        if call.alone:
            return json_reply(endpoint.status, await endpoint.work(None, call))
        return await self.house.database.run(work)


def _address(scope: Scope) -> str | None:
    client = scope["client"]
    return client[0] if client else None


async def _bounded(serving: Awaitable[Reply]) -> Reply:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await serving
    except Rejected as error:
        return from_rejection(error)
    except DATABASE_AWAY as error:
        return from_away(error)
