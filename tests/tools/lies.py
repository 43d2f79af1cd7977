"""What a lying proxy says: rules about which calls, and one lie each. See `liar.py` for how they are used."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Protocol, Self

import msgspec

Json = Any  # whatever the node says

encode = msgspec.json.Encoder(decimal_format="number").encode
decode = msgspec.json.Decoder(float_hook=Decimal).decode  # an amount survives a mutation digit by digit


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came: an RPC method with its parameters, or a REST path ("/rest/block/….bin") without."""

    number: int
    method: str
    params: Json
    path: str
    modern: bool = False  # asked as JSON-RPC 2.0, where an error is an HTTP 200
    upstream: str | None = None  # the URL of another node that is to answer instead

    @property
    def rest(self) -> bool:
        return self.method.startswith("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said back: the JSON of an RPC result or error, or a whole HTTP body where there is neither.

    `kept` cuts the HTTP body after so many bytes; `honest_length` says whether its length is announced as what it is.
    """

    status: int = 200
    result: bytes | None = None
    error: bytes | None = None
    body: bytes | None = None
    kept: int | None = None
    honest_length: bool = False


Ask = Callable[[Call], Awaitable[Reply]]
Act = Callable[[Call, Ask], Awaitable[Reply]]


class Dropped(Exception):
    """The connection is closed without an answer."""


class Teller(Protocol):
    """What a rule knows of its proxy."""

    rules: "list[Rule]"
    answered: dict[bytes, Reply]
    ending: asyncio.Event


class Rule:
    """Which calls it concerns (`after`, `times`, `every`, `where`), and then one lie about them."""

    def __init__(self, liar: Teller, pattern: str) -> None:
        self._liar = liar
        self._pattern = pattern
        self._after, self._times, self._every = 0, -1, 1
        self._where: Callable[[Call], bool] = lambda _: True
        self._seen = 0
        self.applied = 0
        self.act: Act | None = None
        self.before: Callable[[], Awaitable[object]] | None = None

    # Which calls

    def after(self, calls: int) -> Self:
        """Leave so many matching calls alone first."""
        self._after = calls
        return self

    def times(self, calls: int) -> Self:
        """Apply to so many calls only."""
        self._times = calls
        return self

    def every(self, calls: int) -> Self:
        """Apply to every so-manieth matching call: 3 means the third, the sixth, …"""
        self._every = calls
        return self

    def where(self, predicate: Callable[[Call], bool]) -> Self:
        """Concern only calls of which this is true."""
        self._where = predicate
        return self

    def takes(self, call: Call) -> bool:
        """Count a call, and tell whether the rule applies to it."""
        if self.act is None or not fnmatchcase(call.method, self._pattern) or not self._where(call):
            return False
        self._seen += 1
        past = self._seen - self._after
        if past <= 0 or past % self._every or self.applied == self._times:
            return False
        self.applied += 1
        return True

    def off(self) -> None:
        """End the rule."""
        with suppress(ValueError):
            self._liar.rules.remove(self)

    # Lies

    def drop(self) -> Self:
        """Close the connection without an answer; the node has not been asked."""

        async def act(_call: Call, _ask: Ask) -> Reply:
            raise Dropped

        return self._arm(act)

    def drop_answer(self) -> Self:
        """Ask the node, so that it does what it was told, and close the connection instead of answering."""

        async def act(call: Call, ask: Ask) -> Reply:
            await ask(call)
            raise Dropped

        return self._arm(act)

    def hang(self) -> Self:
        """Never answer; the connection stays open until the proxy ends."""

        async def act(_call: Call, _ask: Ask) -> Reply:
            await self._liar.ending.wait()
            raise Dropped

        return self._arm(act)

    def delay(self, seconds: float) -> Self:
        """Ask the node only after so many seconds."""

        async def act(call: Call, ask: Ask) -> Reply:
            await asyncio.sleep(seconds)
            return await ask(call)

        return self._arm(act)

    def hold(self, until: asyncio.Event) -> Self:
        """Ask the node at once, answer when the event is set: the answer is old by then."""

        async def act(call: Call, ask: Ask) -> Reply:
            reply = await ask(call)
            await until.wait()
            return reply

        return self._arm(act)

    def answer(self, value: Json) -> Self:
        """Answer this instead of the node: an RPC result, or for REST a body (bytes) or JSON."""

        async def act(call: Call, _ask: Ask) -> Reply:
            return _says(call, value)

        return self._arm(act)

    def answer_raw(self, text: str) -> Self:
        """Answer this JSON text as the RPC result, valid or not: `1.0`, `NaN`, `{`."""

        async def act(_call: Call, _ask: Ask) -> Reply:
            return Reply(result=text.encode())

        return self._arm(act)

    def error(self, code: int, message: str = "refused by the test", *, status: int | None = None) -> Self:
        """Answer an RPC error, with the HTTP status that Bitcoin Core would use unless another is given."""
        usual = {-32600: 400, -32601: 404}.get(code, 500)

        async def act(call: Call, _ask: Ask) -> Reply:
            used = (200 if call.modern else usual) if status is None else status
            return Reply(status=used, error=encode({"code": code, "message": message}))

        return self._arm(act)

    def warming_up(self) -> Self:
        """Answer what a node says until it has loaded (-28)."""
        return self.error(-28, "Loading block index…")

    def http(self, status: int, body: bytes = b"") -> Self:
        """Answer a bare HTTP status and body, as a gateway would."""

        async def act(_call: Call, _ask: Ask) -> Reply:
            return Reply(status=status, body=body)

        return self._arm(act)

    def overloaded(self, status: int = 503) -> Self:
        """Answer what a node says when its work queue is full (500 from older ones)."""
        return self.http(status, b"Work queue depth exceeded")

    def empty(self) -> Self:
        """Answer 200 and no body."""
        return self.http(200)

    def stale(self) -> Self:
        """Answer a call that was made before this rule as it was answered then; ask on for others."""
        remembered = dict(self._liar.answered)

        async def act(call: Call, ask: Ask) -> Reply:
            return remembered.get(question(call)) or await ask(call)

        return self._arm(act)

    def truncate(self, size: int, *, honest_length: bool = False) -> Self:
        """Send the first bytes of the answer. The length announced is that of the whole, unless it is to be honest."""

        async def act(call: Call, ask: Ask) -> Reply:
            return replace(await ask(call), kept=size, honest_length=honest_length)

        return self._arm(act)

    def mutate(self, change: Callable[[Json], Json]) -> Self:
        """Change the node's result (amounts are `Decimal`) or REST body (bytes); its errors stay as they are."""

        async def act(call: Call, ask: Ask) -> Reply:
            reply = await ask(call)
            if reply.result is not None:
                return replace(reply, result=encode(change(decode(reply.result))))
            if call.rest and reply.status == 200 and reply.body is not None:
                return replace(reply, body=change(reply.body))
            return reply

        return self._arm(act)

    def swap(self, url: str) -> Self:
        """Let another node answer, with the credentials of its URL."""

        async def act(call: Call, ask: Ask) -> Reply:
            return await ask(replace(call, upstream=url))

        return self._arm(act)

    def run(self, action: Callable[[], Awaitable[object]]) -> Self:
        """Await an action before the call is asked, when all earlier calls are answered; later calls wait.

        The action may talk to the node, but not through this proxy.
        """

        async def act(call: Call, ask: Ask) -> Reply:
            return await ask(call)

        self.before = action
        return self._arm(act)

    def _arm(self, act: Act) -> Self:
        self.act = act
        self._liar.rules.append(self)
        return self


def question(call: Call) -> bytes:
    """Return what makes two calls the same question."""
    return encode([call.path, call.method, call.params])


def _says(call: Call, value: Json) -> Reply:
    if not call.rest:
        return Reply(result=encode(value))
    return Reply(body=value if isinstance(value, bytes) else encode(value))
