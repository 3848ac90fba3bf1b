"""The instruments as Prometheus text or OpenMetrics, for /api/metrics."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

# Prometheus names carry the unit; annotations such as {request} are not units.
_UNITS = {"s": "seconds", "By": "bytes"}


class Exposition(Collector):
    """Collects from the SDK at each scrape, so that /api/metrics and OTLP show the same instruments. Thread-safe."""

    def __init__(self, reader: InMemoryMetricReader | None) -> None:
        """Without a reader there is nothing to show."""
        self._reader = reader
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def prometheus(self) -> tuple[bytes, str]:
        """The body and its content type. The format has no exemplars."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def openmetrics(self) -> tuple[bytes, str]:
        """The body and its content type, with an exemplar on each bucket that a traced value fell in."""
        body: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST

    def read(self) -> list[Metric]:
        """All instruments that have a value, right for several readers at once."""
        with self._lock:
            data = self._reader.get_metrics_data() if self._reader else None
            scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
            return [metric for scope in scopes for metric in scope.metrics]

    def describe(self) -> Iterable[Family]:
        return []

    def collect(self) -> Iterator[Family]:
        for metric in self.read():
            yield self._family(metric)

    def _family(self, metric: Metric) -> Family:
        name = metric.name.replace(".", "_")
        unit = _UNITS.get(metric.unit or "", "")
        points = metric.data.data_points
        keys = sorted({key for point in points for key in point.attributes or {}})
        labels = [key.replace(".", "_") for key in keys]
        help_text = metric.description or ""
        if isinstance(metric.data, HistogramData):
            histogram = HistogramMetricFamily(name, help_text, labels=labels, unit=unit)
            for point in points:
                if isinstance(point, HistogramDataPoint):
                    histogram.add_metric(_values(point, keys), _buckets(point), point.sum)
            return histogram
        counter = isinstance(metric.data, Sum) and metric.data.is_monotonic
        family = (CounterMetricFamily if counter else GaugeMetricFamily)(name, help_text, labels=labels, unit=unit)
        for point in points:
            if isinstance(point, NumberDataPoint):
                family.add_metric(_values(point, keys), point.value)
        return family


def _buckets(point: HistogramDataPoint) -> Any:  # prometheus-client's stubs lack exemplars
    exemplars = {bisect_left(point.explicit_bounds, e.value): _exemplar(e) for e in point.exemplars}
    counts = accumulate(point.bucket_counts)
    return [
        ("+Inf" if bound == float("inf") else str(bound), count, exemplars.get(n))
        for n, (bound, count) in enumerate(zip([*point.explicit_bounds, float("inf")], counts, strict=True))
    ]


def _values(point: NumberDataPoint | HistogramDataPoint, keys: list[str]) -> list[str]:
    attributes = point.attributes or {}
    return [str(attributes.get(key, "")) for key in keys]


def _exemplar(exemplar: SdkExemplar) -> Exemplar:
    labels = {"trace_id": format(exemplar.trace_id or 0, "032x"), "span_id": format(exemplar.span_id or 0, "016x")}
    return Exemplar(labels, exemplar.value, exemplar.time_unix_nano / 1e9)
