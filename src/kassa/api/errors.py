"""Every error as `application/problem+json` (RFC 9457). What is unexpected is logged here and told to nobody."""

import traceback

import msgspec
import structlog
from litestar.exceptions import HTTPException

from kassa.api.reply import Reply
from kassa.core.errors import FieldFault, Invalid, NotFound, Rejected, Throttled, Unauthorized, Unavailable

log = structlog.get_logger()

PROBLEM = b"application/problem+json"

TITLES = {
    400: "The request cannot be read",
    401: "A valid API key is needed",
    403: "The API key may not do this",
    404: "Not found",
    405: "This path does not know the method",
    409: "Not possible in the present state",
    413: "The body is too large",
    415: "The body's type is not supported",
    422: "The request is not valid",
    429: "Too many requests; try again later",
    500: "Something went wrong here",
    503: "Not possible now; try again",
}

# One text for every id that is unknown here: a foreign id must look exactly like one that never existed.
_ABSENT = "there is no such thing in this store"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong: `code` is stable and meant for programs, `detail` for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: tuple["Fault", ...] = ()


class Fault(msgspec.Struct, frozen=True):
    """One malformed field, by its dotted path."""

    field: str
    message: str


def from_rejection(error: Rejected) -> Reply:
    """Write an error that the caller is told in full."""
    faults = error.faults if isinstance(error, Invalid) else ()
    detail = _ABSENT if isinstance(error, NotFound) else str(error)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, Unauthorized):
        headers = ((b"www-authenticate", b"Bearer"),)
    elif isinstance(error, Unavailable):
        headers = ((b"retry-after", b"5"),)
    elif isinstance(error, Throttled) and error.seconds:
        headers = ((b"retry-after", str(error.seconds).encode()),)
    elif error.status in (408, 413):
        headers = ((b"connection", b"close"),)  # the rest of the body is not worth reading
    return problem(error.status, error.code, detail, faults, headers)


def from_away(error: Exception) -> Reply:
    """Write that the database cannot be used; the reason is for the log."""
    log.error("the database cannot be used", error=type(error).__name__, message=_first_line(error))
    return from_rejection(Unavailable("the service cannot do this now; send the same request again"))


def from_framework(error: Exception) -> Reply:
    """Write what the framework refused (unknown path or method), or hide what nobody expected."""
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        status = error.status_code if error.status_code in TITLES else 400
        code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(status, "rejected")
        allow = (error.headers or {}).get("allow")
        headers = ((b"allow", allow.encode()),) if allow else ()
        return problem(status, code, _ABSENT if status == 404 else f"{TITLES[status].lower()}", (), headers)
    log.error(
        "a request failed unexpectedly", error=type(error).__name__, message=_first_line(error), at=_frames(error)
    )
    return problem(500, "internal_error", "the failure was written to the log; nothing about it is shown here")


def problem(
    status: int,
    code: str,
    detail: str,
    faults: tuple[FieldFault, ...] = (),
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Reply:
    """Build the answer of an error."""
    errors = tuple(Fault(fault.field, fault.message) for fault in faults)
    body = Problem(f"urn:kassa:problem:{code}", TITLES[status], status, code, detail, errors)
    return Reply(status, msgspec.json.encode(body), PROBLEM, headers)


def _first_line(error: Exception) -> str:
    # What follows in a database's message ("DETAIL: Key (hash)=…") shows values.
    return next(iter(str(error).splitlines()), "")[:300]


def _frames(error: Exception) -> list[str]:
    # Not `exc_info`: how that is written is set elsewhere, and some renderers show local variables, keys among them.
    frames = traceback.extract_tb(error.__traceback__)[-20:]
    return [f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
