"""The instruments as Prometheus text or OpenMetrics, for /api/metrics."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
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
        self._exemplars: dict[tuple[Any, ...], SdkExemplar] = {}
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
            found = [metric for scope in scopes for metric in scope.metrics]
            for metric in found:
                for point in metric.data.data_points:
                    if isinstance(point, HistogramDataPoint):
                        self._remember(metric.name, point)
        return found

    def exemplars(self, name: str, point: HistogramDataPoint) -> Mapping[int, SdkExemplar]:
        """The newest traced value in each bucket, by the bucket's index."""
        series = (name, frozenset((point.attributes or {}).items()))
        found = ((n, self._exemplars.get((*series, n))) for n in range(len(point.bucket_counts)))
        return {n: exemplar for n, exemplar in found if exemplar is not None}

    def describe(self) -> Iterable[Family]:
        return []

    def collect(self) -> Iterator[Family]:
        for metric in self.read():
            yield self._family(metric)

    def _remember(self, name: str, point: HistogramDataPoint) -> None:
        """The SDK hands out an exemplar once: without this, of two scrapers one would see it."""
        series = (name, frozenset((point.attributes or {}).items()))
        for exemplar in point.exemplars:
            if exemplar.trace_id and exemplar.span_id:
                self._exemplars[(*series, bisect_left(point.explicit_bounds, exemplar.value))] = exemplar

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
                    histogram.add_metric(_values(point, keys), self._buckets(metric.name, point), point.sum)
            return histogram
        counter = isinstance(metric.data, Sum) and metric.data.is_monotonic
        family = (CounterMetricFamily if counter else GaugeMetricFamily)(name, help_text, labels=labels, unit=unit)
        for point in points:
            if isinstance(point, NumberDataPoint):
                family.add_metric(_values(point, keys), point.value)
        return family

    def _buckets(self, name: str, point: HistogramDataPoint) -> Any:  # prometheus-client's stubs lack exemplars
        exemplars = {n: _exemplar(exemplar) for n, exemplar in self.exemplars(name, point).items()}
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
