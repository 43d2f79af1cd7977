"""JSON-RPC over HTTP: one pooled session."""

import asyncio
from collections.abc import Sequence

import aiohttp

from kassa.chains.endpoint import Endpoint
from kassa.chains.envelope import Answer, Call, TooLarge, TooMuch, answers, request
from kassa.core.errors import ChainUnavailable

CONNECTIONS = 8  # below a node's default of 16 worker threads and places in its queue
IDLE_SECONDS = 15.0  # a node closes a connection that was idle for 30 s; a POST on a closed one fails
BROKEN_OFF = 2  # times that a request is repeated at once when its connection ends: everything asked here is a reading
_TOO_MUCH = (413, 429)


class Http:
    """Asks one node. Raises only `ChainUnavailable`."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float, response_limit: int) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept-Encoding": "identity", **endpoint.headers}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._limit = response_limit
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, calls: Sequence[Call]) -> list[Answer]:
        """Ask in one request; raise `TooMuch` if it is refused for its size."""
        status, body = await self._request("POST", self._endpoint.url, request(calls))
        if status in _TOO_MUCH:
            raise TooMuch(f"{self._endpoint.node} refused a request of {len(calls)} calls (HTTP {status})")
        found = answers(body)
        if found is not None:
            return found
        if status in (401, 403):
            raise ChainUnavailable(
                f"{self._endpoint.node} refused our credentials (HTTP {status}): check the network's rpc_url"
            )
        raise ChainUnavailable(f"{self._endpoint.node} gave no JSON-RPC answer (HTTP {status})")

    async def get(self, path: str) -> bytes | None:
        """Fetch a path; None if it answers anything but 200."""
        status, body = await self._request("GET", self._endpoint.root + path, None)
        return body if status == 200 else None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, verb: str, url: str, data: bytes | None) -> tuple[int, bytes]:
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
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            # The error's text may hold the URL, and with it a key in its path.
            raise ChainUnavailable(f"{node} cannot be reached ({type(error).__name__})") from None

    async def _ask(self, verb: str, url: str, data: bytes | None) -> tuple[int, bytes]:
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        # A redirect would carry the credentials elsewhere.
        async with self._open().request(verb, url, data=data, headers=headers, allow_redirects=False) as response:
            return response.status, await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = TooLarge(f"{self._endpoint.node} answered more than {self._limit} bytes")
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
