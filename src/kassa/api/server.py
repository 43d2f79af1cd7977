"""The HTTP server: uvicorn with uvloop and httptools, and the limits that it leaves to others."""

import asyncio
from functools import partial
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 32_768
"""Bytes of request line and headers."""
HEAD_SECONDS = 10
"""Within this time after its first byte a request's headers must be complete."""
BODY_SECONDS = 20
"""Within this time after its headers a request must be complete, also when it was answered long before."""
SILENT_SECONDS = 30
"""Who takes nothing of an answer for so long is not waited for."""

MAX_WAITING = 8
"""Requests of a connection that wait for the answer before them (RFC 9112, 9.3.2). One packet could bring thousands."""
MAX_JOINED = 65_536
"""Bytes of an answer that wait for what follows them in the same turn of the loop."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def make_server(app: Any, host: str, port: int, *, connections: int = 2_000) -> uvicorn.Server:  # an ASGI application
    """Build a server for one process; port 0 is any free one.

    Beyond three quarters of `connections` whoever owes us the rest of a request for longest gives way to who comes, if
    there are several; beyond all of them callers get 503 at once.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=partial(BoundedProtocol, owing=Owing(connections)),  # type: ignore[arg-type]  # it is called
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        workers=1,  # else WEB_CONCURRENCY is read, which may say "auto"
        limit_concurrency=connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=20,
    )
    return uvicorn.Server(config)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds on what a request's head and trailers hold, and on every wait for the caller.

    Whoever could keep a connection for ever by a byte now and then could keep all of them, and needs no key for it.
    """

    def __init__(self, *args: Any, owing: "Owing", **kwargs: Any) -> None:  # as uvicorn calls it
        super().__init__(*args, **kwargs)
        self._owing = owing
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._in_head = True
        self._rest_seconds: float | None = None
        self._is_between = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # as uvicorn declares it
        super().connection_made(Joined(transport, self.loop))  # type: ignore[arg-type]  # what uvicorn uses of one
        self._await_rest(HEAD_SECONDS)
        self._owing.begin(self)
        self._owing.make_room(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        # Empty lines before a request (RFC 9112, 2.2) begin none, but they end the wait for it that uvicorn bounds.
        self._is_between = self._in_head and self.timeout_keep_alive_task is not None
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._is_between:
            self._rest_seconds = HEAD_SECONDS
        # Counted after parsing: a body that came in the same packet does not count against its own head.
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        # Only now: most requests come whole in one packet, and need no timer.
        if self._rest_seconds is not None:
            self._await_rest(self._rest_seconds)
            self._rest_seconds = None

    def _parse(self, data: bytes) -> None:
        # In place of uvicorn's, which gives up what follows a request for another protocol. Such a request's body would
        # be taken for the next request then, and a proxy's other callers would get the answer to that.
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as asked:
                    data = data[asked.args[0] :]
                    self._decline()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _decline(self) -> None:
        """Read the head of a request for another protocol again, without that wish (RFC 9110, 7.8)."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        head = [method, b" ", self.url, b" HTTP/", version, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn sets it.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"".join([*head, *(name + b": " + value + b"\r\n" for name, value in kept), b"\r\n"]))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_WAITING:
            self.give_up()
            raise ConnectionAbortedError("more requests at once than may wait")  # which ends the parsing
        self._is_between = False
        self._trailer_bytes = 0
        self._rest_seconds = HEAD_SECONDS
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)
            return
        # A trailer (RFC 9110, 6.5): nothing here reads one, and it must not pass for a header.
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > MAX_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("nothing here is a proxy")
        if self.parser.should_upgrade():
            return  # it comes again, without the wish
        self._in_head = False
        self._head_bytes = 0
        self._rest_seconds = BODY_SECONDS
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head = True
        self._rest_seconds = None
        _stop(self._reading)
        if self.cycle.response_complete:
            # Answered before its body was here, whose bytes have ended the wait for the next request.
            self._rest_seconds = HEAD_SECONDS
        else:
            self._owing.end(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._owing.begin(self)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        _stop(self._writing)
        self._writing = self.loop.call_later(SILENT_SECONDS, self.give_up)

    def resume_writing(self) -> None:
        _stop(self._writing)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        _stop(self._reading)
        _stop(self._writing)
        self._owing.end(self)
        super().connection_lost(exc)

    def _await_rest(self, seconds: float) -> None:
        _stop(self._reading)
        self._reading = self.loop.call_later(seconds, self.give_up)

    def give_up(self) -> None:
        """End the connection, whatever its caller has not taken yet."""
        # Not `close`, which waits until the caller has taken what is written already.
        self.transport.abort()


class Owing:
    """Connections whose callers owe us a request, or the rest of one: when there are too many, the oldest goes.

    A thousand callers who send a byte now and then would hold every place for as long as they may; who sends a request
    at once is owed an answer before it could be their turn. An eighth of all places is theirs in any case: where
    streams take the rest, a caller has to be given the time to send a request.
    """

    def __init__(self, connections: int) -> None:
        self._most = connections * 3 // 4
        self._kept = connections // 8
        self._oldest_first: dict[BoundedProtocol, None] = {}

    def begin(self, connection: BoundedProtocol) -> None:
        self._oldest_first.pop(connection, None)
        self._oldest_first[connection] = None

    def end(self, connection: BoundedProtocol) -> None:
        self._oldest_first.pop(connection, None)

    def make_room(self, connections: int) -> None:
        """End the oldest connection that is owed, where there are more than there should be."""
        if connections > self._most and len(self._oldest_first) > self._kept:
            oldest = next(iter(self._oldest_first))
            del self._oldest_first[oldest]
            oldest.give_up()


class Joined:
    """A transport that sends by one system call what is written to it in one turn of the loop.

    uvicorn writes the head of an answer and its body apart, and each call wakes the caller and costs more than the
    rendering of both.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self._held = 0
        # What happens at every request goes straight there.
        self.is_closing = transport.is_closing
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:  # whatever else a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._held += len(data)
        if self._held > MAX_JOINED:
            self._send()  # so that the transport notices when the caller does not keep up

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()
        self._held = 0


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
