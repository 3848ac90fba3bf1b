"""Histograms that are added up here and join what the SDK collects: a tenth of its time for each value, and one copy
for all readers instead of one for each.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from opentelemetry.trace import SpanContext, TraceFlags

from telemetry.catalogue import INSTRUMENTS, MOST_SERIES, OVERFLOW, Instrument, Values
from telemetry.operation import CURRENT
from telemetry.span import current

_SAMPLED = TraceFlags.SAMPLED


@dataclass(slots=True)
class _Series:
    counts: list[int]
    sum: float = 0.0
    min: float = float("inf")
    max: float = float("-inf")
    # the newest in each bucket: its value, its time and its span
    exemplars: dict[int, tuple[float, int, SpanContext]] = field(default_factory=dict)


class Histograms:
    """Those of the catalogue. Thread-safe. Cumulative since this was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.time_ns()
        self._instruments = {i.name: i for i in INSTRUMENTS if i.kind == "histogram"}
        self._series: dict[str, dict[Values, _Series]] = {name: {} for name in self._instruments}

    def record(self, name: str, value: float, values: Values) -> None:
        """`values` of the instrument's attributes. The current span is the exemplar, if it is sampled."""
        series = self._series[name].get(values) or self._new(name, values)
        bucket = bisect_left(self._instruments[name].buckets, value)
        span = current(CURRENT.get()).get_span_context()
        with self._lock:
            series.counts[bucket] += 1
            series.sum += value
            if value < series.min:
                series.min = value
            if value > series.max:
                series.max = value
            if span.trace_flags & _SAMPLED:
                series.exemplars[bucket] = value, time.time_ns(), span

    def _new(self, name: str, values: Values) -> _Series:
        all_series = self._series[name]
        with self._lock:
            if len(all_series) >= MOST_SERIES and values not in all_series:
                values = OVERFLOW
            return all_series.setdefault(values, _Series([0] * (len(self._instruments[name].buckets) + 1)))

    def after_fork(self) -> None:
        """In a forked child: who held the lock does not exist there."""
        self._lock = threading.Lock()

    def metrics(self, since: int) -> list[Metric]:
        """All that have a value. Exemplars are those of `since` (nanoseconds) or later."""
        now = time.time_ns()
        with self._lock:
            return [
                _metric(
                    instrument, [_point(instrument, values, s, self._began, now, since) for values, s in series.items()]
                )
                for instrument, series in zip(self._instruments.values(), self._series.values(), strict=True)
                if series
            ]


def _metric(instrument: Instrument, points: Sequence[HistogramDataPoint]) -> Metric:
    data = Histogram(points, AggregationTemporality.CUMULATIVE)
    return Metric(instrument.name, instrument.help, instrument.unit, data)


def _point(
    instrument: Instrument, values: Values, series: _Series, began: int, now: int, since: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=instrument.labelled(values),
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(series.counts),
        sum=series.sum,
        bucket_counts=tuple(series.counts),
        explicit_bounds=instrument.buckets,
        min=series.min,
        max=series.max,
        exemplars=[
            Exemplar({}, value, at, span.span_id, span.trace_id)
            for value, at, span in series.exemplars.values()
            if at >= since
        ],
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
