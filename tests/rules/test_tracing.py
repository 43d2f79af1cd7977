"""Spans: nothing unless wanted; and one trace for what one correlation set going."""

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kassa import tracing
from kassa.core.correlation import correlated, current
from kassa.core.errors import SettingsError


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    end = tracing.start_with(SimpleSpanProcessor(kept), "api")
    yield kept
    end()


def test_what_a_request_set_going_is_one_trace_across_processes(exporter: InMemorySpanExporter) -> None:
    with correlated() as known, tracing.span("request", method="POST"), tracing.span("commit", network="bitcoin"):
        pass
    with correlated(), tracing.span("look", network="bitcoin"):
        pass
    with correlated(known), tracing.span("delivery", delivery="dlv_1"):  # elsewhere, from what stands with the event
        pass
    spans = {span.name: span for span in exporter.get_finished_spans()}
    traces = {name: f"{span.context.trace_id:032x}" for name, span in spans.items() if span.context is not None}
    assert {name for name, trace in traces.items() if trace == known} == {"request", "commit", "delivery"}
    assert dict(spans["delivery"].attributes or {}) == {"delivery": "dlv_1"}


def test_without_a_wish_a_span_is_nothing() -> None:
    assert tracing.span("request", method="GET") is tracing.span("look", network="bitcoin")


def test_a_wish_without_the_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"kassa\[tracing\]"):
        tracing.start("http://127.0.0.1:4318/v1/traces", "api")


def test_a_correlation_ends_with_its_work() -> None:
    with correlated() as outer:
        with correlated() as inner:
            assert current() == inner != outer
        assert current() == outer
    assert current() == ""
