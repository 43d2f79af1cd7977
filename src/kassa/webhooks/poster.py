"""Posts to receivers that nobody trusts: only to public addresses, with every wait and every size bounded."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from errno import EACCES
from functools import partial
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from kassa import __version__
from kassa.core.errors import Invalid
from kassa.webhooks.rules import check_url, excerpt, is_public

TOTAL_SECONDS = 10
BODY_SECONDS = 1
BODY_BYTES = 64 * 1024
MOST_BYTES = 2 * BODY_BYTES
"""Of all that a receiver sends in answer to one post, what is read: 100 Continue, for ever, is an answer, too."""
LOOKUPS = 256
"""Names that are looked up at the same time: as many as posts, so that a mute name server delays nobody else."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
Lookup = Callable[[str, int], list[AddressInfo]]
"""Blocks until a name is resolved, like `socket.getaddrinfo`; raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered: a status, or an error. `response` is a harmless excerpt."""

    status_code: int | None = None
    error: str | None = None
    response: str | None = None


def look_up(host: str, port: int) -> list[AddressInfo]:
    """Resolve a name with the system's resolver."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Poster:
    """One pool of connections. Redirects, proxies, cookies and compression do not exist here."""

    def __init__(self, *, private: bool, lookup: Lookup = look_up) -> None:
        self._private = private
        self._resolver = _Resolver(lookup, private)
        connector = aiohttp.TCPConnector(
            limit=0,  # the sender bounds the posts
            resolver=self._resolver,
            socket_factory=self._socket,
            ttl_dns_cache=5,
            keepalive_timeout=4,  # below the 5 s after which common servers hang up
        )
        connector._factory = partial(_Bounded, loop=connector._loop)  # type: ignore[assignment]  # no other way in
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=16 * 1024,
            max_field_size=4096,
            headers={
                "User-Agent": f"Kassa/{__version__}",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            },
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post once (twice when a kept connection turned out closed) and say what came of it, within 10 s."""
        try:
            check_url(url, private=self._private)
            async with asyncio.timeout(TOTAL_SECONDS):
                try:
                    return await self._post(url, headers, body)
                except aiohttp.ClientConnectorError:
                    raise
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError):
                    return await self._post(url, headers, body)
        except Invalid as fault:
            return Reply(error=f"{fault}; not sent")
        except TimeoutError:
            return Reply(error=f"no answer within {TOTAL_SECONDS} s")
        except (aiohttp.ClientError, OSError, ssl.SSLError) as fault:
            return Reply(error=_say(fault))
        except Exception as fault:  # noqa: BLE001  nothing that a receiver answers may stop the sending to the others
            return Reply(error=f"an answer that cannot be read ({type(fault).__name__})")

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            start = await _read(response)
            if not response.content.at_eof():
                response.close()
        return Reply(response.status, _refusal(response.status), excerpt(start))

    def _socket(self, info: AddressInfo) -> socket.socket:
        # The last gate before a connection, and the only one for an address written in the URL itself.
        family, kind, protocol, _, address = info
        _refuse_private(str(address[0]), self._private)
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._resolver.close()


class _Bounded(ResponseHandler):
    """aiohttp's side of a connection, which parses no more of one answer than anybody here reads.

    aiohttp parses whatever has come, which may be megabytes in one turn of the loop: nobody else has a turn meanwhile.
    """

    _left = MOST_BYTES

    def set_response_params(self, **params: Any) -> None:  # as aiohttp calls it, before each request
        self._left = MOST_BYTES
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        read, self._left = data[: self._left], max(0, self._left - len(data))
        if read:
            super().data_received(read)
        if len(read) < len(data):
            # It is the end, too, for a next request on this connection: where its answer would begin is not known.
            self.set_exception(aiohttp.ClientPayloadError(f"over {MOST_BYTES} bytes, and no answer among them"))
            if self.transport is not None and not self.transport.is_closing():
                self.transport.pause_reading()


class _Resolver(AbstractResolver):
    """Looks names up beside the loop. One address that is not public spoils the name: a mixed answer is an attack."""

    def __init__(self, lookup: Lookup, private: bool) -> None:
        self._lookup, self._private = lookup, private
        self._threads = ThreadPoolExecutor(LOOKUPS, "lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        for info in found:
            _refuse_private(str(info[4][0]), self._private)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=socket.AddressFamily(kind),
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
            if kind in (socket.AF_INET, socket.AF_INET6) and family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _refuse_private(address: str, private: bool) -> None:
    if not private and not is_public(ip_address(address)):
        # An OSError, because that is what aiohttp hands on from a look-up and from a socket.
        raise PermissionError(EACCES, "the host has an address that is not on the public internet; not sent")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    # The status has decided already: the body is only for the log, and for using the connection again.
    kept = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(kept) < BODY_BYTES and (part := await response.content.read(BODY_BYTES - len(kept))):
                kept += part
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
    return bytes(kept)


def _refusal(status_code: int) -> str | None:
    if 200 <= status_code < 300:
        return None
    if 300 <= status_code < 400:
        return f"HTTP {status_code}: redirects are not followed; register the final URL"
    return f"HTTP {status_code}"


def _say(fault: Exception) -> str:
    match fault:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            kind = "TLS failed"
        case aiohttp.ClientConnectorError():
            kind = "cannot connect"
        case _:
            kind = "the connection broke"
    return excerpt(f"{kind}: {fault}".encode())[:300]
