"""Metric points as rows of otel_metrics_*: the columns that the collector's ClickHouse exporter (v0.161) inserts.

The Python SDK makes no summaries, so there is no writer for that table.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from telemetry.clickhouse.values import STRING_MAP, attribute_map, service_name, transposed

SERIES: Final = {
    "ResourceAttributes": STRING_MAP,
    "ResourceSchemaUrl": "String",
    "ScopeName": "String",
    "ScopeVersion": "String",
    "ScopeAttributes": STRING_MAP,
    "ScopeDroppedAttrCount": "UInt32",
    "ScopeSchemaUrl": "String",
    "ServiceName": "LowCardinality(String)",
    "MetricName": "LowCardinality(String)",
    "MetricDescription": "String",
    "MetricUnit": "String",
    "Attributes": STRING_MAP,
    "StartTimeUnix": "DateTime64(9)",
    "TimeUnix": "DateTime64(9)",
}
EXEMPLARS: Final = {
    "Exemplars.FilteredAttributes": f"Array({STRING_MAP})",
    "Exemplars.TimeUnix": "Array(DateTime64(9))",
    "Exemplars.Value": "Array(Float64)",
    "Exemplars.SpanId": "Array(String)",
    "Exemplars.TraceId": "Array(String)",
}
RANGE: Final = {"Flags": "UInt32", "Min": "Float64", "Max": "Float64", "AggregationTemporality": "Int32"}

# Table -> columns, in the order of the rows made below.
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "otel_metrics_gauge": {**SERIES, "Value": "Float64", "Flags": "UInt32", **EXEMPLARS},
    "otel_metrics_sum": {
        **SERIES,
        "Value": "Float64",
        "Flags": "UInt32",
        **EXEMPLARS,
        "AggregationTemporality": "Int32",
        "IsMonotonic": "Bool",
    },
    "otel_metrics_histogram": {
        **SERIES,
        "Count": "UInt64",
        "Sum": "Float64",
        "BucketCounts": "Array(UInt64)",
        "ExplicitBounds": "Array(Float64)",
        **EXEMPLARS,
        **RANGE,
    },
    "otel_metrics_exponential_histogram": {
        **SERIES,
        "Count": "UInt64",
        "Sum": "Float64",
        "Scale": "Int32",
        "ZeroCount": "UInt64",
        "PositiveOffset": "Int32",
        "PositiveBucketCounts": "Array(UInt64)",
        "NegativeOffset": "Int32",
        "NegativeBucketCounts": "Array(UInt64)",
        **EXEMPLARS,
        **RANGE,
    },
}

Row = tuple[Any, ...]
Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint


def columns(data: MetricsData) -> dict[str, list[list[Any]]]:
    """For each table that gets rows, one list for each of its COLUMNS; times in Unix nanoseconds."""
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for resource_metrics in data.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                table, points = rows_of(metric, describe(resource_metrics.resource, scope_metrics.scope, metric))
                rows[table] += points
    return {table: transposed(points, len(COLUMNS[table])) for table, points in rows.items() if points}


def describe(resource: Resource, scope: InstrumentationScope, metric: Metric) -> Row:
    """The columns of SERIES up to the attributes."""
    return (
        attribute_map(resource.attributes),
        resource.schema_url or "",
        scope.name or "",
        scope.version or "",
        attribute_map(scope.attributes),
        0,  # the Python OTLP encoder never sends a count of dropped scope attributes
        scope.schema_url or "",
        service_name(resource.attributes),
        metric.name,
        metric.description or "",
        metric.unit or "",
    )


def rows_of(metric: Metric, series: Row) -> tuple[str, list[Row]]:
    data = metric.data
    if isinstance(data, Gauge):
        # the Python OTLP encoder sends no start time with gauges
        return "otel_metrics_gauge", [
            (*series, attribute_map(p.attributes), 0, p.time_unix_nano, float(p.value), 0, *exemplars(p.exemplars))
            for p in data.data_points
        ]
    temporality = int(data.aggregation_temporality)
    if isinstance(data, Sum):
        return "otel_metrics_sum", [
            (*head(series, p), float(p.value), 0, *exemplars(p.exemplars), temporality, data.is_monotonic)
            for p in data.data_points
        ]
    if isinstance(data, Histogram):
        return "otel_metrics_histogram", [
            (
                *head(series, p),
                p.count,
                float(p.sum or 0),
                list(p.bucket_counts),
                list(p.explicit_bounds),
                *exemplars(p.exemplars),
                0,
                float(p.min or 0),
                float(p.max or 0),
                temporality,
            )
            for p in data.data_points
        ]
    return "otel_metrics_exponential_histogram", [exponential(series, p, temporality) for p in data.data_points]


def exponential(series: Row, p: ExponentialHistogramDataPoint, temporality: int) -> Row:
    positive, negative = list(p.positive.bucket_counts), list(p.negative.bucket_counts)
    return (
        *head(series, p),
        p.count,
        float(p.sum or 0),
        p.scale,
        p.zero_count,
        p.positive.offset if positive else 0,
        positive,
        p.negative.offset if negative else 0,
        negative,
        *exemplars(p.exemplars),
        p.flags,
        float(p.min or 0),
        float(p.max or 0),
        temporality,
    )


def head(series: Row, p: Point) -> Row:
    return (*series, attribute_map(p.attributes), p.start_time_unix_nano or 0, p.time_unix_nano)


def exemplars(found: Sequence[Exemplar]) -> Row:
    """The columns of EXEMPLARS. Unlike elsewhere, a missing id is written as zeros."""
    ids = [(e.span_id, e.trace_id) if e.span_id is not None and e.trace_id is not None else (0, 0) for e in found]
    return (
        [attribute_map(e.filtered_attributes) for e in found],
        [e.time_unix_nano for e in found],
        [float(e.value) for e in found],
        [f"{span:016x}" for span, _ in ids],
        [f"{trace:032x}" for _, trace in ids],
    )
