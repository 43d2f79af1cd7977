"""Read a request: headers, a bounded body, strict JSON, strict query parameters."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar.types import Receive

from kassa.core.errors import FieldFault, Invalid, Rejected, TooLarge, Unauthorized, UnsupportedMedia

MAX_BODY = 65_536
MAX_DRAINED = 1_048_576  # of a refused body: enough for an honest client to finish and read why
BODY_SECONDS = 10
MAX_QUERY = 4_096

_READ = (b"authorization", b"idempotency-key", b"content-type", b"content-encoding", b"content-length")
_PLACE = re.compile(r"\A(?P<said>.*?)(?: - at `(?P<place>.*)`)?\Z", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|missing required) field `(?P<name>.*)`\Z", re.DOTALL)
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_STEP = re.compile(r"\.?([^.\[\]]+)")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z", re.ASCII)


def prefers_html(accept: str) -> bool:
    """Tell whether an Accept (RFC 9110, 12.5.1) names HTML, and JSON not as much: that `*/*` will do, programs say."""
    weights = dict.fromkeys(("text/html", "application/json", "application/problem+json"), 0.0)
    for part in accept.lower().split(","):
        kind, *told = (piece.strip() for piece in part.split(";"))
        if kind in weights:
            weight = next((_WEIGHT.fullmatch(one) for one in told if one.startswith("q=")), _WEIGHT.fullmatch("q=1"))
            weights[kind] = max(weights[kind], float(weight[1]) if weight else 0.0)
    html, *others = weights.values()
    return html > max(others)


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers that matter here; raise `Rejected` for one that is given twice."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            if name in found:
                if name == b"authorization":
                    raise Unauthorized("the Authorization header is given more than once")
                raise Rejected(f"the header {name.decode()} is given more than once", code="repeated_header")
            found[name] = value
    return found


class Body:
    """The body of a request, of at most `MAX_BODY` bytes whatever its headers claim: read once, however often asked."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        self._headers, self._receive = headers, receive
        self._read: bytes | None = None

    async def __call__(self) -> bytes:
        """Return it; raise `Rejected` for one that comes too slowly or is coded, `TooLarge` while it is being read."""
        if self._read is None:
            self._read = await _read_body(self._headers, self._receive)
        return self._read

    async def arrive(self) -> bool:
        """Read it, and tell whether its sender had us wait: what was found out before may hold no longer then."""
        turns: list[None] = []
        turn = asyncio.get_running_loop().call_soon(turns.append, None)  # called only where reading lets others run
        try:
            await self()
        finally:
            turn.cancel()
        return bool(turns)


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMedia("send the body without a Content-Encoding")
    message = await _next(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _bounded(body)
    parts, size = [body], len(body)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = await _next(receive)
                size += len(message.get("body", b""))
                if size <= MAX_BODY:
                    parts.append(message.get("body", b""))
                elif size > MAX_DRAINED:
                    break
    except TimeoutError:
        raise Rejected("the body came too slowly; send it at once", code="body_too_slow") from None
    if size > MAX_BODY:
        raise TooLarge(f"the body is over {MAX_BODY} bytes")
    return b"".join(parts)


def decode_body(headers: Mapping[bytes, bytes], body: bytes, decoder: "msgspec.json.Decoder[Any]") -> Any:  # the struct
    """Decode a JSON body strictly; raise `Rejected` for what is no JSON, `Invalid` naming the field that is wrong."""
    media_type = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise UnsupportedMedia("send the body as application/json")
    try:
        _refuse_repeated_names(body)
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(_fault(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8"
        raise Rejected(f"the body is not JSON: {said}", code="malformed_json") from None
    except RecursionError:
        raise Rejected("the body is nested too deeply", code="malformed_json") from None


def decode_query(query: bytes, shape: type[msgspec.Struct] | None) -> Any:  # the struct
    """Decode query parameters strictly; raise `Invalid` for unknown, repeated or malformed ones."""
    if len(query) > MAX_QUERY:
        raise Invalid(FieldFault("query", f"is longer than {MAX_QUERY} bytes"))
    given: dict[str, object] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None):
        if name in given:
            raise Invalid(FieldFault(name[:60], "is given more than once"))
        given[name] = value
    if shape is None:
        if given:
            raise Invalid(FieldFault(next(iter(given))[:60], "is not a parameter here"))
        return None
    for field in msgspec.structs.fields(shape):
        text = given.get(field.encode_name)
        if field.name == "limit" and isinstance(text, str) and _INTEGER.match(text):
            given[field.encode_name] = int(text)
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError as error:
        raise Invalid(_fault(str(error))) from None


async def _next(receive: Receive) -> Any:  # an ASGI message
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Rejected("the client went away", code="client_gone")
    return message


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_BODY:
        raise TooLarge(f"the body is over {MAX_BODY} bytes")
    return body


def _refuse_repeated_names(body: bytes) -> None:
    # Readers differ on which of two equal names counts, so a body that has them means two things.
    try:
        _NAMES.decode(body.decode())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return  # the strict decoder says what is wrong


def _once(pairs: list[tuple[str, Any]]) -> None:  # JSON
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            # Half of a surrogate pair cannot be written back.
            shown = name[:60].encode("utf-8", "backslashreplace").decode()
            raise Invalid(FieldFault(shown, "is given more than once"))
        seen.add(name)


# Numbers are not worth reading here, and reading a very long one would take long.
_NAMES = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len, parse_constant=len)


def _fault(text: str) -> FieldFault:
    """Turn msgspec's words ("Expected `str`, got `int` - at `$.amount`") into a field and a message."""
    match = _PLACE.match(text)
    said, place = (match["said"], match["place"] or "") if match else (text, "")
    path = _STEP.findall(place.removeprefix("$"))
    if named := _FIELD.search(said):
        path.append(named["name"])
        said = "is not a known field" if "unknown" in said else "is required"
    return FieldFault(".".join(path)[:200] or "body", said.replace("`", "")[:300])
