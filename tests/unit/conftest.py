"""A recorder on memory: spans and metrics of real agno runs, without a destination."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from telemetry import metrics, recorder
from telemetry.histograms import Scraped


@dataclass
class Recorded:
    """What the recorder wrote."""

    tracer: Tracer
    instruments: metrics.Instruments
    exporter: InMemorySpanExporter
    reader: Scraped

    def spans(self, prefix: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(prefix)]

    def span(self, prefix: str) -> ReadableSpan:
        (span,) = self.spans(prefix)
        return span

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    exporter, reader = InMemorySpanExporter(), Scraped()
    tracers = TracerProvider(span_limits=SpanLimits(max_span_attributes=SpanLimits.UNSET), shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    found = Recorded(tracers.get_tracer("test"), metrics.Instruments(meters.get_meter("test")), exporter, reader)
    reader.histograms = found.instruments.histograms
    recorder.install(found)
    yield found
    recorder.uninstall()
    meters.shutdown()
    tracers.shutdown()
