"""The whole error tree. A message says what happened and what to do.

KassaError
├── SettingsError            the configuration cannot be used
├── Rejected                 the caller asked for something we do not do; nothing was changed
│   ├── Invalid              a value is malformed or out of range (names each field)
│   ├── Unauthorized         no key, or a key that does not open anything
│   ├── Forbidden            the key lacks a scope, or may not be used from there
│   ├── NotFound             no such thing in this store
│   ├── Conflict             true in itself, but not in the present state
│   ├── TooLarge             the body is over the limit
│   ├── UnsupportedMedia     the body is not of the type that is read here
│   ├── Throttled            too much of it in a short time
│   └── Unavailable          cannot be done now; the same request may succeed later
├── ChainError               something about a network's node
│   ├── ChainUnavailable     no usable answer: try again
│   │   └── ChainMoved       the node's best chain changed while we read it: ask again
│   └── ChainInvalid         an answer that cannot be true here: stop this network, call someone
│       └── ChainUnfit       this node cannot be asked what we must know: look at it anew
├── SourceError              something about a source of rates
│   ├── SourceUnavailable    no usable answer: try again
│   └── SourceInvalid        an answer that cannot be read, or cannot be true: it counts for nothing
├── Outdated                 what a decision was based on has changed meanwhile: decide again; nothing was written
├── LeaseLost                another process holds the lease now; nothing was committed
├── DatabaseError            the database cannot be used as it is
├── BackupError              a backup cannot be written, read or trusted
└── SandboxError             a local node or the sandbox cannot be started
"""

from dataclasses import dataclass


class KassaError(Exception):
    """Base of every error that Kassa raises on purpose."""


class SettingsError(KassaError):
    """The configuration cannot be used; the message names the key and the remedy."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One malformed field of a request: `field` is a dotted path such as `payment_options.0`."""

    field: str
    message: str


class Rejected(KassaError):
    """The caller asked for something we do not do. `code` is stable and meant for programs."""

    status = 400
    code = "rejected"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Invalid(Rejected):
    """A value is malformed or out of range. `faults` names each field."""

    status = 422
    code = "validation_failed"

    def __init__(self, *faults: FieldFault, code: str | None = None) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults), code=code)
        self.faults = faults


class Unauthorized(Rejected):
    """No key was given, or one that opens nothing."""

    status = 401
    code = "unauthorized"


class Forbidden(Rejected):
    """The key is known but lacks the scope, or may not be used from where it is."""

    status = 403
    code = "forbidden"


class NotFound(Rejected):
    """Unknown here: a foreign id and an unknown id look the same."""

    status = 404
    code = "not_found"


class Conflict(Rejected):
    """Well formed, but not possible in the present state."""

    status = 409
    code = "conflict"


class TooLarge(Rejected):
    """The request body is over the limit."""

    status = 413
    code = "body_too_large"


class UnsupportedMedia(Rejected):
    """The body is not of the type, or in the encoding, that is read here."""

    status = 415
    code = "unsupported_media_type"


class Throttled(Rejected):
    """Asked too often; the same request may succeed after a while: `seconds`, if it is known (else 0)."""

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str, *, seconds: int = 0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.seconds = seconds


class Unavailable(Rejected):
    """Cannot be done now; the same request may succeed later."""

    status = 503
    code = "unavailable"


class ChainError(KassaError):
    """Something about a network's node."""


class ChainUnavailable(ChainError):
    """The node gave no usable answer (down, loading, timed out): try again, conclude nothing."""


class ChainMoved(ChainUnavailable):
    """The node's best chain changed while it was read: ask again from the tip."""


class ChainInvalid(ChainError):
    """The node said what cannot be true on this network: stop following it and call someone."""


class ChainUnfit(ChainInvalid):
    """This node cannot be asked what we must know: it, or another behind the same address, must be looked at anew."""


class SourceError(KassaError):
    """Something about a source of rates."""


class SourceUnavailable(SourceError):
    """The source gave no usable answer: try again, after `retry_after` seconds if it named any."""

    def __init__(self, message: str, *, retry_after: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceInvalid(SourceError):
    """The source's answer cannot be read or cannot be true: it counts for nothing."""


class Outdated(KassaError):
    """What a decision was based on has changed meanwhile; nothing was written: read it anew and decide again."""


class LeaseLost(KassaError):
    """Another process holds the lease now; the transaction was rolled back."""


class DatabaseError(KassaError):
    """The database cannot be used as it is; the message names the remedy."""


class BackupError(KassaError):
    """A backup cannot be written, read or trusted; the message says what to do."""


class SandboxError(KassaError):
    """A local node or the sandbox cannot be started; the message names the remedy."""
