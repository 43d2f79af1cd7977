"""An answer: a status, bytes, and the headers that every answer carries."""

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:  # every role answers scrapes, and most need nothing else of the framework
    from litestar.types import Receive, Scope, Send

JSON = b"application/json"

# Answers are data for programs: nothing in them may be run, framed, guessed at, kept or told to another site.
GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_encode = msgspec.json.Encoder().encode


class Reply:
    """An answer that sends itself: two messages, encoded once."""

    __slots__ = ("body", "headers", "status", "type")

    def __init__(
        self, status: int, body: bytes, media_type: bytes = JSON, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.status = status
        self.body = body
        self.type = media_type
        self.headers = headers

    async def __call__(self, _scope: "Scope", _receive: "Receive", send: "Send") -> None:
        length = str(len(self.body)).encode()
        headers = [(b"content-type", self.type), (b"content-length", length), *GUARDS, *self.headers]
        if self.status == 204:
            headers = [*GUARDS, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json_reply(status: int, value: Any) -> Reply:  # JSON
    """Answer with a value as JSON; amounts and times in it are text already."""
    return Reply(status, b"" if status == 204 else _encode(value))
