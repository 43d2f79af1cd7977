"""What belongs together across processes: an id that a request, a look at a chain or a turn of the clock begins.

It follows the work of its task by itself, stands in every log line, and is stored with the events that the work wrote;
whoever delivers one takes it up again. It is the trace id of the W3C's trace context as well: 32 hexadecimal digits.
"""

from contextvars import ContextVar
from os import urandom

_current: ContextVar[str] = ContextVar("correlation", default="")


def current() -> str:
    """Return the id of the work that is being done; empty outside any."""
    return _current.get()


class correlated:  # noqa: N801 used like a function: `with correlated() as id_`
    """Do work under an id: a `known` one, or a new one. A class, since a generator costs three times as much."""

    __slots__ = ("_id", "_token")

    def __init__(self, known: str = "") -> None:
        self._id = known or urandom(16).hex()

    def __enter__(self) -> str:
        self._token = _current.set(self._id)
        return self._id

    def __exit__(self, *_fault: object) -> None:
        _current.reset(self._token)
