"""JSON-RPC to a node, over HTTP or WebSocket: batches, and exactly two kinds of fault."""

import asyncio
import re
from collections.abc import AsyncGenerator, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from kassa import measures
from kassa.chains.endpoint import endpoint
from kassa.chains.envelope import Answer, BrokenOff, Call, Fault, Read, TooLarge, TooMuch, TooOften, decode
from kassa.chains.http import Http
from kassa.chains.websocket import Listener, WebSocket
from kassa.core.errors import ChainUnavailable, ChainUnfit

__all__ = ["Call", "Fault", "JsonRpc"]

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
RESPONSE_LIMIT = 64 * 2**20  # bytes; a mempool of 300,000 ids has 20 MiB
PATIENCE = (0.1, 0.2, 0.4, 0.8)
"""Seconds between the times that a part of a request is asked for again, which was broken off or came too soon."""
MOST_SECONDS = 30.0  # waited for a node that says when to come again
WARMING_UP, METHOD_NOT_FOUND = -28, -32601
_ABSENT = (METHOD_NOT_FOUND, -32602, -32004)  # or other parameters, or unsupported (EIP-1474)
_TOO_MUCH_CODES = (-32005,)  # EIP-1474: a limit was exceeded
_TOO_MUCH = re.compile(
    r"batch.{0,30}(large|big|limit|exceed|not (allowed|supported))|too many (requests|calls)|(rate|request).{0,10}limit"
    r"|(exceed|limit).{0,30}(capacity|compute unit|per second)",
    re.IGNORECASE,
)
_TOO_OFTEN_CODE = 429
_TOO_OFTEN = re.compile(r"too many requests|rate.{0,10}limit|per second", re.IGNORECASE)
_TOO_LARGE = re.compile(r"response.{0,30}(large|big|limit|exceed)", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"(method|module).{0,80}(not (exist|found|supported|available|whitelisted|enabled)|unsupported|disabled|does ?n.t)"
    r"|(unsupported|unknown|disabled|invalid).{0,20}method|not.{0,20}support"
    r"|not (available|allowed|included).{0,40}(tier|plan)",  # of a provider: for those who pay more
    re.IGNORECASE,
)


class JsonRpc:
    """Calls one node. Raises only `ChainUnavailable` and `ChainUnfit`; when to try again is the caller's decision.

    Credentials stand in the URL (user:password, percent-encoded) and appear in no message; nor does the URL's path,
    which may be a key. Numbers are read into the type that the caller names, so no amount ever passes through a float.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, response_limit: int = RESPONSE_LIMIT
    ) -> None:
        there = endpoint(url)
        transport = WebSocket if there.scheme in ("ws", "wss") else Http
        self.node = there.node
        self._transport = transport(there, timeout_seconds, response_limit)
        self._most = 2**20  # calls in one request; less once a request was refused for its size

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def call(self, result: type[T], method: str, *params: object) -> T:
        """Call one method and read its result as `result`; a refusal by the node raises."""
        (answer,) = await self.batch(result, [(method, params)])
        if isinstance(answer, Fault):
            raise self.refused(method, answer)
        return answer

    async def batch(self, result: type[T], calls: Sequence[Call]) -> list[T | Fault]:
        """Call several methods in one request; answer in their order, refusals by the node as `Fault` values."""
        answers = await self.batch_raw(calls)
        return [
            answer if isinstance(answer, Fault) else self.read(result, answer, method)
            for (method, _), answer in zip(calls, answers, strict=True)
        ]

    async def batch_raw(self, calls: Sequence[Call]) -> list[bytes | Fault]:
        """Like `batch`, with each result as the JSON text that the node sent; read it with `read`."""
        return await self._batch(calls, None)

    async def batch_read(self, result: type[T], calls: Sequence[Call]) -> list[T | bytes | Fault]:
        """Like `batch_raw`, with results read already where that could be done at once; `read` takes them as they are.

        A text is searched once then, not twice. What is null stays `b"null"`.
        """
        return await self._batch(calls, result)

    async def _batch(self, calls: Sequence[Call], result: Any) -> list[Any]:  # texts, results of this type, faults
        """Ask for all of them, however many requests that takes.

        A request that is refused for its size, or is broken off, is asked again in halves, down to single calls: what
        was answered is not asked for again. One that comes too soon waits.
        """
        answers: list[Any] = []
        pauses = iter(PATIENCE)
        while len(answers) < len(calls):
            part = calls[len(answers) : len(answers) + self._most]
            try:
                answers += await self._ask(part, result)
            except (TooMuch, BrokenOff) as fault:
                await self._give_way(fault, len(part), pauses)
            else:
                self._most += 1  # what was too large may have been one large block
                pauses = iter(PATIENCE)
        return answers

    async def _give_way(self, fault: TooMuch | BrokenOff, size: int, pauses: Iterator[float]) -> None:
        """Ask for less next time, or later; raise the fault when there is no less, or patience has come to its end."""
        if isinstance(fault, TooOften) or (isinstance(fault, BrokenOff) and size == 1):
            pause = next(pauses, None)
            if pause is None and size == 1:
                raise fault
            named = fault.seconds if isinstance(fault, TooOften) else 0
            await asyncio.sleep(min(named or pause or PATIENCE[-1], MOST_SECONDS))
            if pause == PATIENCE[0]:
                return  # only from the second time on: who allows so many calls a second is not helped by halves
        elif size == 1:
            raise fault
        self._most = max(1, size // 2)

    async def knows(self, method: str, *params: object) -> bool:
        """Tell whether the node has a method and takes such parameters, by calling it."""
        with measures.node_call(self.node, method):
            (answer,) = await self._transport.ask([(method, params)])
        if answer.error is None:
            return True
        if answer.error.code in _ABSENT or _UNKNOWN.search(answer.error.message):
            return False
        self._outcome(method, answer)
        return True

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Listener | None, None]:
        """Hear what the node says without being asked; None where the connection brings nothing (HTTP)."""
        if isinstance(self._transport, WebSocket):
            async with self._transport.listening() as listener:
                yield listener
        else:
            yield None

    def read(self, result: type[T], text: bytes | T, method: str) -> T:
        """Read a result, unless it was; one of another shape is no usable answer."""
        if not isinstance(text, bytes):
            return text
        try:
            return decode(_decoder(result), text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ChainUnavailable(f"{self.node} answered {method} in a shape that cannot be used: {error}") from None

    def take(self, result: type[T], answer: bytes | T | Fault, method: str) -> T:
        """Read an answer of `batch_raw` where a refusal was not expected."""
        if isinstance(answer, Fault):
            raise self.refused(method, answer)
        return self.read(result, answer, method)

    def take_or_none(self, result: type[T], answer: bytes | T | Fault, method: str) -> T | None:
        """Like `take`, for what the node may not have: null is None."""
        return None if answer == b"null" else self.take(result, answer, method)

    def refused(self, method: str, fault: Fault) -> ChainUnavailable:
        """Make the error for a refusal that the caller did not expect."""
        return ChainUnavailable(f"{self.node} refused {method}: {fault.message[:200]} (error {fault.code})")

    @property
    def date(self) -> datetime | None:
        """The time of day that the last answer bore, to the second; None where it bore none, or over WebSocket."""
        try:
            return parsedate_to_datetime(self._transport.date) if isinstance(self._transport, Http) else None
        except (ValueError, OverflowError):
            return None

    async def get(self, path: str) -> bytes | None:
        """Fetch a path of the node's REST interface; None if it answers anything but 200."""
        if not isinstance(self._transport, Http):
            return None
        with measures.node_call(self.node, "rest"):
            return await self._transport.get(path)

    async def _ask(self, calls: Sequence[Call], result: Any) -> list[Any]:
        with measures.node_call(self.node, calls[0][0]):
            found = await self._transport.ask(calls, result)
        by_id: dict[object, Answer | Read[Any]] = {answer.id: answer for answer in found}
        if len(calls) == 1 and None in by_id:
            by_id = {0: by_id[None]}
        if by_id.keys() != set(range(len(calls))):
            if any(answer.error is not None for answer in found):
                raise TooMuch(f"{self.node} refused a batch of {len(calls)}: {_words(found)}")
            raise ChainUnavailable(f"{self.node} did not answer every call of a batch of {len(calls)}")
        return [self._outcome(method, by_id[number]) for number, (method, _) in enumerate(calls)]

    def _outcome(self, method: str, answer: Answer | Read[Any]) -> Any:  # a text, a result that was read, a fault
        if answer.error is None:
            if isinstance(answer, Answer):
                return bytes(answer.result)
            return b"null" if answer.result is None else answer.result
        fault = Fault(answer.error.code, answer.error.message)
        refusal = f"{self.node} refused {method}: {fault.message[:200]} (error {fault.code})"
        if fault.code == _TOO_OFTEN_CODE or _TOO_OFTEN.search(fault.message):
            raise TooOften(refusal)
        if fault.code in _TOO_MUCH_CODES or _TOO_MUCH.search(fault.message):
            raise TooMuch(refusal)
        if _TOO_LARGE.search(fault.message):
            raise TooLarge(refusal)
        if fault.code == METHOD_NOT_FOUND:
            raise ChainUnfit(f"{self.node} does not know {method}: it is another kind of node, or too old")
        if fault.code == WARMING_UP:
            raise ChainUnavailable(f"{self.node} is starting: {fault.message[:200]}")
        return fault


@cache
def _made(result: Hashable) -> msgspec.json.Decoder[object]:
    return msgspec.json.Decoder(result)


def _decoder(result: type[T]) -> msgspec.json.Decoder[T]:
    return _made(result)  # type: ignore[arg-type, return-value]  # the decoder made for this very type


def _words(found: Sequence[Answer | Read[Any]]) -> str:
    return next(answer.error.message[:200] for answer in found if answer.error is not None)
