"""What the log looks like: JSON lines, or columns on a terminal; no control characters, no secrets."""

import logging
import os
import re
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO, cast

import structlog

from kassa.core.correlation import current

LONGEST = 4_000  # of one text; a stack may be longer
_LONGEST_STACK = 20_000
PATIENCE_MS = 50
_SECRET_NAME = re.compile(
    r"passw|secret|token|authorization|api_?key|mnemonic|seed|private|rpc_url|database_url", re.IGNORECASE
)
# What node providers and invitations use; neither an id of ours nor the 64 digits of a transaction.
_KEY_IN_PATH = re.compile(r"(?<=[^/]/)(?![a-z]{3}_[0-9a-z]{29}\b)[A-Za-z0-9_-]{20,63}(?![A-Za-z0-9_.:@-])")
_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"kassa_(live|test)_\w+"), r"kassa_\1_[redacted]"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), "whsec_[redacted]"),
    (re.compile(r"\b[a-zA-Z]prv[1-9A-HJ-NP-Za-km-z]{50,}"), "[redacted private key]"),
    (re.compile(r"(?<=://)[^/\s]+@"), "[redacted]@"),
    (re.compile(r"(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]+"), r"\1 [redacted]"),
    (re.compile(r"\bAGE-SECRET-KEY-1[0-9A-Za-z]+"), "[redacted identity]"),
    (re.compile(r"(?i)([?&](?:\w*(?:passw|secret|token)\w*|(?:api_?)?key|auth)=)[^&\s\"']+"), r"\1[redacted]"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://\S+"), lambda url: _KEY_IN_PATH.sub("[redacted]", url[0])),
)

Event = MutableMapping[str, Any]  # structlog's word for a line that is being made


def configure(*, level: int = logging.INFO, to: TextIO | None = None, form: str = "auto") -> None:
    """Send our log lines and those of the libraries to standard error, or to a file, in one form.

    `form`: "json" lines, "console" columns, or "auto": columns on a terminal.
    """
    stream = _Lossy(sys.stderr if to is None else to)
    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _correlated,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _clean,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=True)
    if form == "console" or (form == "auto" and stream.isatty()):
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*steps, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, stream)),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


class _Lossy:
    """A stream whose lines are lost, and counted, while nothing can be written: no log may end, or hold up, what it
    tells of. A pipe that nobody reads is given `PATIENCE_MS` once, and no time more until it takes something again.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Reentrant: while we hold it the interpreter may collect a failed task, which logs that on the same thread.
        self._lock = threading.RLock()
        self._begun: list[str] = []
        self._stands = self._cut = False
        self._poll: select.poll | None = None
        with suppress(OSError, ValueError):  # a stream in memory has no file below it
            file = _unwaiting(stream.fileno())
            self._send = _sending(file)
            self._poll = select.poll()
            self._poll.register(file, select.POLLOUT)

    def write(self, text: str) -> int:
        with self._lock:
            self._begun.append(text)
        return len(text)

    def flush(self) -> None:
        with self._lock, self._losing():
            text = "".join(self._begun)
            self._begun.clear()
            if self._poll is None:
                self._stream.write(text)
                self._stream.flush()
            elif text:
                self._put(text.encode(errors="backslashreplace"), self._poll)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _put(self, line: bytes, poll: select.poll) -> None:
        # What was cut is ended, so that the next line is whole. Up to PIPE_BUF, what can be written is written at once.
        left = memoryview(b"\n" + line if self._cut else line)
        size = len(left)
        while left:
            try:
                if not poll.poll(0 if self._stands else PATIENCE_MS):
                    raise BlockingIOError("nobody reads the log")
                left = left[self._send(left[: select.PIPE_BUF]) :]
            except BlockingIOError:
                self._stands, self._cut = True, self._cut or len(left) < size
                raise
            self._stands = self._cut = False

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # Imported here: commands that serve nothing count nothing, and start faster.
            from kassa.measures import LOG_FAILURES  # noqa: PLC0415

            LOG_FAILURES.inc()


def _unwaiting(file: int) -> int:
    """Return a descriptor of a pipe or a terminal that never waits, else the same one.

    Others may write to it too and fill it after it was said to take something. The descriptor that all share stays as
    it is: the pipe is opened once more.
    """
    if not stat.S_ISFIFO(os.fstat(file).st_mode) and not os.isatty(file):
        return file
    try:
        return os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # not Linux, or no /proc
        return file


def _sending(file: int) -> Callable[[memoryview], int]:
    """Return what writes to a descriptor; to a socket, such as journald's, without a wait for whoever shares it."""
    return partial(_send_at_once if stat.S_ISSOCK(os.fstat(file).st_mode) else os.write, file)


def _send_at_once(file: int, data: memoryview) -> int:
    borrowed = socket.socket(fileno=file)
    try:
        return borrowed.send(data, socket.MSG_DONTWAIT)
    finally:
        borrowed.detach()


def _correlated(_logger: object, _method: str, event: Event) -> Event:
    if id_ := current():
        event["correlation"] = id_
    return event


def _clean(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if name.startswith("_"):  # structlog's own
            continue
        event[name] = "[redacted]" if _SECRET_NAME.search(name) else cleaned(value, stack=name == "exception")
    return event


def cleaned(value: object, *, stack: bool = False) -> object:
    """Return a value as it may be logged: numbers as they are, else text without secrets or control characters."""
    if value is None or isinstance(value, bool | int):
        return value
    longest = _LONGEST_STACK if stack else LONGEST
    # Read far beyond the cut, or the half of a secret in front of it would not be known for one.
    text = str(value)[: 4 * longest]
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    text = text[:longest]
    if text.isprintable():
        return text
    keep = "\n" if stack else ""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)
