"""The instruments as Prometheus text or OpenMetrics, for /api/metrics."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

# Prometheus names carry the unit; annotations such as {request} are not units.
_UNITS = {"s": "seconds", "By": "bytes"}


class Exposition(Collector):
    """Collects from the SDK at each scrape, so that /api/metrics and OTLP show the same instruments."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics with exemplars when `accept` asks for it, else Prometheus text."""
        encode, content_type = choose_encoder(accept or "")
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Family]:
        return []

    def collect(self) -> Iterator[Family]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield _family(metric)


def _family(metric: Metric) -> Family:
    name = metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit or "", "")
    if unit:
        name = f"{name}_{unit}"
    points = metric.data.data_points
    keys = sorted({key for point in points for key in point.attributes or {}})
    labels = [key.replace(".", "_") for key in keys]
    help_text = metric.description or ""
    if isinstance(metric.data, HistogramData):
        histogram = HistogramMetricFamily(name, help_text, labels=labels)
        for point in points:
            if isinstance(point, HistogramDataPoint):
                histogram.add_metric(_values(point, keys), _buckets(point), point.sum)
        return histogram
    counter = isinstance(metric.data, Sum) and metric.data.is_monotonic
    family = (CounterMetricFamily if counter else GaugeMetricFamily)(name, help_text, labels=labels)
    for point in points:
        if isinstance(point, NumberDataPoint):
            family.add_metric(_values(point, keys), point.value)
    return family


def _values(point: NumberDataPoint | HistogramDataPoint, keys: list[str]) -> list[str]:
    attributes = point.attributes or {}
    return [str(attributes.get(key, "")) for key in keys]


def _buckets(point: HistogramDataPoint) -> Any:  # prometheus-client's stubs know no bucket without an exemplar
    bounds = [*point.explicit_bounds, float("inf")]
    exemplars: dict[int, Exemplar] = {}
    for e in point.exemplars:
        if e.trace_id and e.span_id:
            bucket = next(n for n, bound in enumerate(bounds) if e.value <= bound)
            labels = {"trace_id": format(e.trace_id, "032x"), "span_id": format(e.span_id, "016x")}
            exemplars[bucket] = Exemplar(labels, e.value, e.time_unix_nano / 1e9)
    counts = accumulate(point.bucket_counts)
    return [
        (_bound(bound), count, exemplars.get(n)) for n, (bound, count) in enumerate(zip(bounds, counts, strict=True))
    ]


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)
