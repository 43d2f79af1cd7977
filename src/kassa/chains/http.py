"""JSON-RPC over HTTP: one pooled session."""

import asyncio
import zlib
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from kassa.chains.endpoint import Endpoint
from kassa.chains.envelope import (
    Answer,
    BrokenOff,
    Call,
    Read,
    TooLarge,
    TooMuch,
    TooOften,
    answers,
    read_answers,
    request,
)
from kassa.core.errors import ChainUnavailable

CONNECTIONS = 8  # below a node's default of 16 worker threads and places in its queue
IDLE_SECONDS = 15.0  # a node closes a connection that was idle for 30 s; a POST on a closed one fails
BROKEN_OFF = 2  # times that a request is repeated at once when its connection ends: everything asked here is a reading
_GZIP = 31  # what zlib calls gzip's form
_LOCAL = ("localhost", "::1")


class _Reply(NamedTuple):
    status: int
    body: bytes
    retry_after: str = ""


class Http:
    """Asks one node. Raises only `ChainUnavailable`."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float, response_limit: int) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept-Encoding": encoding(endpoint.url), **endpoint.headers}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._limit = response_limit
        self._session: aiohttp.ClientSession | None = None
        self.date = ""
        """What the last answer said of the time (RFC 9110); a gateway between us and the node may have said it."""

    async def ask(self, calls: Sequence[Call], result: Hashable = None) -> list[Answer] | list[Read[Any]]:
        """Ask in one request; raise `TooMuch` if it is refused for its size, `TooOften` if we ask too fast.

        With the type of their results, those of several calls are read at once if all can be.
        """
        status, body, retry_after = await self._request("POST", self._endpoint.url, request(calls))
        refusal = f"{self._endpoint.node} refused a request of {len(calls)} calls (HTTP {status})"
        if status == 413:
            raise TooMuch(refusal)
        if status == 429:
            raise TooOften(refusal, int(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0)
        found = (None if result is None else read_answers(body, result)) or answers(body)
        if found is not None:
            return found
        if status in (401, 403):
            raise ChainUnavailable(
                f"{self._endpoint.node} refused our credentials (HTTP {status}): check the network's rpc_url"
            )
        raise ChainUnavailable(f"{self._endpoint.node} gave no JSON-RPC answer (HTTP {status})")

    async def get(self, path: str) -> bytes | None:
        """Fetch a path; None if it answers anything but 200."""
        reply = await self._request("GET", self._endpoint.root + path, None)
        return reply.body if reply.status == 200 else None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, verb: str, url: str, data: bytes | None) -> _Reply:
        node = self._endpoint.node
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
            raise ChainUnavailable(f"{node} did not answer within {self._timeout.total:g} s") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError) as error:
            kind = ChainUnavailable if isinstance(error, aiohttp.ClientConnectorError) else BrokenOff
            raise kind(f"{node} cannot be reached ({type(error).__name__})") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError, zlib.error) as error:
            # The error's text may hold the URL, and with it a key in its path.
            raise ChainUnavailable(f"{node} cannot be reached ({type(error).__name__})") from None

    async def _ask(self, verb: str, url: str, data: bytes | None) -> _Reply:
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        # A redirect would carry the credentials elsewhere.
        async with self._open().request(verb, url, data=data, headers=headers, allow_redirects=False) as response:
            body = await self._body(response)
            self.date = response.headers.get("Date", "")
            if response.headers.get("Content-Encoding", "").lower() == "gzip":
                body = self._unpacked(body)
            return _Reply(response.status, body, response.headers.get("Retry-After", ""))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = self._too_large()
        if (response.content_length or 0) > self._limit:
            raise too_large
        if response.content_length is not None:
            return await response.read()
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._limit:
                raise too_large
            chunks.append(chunk)
        return b"".join(chunks)

    def _unpacked(self, body: bytes) -> bytes:
        """Unpack an answer, no further than our limit: a small one can become a very large one."""
        unpacking = zlib.decompressobj(_GZIP)
        found = unpacking.decompress(body, self._limit + 1)
        if len(found) > self._limit:
            raise self._too_large()
        if not unpacking.eof:
            raise ValueError("cut off")
        return found

    def _too_large(self) -> TooLarge:
        return TooLarge(f"{self._endpoint.node} answered more than {self._limit} bytes")

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


def encoding(url: str) -> str:
    """Return in which encodings a node may answer: packed across a network, as it is on this machine."""
    host = urlsplit(url).hostname or ""
    return "identity" if host in _LOCAL or host.startswith("127.") else "gzip"
