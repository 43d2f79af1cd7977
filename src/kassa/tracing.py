"""Spans for OpenTelemetry: a request, a look at a node, a commit, a delivery. Off, and a comparison, unless `start`ed.

The trace id is the correlation id, so what one request set going is one trace, whichever process did it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kassa.core.correlation import current
from kassa.core.errors import SettingsError

Opened = AbstractContextManager[Any]  # OpenTelemetry's span, or nothing

_NOTHING: Opened = nullcontext()
_open: Callable[[str, Mapping[str, str]], Opened] | None = None


def span(name: str, **attributes: str) -> Opened:
    """Open a span around the block that follows; attributes are few, and never secret."""
    return _NOTHING if _open is None else _open(name, attributes)


def start(endpoint: str, roles: str) -> Callable[[], None]:
    """Send spans to an OTLP collector from now on; return what flushes them at the end.

    Raises `SettingsError` where the packages of the extra `tracing` are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 an extra
    except ImportError:
        raise SettingsError(
            "tracing.endpoint is set, and the packages for it are not installed: pip install 'kassa[tracing]'"
        ) from None
    return start_with(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)), roles)


def start_with(processor: Any, roles: str) -> Callable[[], None]:  # one of the SDK's span processors
    """Hand spans to a processor of the SDK."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 an extra
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 an extra

    class Correlated(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return int(current(), 16) if current() else super().generate_trace_id()

    resource = Resource.create({"service.name": "kassa", "kassa.roles": roles})
    provider = TracerProvider(id_generator=Correlated(), resource=resource)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("kassa")

    def open_span(name: str, attributes: Mapping[str, str]) -> Opened:
        return tracer.start_as_current_span(name, attributes=attributes)

    def end() -> None:
        global _open  # noqa: PLW0603 of the process, like the log
        _open = None
        provider.shutdown()

    global _open  # noqa: PLW0603 of the process, like the log
    _open = open_span
    return end
