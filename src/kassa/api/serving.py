"""The way of one request through an endpoint: who, what, whether it was asked before, the work, the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from litestar.types import Receive, Scope

from kassa.api.auth import ANY_KEY, Uses, authenticate, authenticate_receiver, authorize
from kassa.api.endpoint import Call, Endpoint
from kassa.api.errors import from_away, from_rejection
from kassa.api.idempotency import Repeats, fingerprint, read_key
from kassa.api.incoming import decode_body, decode_query, read_body, read_headers
from kassa.api.reply import Reply, json_reply
from kassa.core.errors import NotFound, Rejected, Unauthorized
from kassa.core.ids import is_id
from kassa.db.faults import DATABASE_AWAY
from kassa.db.pool import Tx
from kassa.house import House
from kassa.limits.model import Kind
from kassa.limits.rules import bucket

ANSWER_SECONDS = 15
"""Within this time a caller gets an answer, whatever the database does."""

Serve = Callable[[Scope, Receive], Awaitable[Reply]]
Keep = Callable[[Tx, Reply], Awaitable[None]]


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
        self._repeats = Repeats()

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
        call = await self._admit(scope, headers, endpoint.access, receiving=endpoint.receiving)
        call.id = "" if endpoint.id_of is None else scope["path_params"]["id"]
        repeat = read_key(headers.get(b"idempotency-key")) if endpoint.repeatable else None
        read = partial(read_body, headers, receive)
        return await self._carry_out(
            Asked(endpoint, decoder, scope["path"], scope["query_string"], headers, read, repeat), call
        )

    async def _carry_out(self, asked: "Asked", call: Call) -> Reply:
        endpoint = asked.endpoint
        if endpoint.id_of is not None and not is_id(endpoint.id_of, call.id):
            raise NotFound("")
        call.query = decode_query(asked.query, endpoint.query)
        if not endpoint.writes:
            async with self.house.database.pool.acquire() as connection:
                return json_reply(endpoint.status, await endpoint.work(connection, call))
        body = await asked.read()
        if endpoint.body is not None or body:
            call.body = decode_body(asked.headers, body, asked.decoder)
        if asked.repeat is None:
            return await self._work(endpoint, call, None)
        print_ = fingerprint(endpoint.method, asked.path, body)
        return await self._repeats.answer(call, asked.repeat, print_, lambda keep: self._work(endpoint, call, keep))

    async def _admit(
        self, scope: Scope, headers: Mapping[bytes, bytes], access: str, *, receiving: bool = False
    ) -> Call:
        now, database, sent = self.house.clock.now(), self.house.database, headers.get(b"authorization")
        client, limits = scope["client"], self.house.limits
        address = client[0] if client else None
        origin = bucket(address)
        limits.check(Kind.REFUSED, origin, now, count=False)
        try:
            if receiving:
                key, takes = await authenticate_receiver(database, sent, now)
            else:
                key, takes = await authenticate(database, sent, now), None
        except Unauthorized:
            limits.check(Kind.REFUSED, origin, now)
            raise
        limits.check(Kind.KEY, key.id, now)
        limits.check(Kind.STORE, key.store.id, now)
        self.uses.note(key, now)
        authorize(key.scopes, access)
        return Call(self.house, key.store, key.id, now, address, receiving=takes)

    async def _work(self, endpoint: Endpoint, call: Call, keep: Keep | None) -> Reply:
        call.alone = endpoint.single and keep is None
        if endpoint.prepare is not None:
            call.prepared = await endpoint.prepare(call)

        async def work(tx: Tx) -> Reply:
            reply = json_reply(endpoint.status, await endpoint.work(tx, call))
            if keep is not None:
                await keep(tx, reply)
            return reply

        if call.alone:
            return json_reply(endpoint.status, await endpoint.work(None, call))
        return await self.house.database.run(work)


async def _bounded(serving: Awaitable[Reply]) -> Reply:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await serving
    except Rejected as error:
        return from_rejection(error)
    except DATABASE_AWAY as error:
        return from_away(error)
