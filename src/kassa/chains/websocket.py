"""JSON-RPC over one WebSocket: answers are matched by number, notices go to whoever listens."""

import asyncio
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp

from kassa.chains.endpoint import Endpoint
from kassa.chains.envelope import Answer, BrokenOff, Call, Notice, TooLarge, answers, notice, request
from kassa.core.errors import ChainUnavailable

HEARTBEAT_SECONDS = 20.0  # a connection that ended without a word is noticed by this
BROKEN_OFF = 2  # times that a request is repeated at once when its connection ends: everything asked here is a reading
NOTICES_HELD = 1_000  # a listener that is slower than the node loses some: they are hints
_TOO_BIG = aiohttp.WSCloseCode.MESSAGE_TOO_BIG


class Listener:
    """What was said on a connection and not yet heard."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._said: asyncio.Queue[Notice] = asyncio.Queue(NOTICES_HELD)
        self._ended = asyncio.Event()

    async def hear(self, seconds: float | None = None) -> Notice | None:
        """Return the next notice, or None after so long; raise `ChainUnavailable` once the connection has ended."""
        if self._said.empty() and not self._ended.is_set():
            said = asyncio.ensure_future(self._said.get())
            ended = asyncio.ensure_future(self._ended.wait())
            try:
                await asyncio.wait((said, ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if said.done():
                    return said.result()
            finally:
                said.cancel()
                ended.cancel()
        if not self._said.empty():
            return self._said.get_nowait()
        if self._ended.is_set():
            raise ChainUnavailable(f"{self._node} closed the connection")
        return None

    def say(self, notice: Notice) -> None:
        """Hold a notice, unless too many are held already."""
        with suppress(asyncio.QueueFull):
            self._said.put_nowait(notice)

    def end(self) -> None:
        """Note that nothing more will be said."""
        self._ended.set()


class _Broken(Exception):
    """The connection ended; `too_big` if that was for the size of a message."""

    def __init__(self, *, too_big: bool = False) -> None:
        super().__init__()
        self.too_big = too_big


class WebSocket:
    """Asks one node over one connection, which is opened when it is needed. Raises only `ChainUnavailable`."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float, response_limit: int) -> None:
        self._endpoint = endpoint
        self._timeout = timeout_seconds
        self._limit = response_limit
        self._session: aiohttp.ClientSession | None = None
        self._connection: _Connection | None = None
        self._opening = asyncio.Lock()

    async def ask(self, calls: Sequence[Call], _result: Hashable = None) -> list[Answer]:
        """Ask in one message; raise `TooMuch` if it is refused for its size. Results are left as text."""
        node = self._endpoint.node
        try:
            async with asyncio.timeout(self._timeout):
                for _ in range(BROKEN_OFF):
                    with suppress(_Broken):
                        return await self._ask(calls)
                return await self._ask(calls)
        except TimeoutError:
            raise ChainUnavailable(f"{node} did not answer within {self._timeout:g} s") from None
        except _Broken:
            raise BrokenOff(f"{node} closed the connection") from None

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["Listener", None]:
        """Hear what the node says without being asked, on the connection of this moment.

        Enter this before asking for anything to be told.
        """
        connection = await self._open()
        listener = Listener(self._endpoint.node)
        connection.listeners.append(listener)
        try:
            yield listener
        finally:
            connection.listeners.remove(listener)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, calls: Sequence[Call]) -> list[Answer]:
        connection = await self._open()
        try:
            return await connection.ask(calls)
        except _Broken as broken:
            if broken.too_big:
                raise TooLarge(f"{self._endpoint.node} answered more than {self._limit} bytes") from None
            raise

    async def _open(self) -> "_Connection":
        async with self._opening:
            if self._connection is not None and not self._connection.ended:
                return self._connection
            if self._connection is not None:
                await self._connection.close()
            self._connection = _Connection(await self._connect())
            return self._connection

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        node = self._endpoint.node
        try:
            async with asyncio.timeout(self._timeout):
                return await self._session.ws_connect(
                    self._endpoint.url,
                    headers=self._endpoint.headers,
                    max_msg_size=self._limit,
                    heartbeat=HEARTBEAT_SECONDS,
                    autoping=True,
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise ChainUnavailable(
                    f"{node} refused our credentials (HTTP {error.status}): check the network's rpc_url"
                ) from None
            raise ChainUnavailable(f"{node} offers no WebSocket (HTTP {error.status})") from None
        except TimeoutError:
            raise ChainUnavailable(f"{node} did not answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The error's text may hold the URL, and with it a key in its path.
            raise ChainUnavailable(f"{node} cannot be reached ({type(error).__name__})") from None


class _Connection:
    """One open connection, and who waits for what on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._next = 0
        self._asked: dict[range, asyncio.Future[list[Answer]]] = {}
        self.listeners: list[Listener] = []
        self.ended = False
        self._reader = asyncio.create_task(self._read())

    async def ask(self, calls: Sequence[Call]) -> list[Answer]:
        numbers = range(self._next, self._next + len(calls))
        self._next = numbers.stop
        answered: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._asked[numbers] = answered
        try:
            await self._socket.send_str(request(calls, numbers.start).decode())
            found = await answered
        except ConnectionError:
            raise _Broken from None
        finally:
            self._asked.pop(numbers, None)
        for answer in found:
            if isinstance(answer.id, int):
                answer.id -= numbers.start
        return found

    async def close(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        await self._socket.close()

    async def _read(self) -> None:
        too_big = False
        try:
            async for message in self._socket:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    text = message.data
                    self._take(text.encode() if isinstance(text, str) else text)
                else:
                    break
            failed = self._socket.exception()
            too_big = self._socket.close_code == _TOO_BIG or getattr(failed, "code", None) == _TOO_BIG
        finally:
            self._end(_Broken(too_big=too_big))

    def _take(self, body: bytes) -> None:
        # A notice names its method first; a long answer is not read twice to find out.
        said = notice(body) if b'"method"' in body[:100] else None
        if said is not None:
            for listener in self.listeners:
                listener.say(said)
            return
        found = answers(body)
        numbers = self._meant(found or [])
        if numbers is not None and found is not None and not self._asked[numbers].done():
            self._asked[numbers].set_result(found)

    def _meant(self, found: list[Answer]) -> range | None:
        """Return which request these answer. One without a number is meant for the only one under way, if it is."""
        for answer in found:
            for numbers in self._asked:
                if isinstance(answer.id, int) and answer.id in numbers:
                    return numbers
        nameless = all(answer.id is None for answer in found)
        return next(iter(self._asked)) if nameless and len(self._asked) == 1 else None

    def _end(self, why: _Broken) -> None:
        self.ended = True
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(why)
        for listener in self.listeners:
            listener.end()
