"""Histograms that are added up here and join what the SDK collects: a tenth of its time for each value, and one copy
for all readers instead of one for each.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    PeriodicExportingMetricReader,
)

from telemetry.catalogue import INSTRUMENTS, Instrument

Key = tuple[tuple[str, str], ...]

MOST_SERIES = 2000  # of one instrument, as the SDK has it; what comes beyond is one series
_OVERFLOW: Key = (("otel.metric.overflow", "true"),)


@dataclass(slots=True)
class _Series:
    counts: list[int]
    sum: float = 0.0
    min: float = float("inf")
    max: float = float("-inf")
    exemplars: dict[int, Exemplar] = field(default_factory=dict)  # the newest in each bucket


class Histograms:
    """Those of the catalogue. Thread-safe. Cumulative since this was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.time_ns()
        self._instruments = {i.name: i for i in INSTRUMENTS if i.kind == "histogram"}
        self._series: dict[str, dict[Key, _Series]] = {name: {} for name in self._instruments}

    def record(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """With the current span as an exemplar, if it is sampled. Attributes come in the same order every time."""
        bounds = self._instruments[name].buckets
        all_series = self._series[name]
        key = tuple(attributes.items())
        bucket = bisect_left(bounds, value)
        span = trace.get_current_span().get_span_context()
        with self._lock:
            series = all_series.get(key)
            if series is None:
                if len(all_series) >= MOST_SERIES:
                    key = _OVERFLOW
                series = all_series.setdefault(key, _Series([0] * (len(bounds) + 1)))
            series.counts[bucket] += 1
            series.sum += value
            series.min = min(series.min, value)
            series.max = max(series.max, value)
            if span.trace_flags.sampled:
                series.exemplars[bucket] = Exemplar({}, value, time.time_ns(), span.span_id, span.trace_id)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def metrics(self, since: int) -> list[Metric]:
        """All that have a value. Exemplars are those of `since` (nanoseconds) or later."""
        now = time.time_ns()
        with self._lock:
            return [
                _metric(instrument, [_point(instrument, key, s, self._began, now, since) for key, s in series.items()])
                for instrument, series in zip(self._instruments.values(), self._series.values(), strict=True)
                if series
            ]


def _metric(instrument: Instrument, points: Sequence[HistogramDataPoint]) -> Metric:
    data = Histogram(points, AggregationTemporality.CUMULATIVE)
    return Metric(instrument.name, instrument.help, instrument.unit, data)


def _point(instrument: Instrument, key: Key, series: _Series, began: int, now: int, since: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(key),
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(series.counts),
        sum=series.sum,
        bucket_counts=tuple(series.counts),
        explicit_bounds=instrument.buckets,
        min=series.min,
        max=series.max,
        exemplars=[exemplar for exemplar in series.exemplars.values() if exemplar.time_unix_nano >= since],
    )


class Scraped(InMemoryMetricReader):
    """What is read when somebody looks, exemplars of all times included."""

    histograms: Histograms | None = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any) -> None:
        super()._receive_metrics(_joined(metrics_data, self.histograms, 0), timeout_millis, **more)


class Exported(PeriodicExportingMetricReader):
    """What is sent now and then, each exemplar once."""

    histograms: Histograms | None = None
    _sent_at = 0

    def _at_fork_reinit(self) -> None:
        """Nothing: in a forked child the SDK (1.45) would send its parent's metrics once more."""

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any) -> None:
        since, self._sent_at = self._sent_at, time.time_ns()
        super()._receive_metrics(_joined(metrics_data, self.histograms, since), timeout_millis, **more)


def _joined(data: MetricsData, histograms: Histograms | None, since: int) -> MetricsData:
    """With the histograms beside the SDK's metrics of the same scope, which is there: its gauges always have values."""
    metrics = histograms.metrics(since) if histograms else []
    if not metrics or not data.resource_metrics:
        return data
    first, *others = data.resource_metrics
    scope, *scopes = first.scope_metrics
    scope = replace(scope, metrics=[*scope.metrics, *metrics])
    return MetricsData([replace(first, scope_metrics=[scope, *scopes]), *others])
