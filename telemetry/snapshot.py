"""The instruments as a person reads them: every one of the catalogue, with its values now."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, NumberDataPoint

from telemetry.catalogue import INSTRUMENTS
from telemetry.exposition import Exposition

PERCENTILES = (50, 90, 99)


def instruments(exposition: Exposition, link: Callable[[str], str]) -> list[dict[str, Any]]:
    """One entry per instrument: name, kind, unit, help and `values`, each with its attributes.

    A histogram's value has count, mean, min, max, p50, p90, p99 in the instrument's unit, and `newest`: the trace of
    the newest value that has one, with `link(trace_id)`. Percentiles are estimates, see `percentile`.
    """
    metrics = {metric.name: metric for metric in exposition.read()}
    return [
        {
            "name": i.name,
            "kind": i.kind.replace("_", " "),
            "unit": i.unit,
            "help": i.help,
            "values": _values(metrics[i.name], link) if i.name in metrics else [],
        }
        for i in INSTRUMENTS
    ]


def percentile(point: HistogramDataPoint, percent: float) -> float:
    """Estimated as Prometheus' histogram_quantile does: evenly spread within the bucket that it falls in.

    Better only at the edges: no estimate is below the smallest value seen or above the largest.
    """
    wanted = point.count * percent / 100
    below = 0
    low = 0.0
    for bound, count in zip([*point.explicit_bounds, point.max], point.bucket_counts, strict=True):
        if count and below + count >= wanted:
            estimate = low + (bound - low) * (wanted - below) / count
            return min(max(estimate, point.min), point.max)
        below += count
        low = bound
    return point.max


def _values(metric: Metric, link: Callable[[str], str]) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = []
    points: Sequence[Any] = metric.data.data_points
    for point in sorted(points, key=lambda point: sorted((point.attributes or {}).items())):
        attributes = dict(point.attributes or {})
        if isinstance(point, HistogramDataPoint):
            values.append({"attributes": attributes, **_histogram(point, link)})
        elif isinstance(point, NumberDataPoint):
            values.append({"attributes": attributes, "value": _short(point.value)})
    return values


def _histogram(point: HistogramDataPoint, link: Callable[[str], str]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "count": point.count,
        "mean": _short(point.sum / point.count),
        "min": _short(point.min),
        **{f"p{percent}": _short(percentile(point, percent)) for percent in PERCENTILES},
        "max": _short(point.max),
    }
    newest = max(point.exemplars, key=lambda e: e.time_unix_nano, default=None)
    if newest is not None:
        trace_id = format(newest.trace_id or 0, "032x")
        at = datetime.fromtimestamp(newest.time_unix_nano / 1e9, tz=UTC)
        value["newest"] = {
            "value": _short(newest.value),
            "at": at.isoformat(timespec="seconds"),
            "trace_id": trace_id,
            "link": link(trace_id),
        }
    return value


def _short(value: float) -> float:
    """Four significant digits, and integers whole: nobody reads more."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
