"""A recorder on memory: spans and metrics of real agno runs, without a destination."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind

from telemetry import metrics, recorder, wire
from telemetry.content import Content
from telemetry.histograms import Scraped
from telemetry.span import LiveSpan, Spans


@dataclass
class Recorded:
    """What the recorder wrote."""

    spans: Spans
    instruments: metrics.Instruments
    kept: list[LiveSpan]
    reader: Scraped
    content: Content

    @contextmanager
    def current(self, name: str) -> Iterator[None]:
        span = self.spans.start(name, SpanKind.INTERNAL, Context())
        with trace.use_span(span):
            yield
        self.spans.keep(span, ("memory", None, "test", None, None, None))

    def all(self, prefix: str = "") -> list[ReadableSpan]:
        """As they are after their way to the exporter's process, in the order of their ends."""
        self.spans.flush()
        sent = wire.unpack(wire.pack(self.kept), Resource({}), self.content)
        return [span for span in sent if span.name.startswith(prefix)]

    def span(self, prefix: str) -> ReadableSpan:
        (span,) = self.all(prefix)
        return span

    def points(self, name: str) -> list[Any]:
        self.spans.flush()
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def record(sampler: Sampler = ALWAYS_ON, content: Content = wire.EVERYTHING) -> Iterator[Recorded]:
    """Installs the recorder until it is closed."""
    kept: list[LiveSpan] = []
    reader = Scraped()
    tracers = TracerProvider(sampler, shutdown_on_exit=False)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    instruments = metrics.Instruments(meters.get_meter("test"))
    found = Recorded(Spans(tracers, kept.append), instruments, kept, reader, content)
    reader.histograms = found.instruments.histograms
    recorder.install(found)
    yield found
    recorder.uninstall()
    found.spans.flush()
    meters.shutdown()
    tracers.shutdown()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    yield from record()
