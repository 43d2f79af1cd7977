"""What belongs together across processes: an id that a request, a look at a chain or a turn of the clock begins.

It follows the work of its task by itself, stands in every log line, and is stored with the events that the work wrote;
whoever delivers one takes it up again. It is the trace id of the W3C's trace context as well: 32 hexadecimal digits.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("correlation", default="")


def current() -> str:
    """Return the id of the work that is being done; empty outside any."""
    return _current.get()


@contextmanager
def correlated(known: str = "") -> Iterator[str]:
    """Do work under an id: a `known` one, or a new one."""
    id_ = known or secrets.token_hex(16)
    token = _current.set(id_)
    try:
        yield id_
    finally:
        _current.reset(token)
