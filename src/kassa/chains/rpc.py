"""JSON-RPC over HTTP to a node: one pooled session, batches, and exactly two kinds of fault."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp
import msgspec

from kassa.core.errors import ChainInvalid, ChainUnavailable, SettingsError

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
RESPONSE_LIMIT = 64 * 2**20  # bytes; a mempool of 300,000 ids has 20 MiB
CONNECTIONS = 8  # below a node's default of 16 worker threads and places in its queue
IDLE_SECONDS = 15.0  # a node closes a connection that was idle for 30 s; a POST on a closed one fails
BROKEN_OFF = 2  # times that a request is repeated at once when its connection ends: everything asked here is a reading
METHOD_NOT_FOUND = -32601

Call = tuple[str, Sequence[object]]
"""A method and its parameters."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The node's own refusal of one call: its error code and message."""

    code: int
    message: str


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Answer(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode
_one = msgspec.json.Decoder(_Answer)
_many = msgspec.json.Decoder(list[_Answer])


class JsonRpc:
    """Calls one node. Raises only `ChainUnavailable` and `ChainInvalid`; when to try again is the caller's decision.

    Credentials stand in the URL (user:password, percent-encoded) and appear in no message; nor does the URL's path,
    which may be a key. Numbers are read into the type that the caller names, so no amount ever passes through a float.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, response_limit: int = RESPONSE_LIMIT
    ) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SettingsError("rpc_url is no URL such as http://user:password@127.0.0.1:8332") from None
        host = parts.netloc.rpartition("@")[2]
        self.node = host
        self._url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        self._root = urlunsplit((parts.scheme, host, "", "", ""))
        self._headers = {"Accept-Encoding": "identity"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._limit = response_limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        if not calls:
            return []
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        # A single call goes out bare: some nodes and gateways know no batches.
        status, body = await self._request("POST", self._url, _encode(requests if len(calls) > 1 else requests[0]))
        by_id = {answer.id: answer for answer in self._answers(status, body)}
        if len(calls) == 1 and None in by_id:
            by_id = {0: by_id[None]}
        if by_id.keys() != set(range(len(calls))):
            raise ChainUnavailable(f"{self.node} did not answer every call of a batch of {len(calls)}")
        return [self._outcome(method, by_id[number]) for number, (method, _) in enumerate(calls)]

    def read(self, result: type[T], text: bytes, method: str) -> T:
        """Read a result; one of another shape is no usable answer."""
        try:
            return msgspec.json.decode(text, type=result)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ChainUnavailable(f"{self.node} answered {method} in a shape that cannot be used: {error}") from None

    def take(self, result: type[T], answer: bytes | Fault, method: str) -> T:
        """Read an answer of `batch_raw` where a refusal was not expected."""
        if isinstance(answer, Fault):
            raise self.refused(method, answer)
        return self.read(result, answer, method)

    def take_or_none(self, result: type[T], answer: bytes | Fault, method: str) -> T | None:
        """Like `take`, for what the node may not have: null is None."""
        return None if answer == b"null" else self.take(result, answer, method)

    def refused(self, method: str, fault: Fault) -> ChainUnavailable:
        """Make the error for a refusal that the caller did not expect."""
        return ChainUnavailable(f"{self.node} refused {method}: {fault.message[:200]} (error {fault.code})")

    async def get(self, path: str) -> bytes | None:
        """Fetch a path of the node's REST interface; None if it answers anything but 200."""
        status, body = await self._request("GET", self._root + path, None)
        return body if status == 200 else None

    def _answers(self, status: int, body: bytes) -> list[_Answer]:
        try:
            return _many.decode(body) if body[:1] == b"[" else [_one.decode(body)]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        if status in (401, 403):
            raise ChainUnavailable(f"{self.node} refused our credentials (HTTP {status}): check the network's rpc_url")
        raise ChainUnavailable(f"{self.node} gave no JSON-RPC answer (HTTP {status})")

    def _outcome(self, method: str, answer: _Answer) -> bytes | Fault:
        if answer.error is None:
            return bytes(answer.result)
        fault = Fault(answer.error.code, answer.error.message)
        if fault.code == METHOD_NOT_FOUND:
            raise ChainInvalid(f"{self.node} does not know {method}: it is another kind of node, or too old")
        if fault.code == -28:  # RPC_IN_WARMUP
            raise ChainUnavailable(f"{self.node} is starting: {fault.message[:200]}")
        return fault

    async def _request(self, verb: str, url: str, data: bytes | None) -> tuple[int, bytes]:
        try:
            for _ in range(BROKEN_OFF):
                try:
                    return await self._ask(verb, url, data)
                except aiohttp.ClientConnectorError:
                    raise
                except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                    continue
            return await self._ask(verb, url, data)
        except TimeoutError:
            raise ChainUnavailable(f"{self.node} did not answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            # The error's text may hold the URL, and with it a key in its path.
            raise ChainUnavailable(f"{self.node} cannot be reached ({type(error).__name__})") from None

    async def _ask(self, verb: str, url: str, data: bytes | None) -> tuple[int, bytes]:
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        # A redirect would carry the credentials elsewhere.
        async with self._open().request(verb, url, data=data, headers=headers, allow_redirects=False) as response:
            return response.status, await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > self._limit:
            raise ChainUnavailable(f"{self.node} answered more than {self._limit} bytes")
        if response.content_length is not None:
            return await response.read()
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._limit:
                raise ChainUnavailable(f"{self.node} answered more than {self._limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the running loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_SECONDS),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
