"""Log records as rows of otel_logs: the columns that the collector's ClickHouse exporter (v0.161) inserts."""

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord

from telemetry.clickhouse.values import (
    STRING_MAP,
    NotEncodable,
    as_string,
    attribute_map,
    nanoseconds,
    service_name,
    span_id,
    trace_id,
    transposed,
)

TABLE: Final = "otel_logs"
COLUMNS: Final = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "TraceFlags": "UInt8",
    "SeverityText": "LowCardinality(String)",
    "SeverityNumber": "UInt8",
    "ServiceName": "LowCardinality(String)",
    "Body": "String",
    "ResourceSchemaUrl": "LowCardinality(String)",
    "ResourceAttributes": STRING_MAP,
    "ScopeSchemaUrl": "LowCardinality(String)",
    "ScopeName": "String",
    "ScopeVersion": "LowCardinality(String)",
    "ScopeAttributes": STRING_MAP,
    "LogAttributes": STRING_MAP,
    "EventName": "String",
}


def columns(records: Sequence[ReadableLogRecord]) -> list[list[Any]]:
    """One list for each of COLUMNS; times in Unix nanoseconds."""
    rows = []
    for readable in records:
        record, resource, scope = readable.log_record, readable.resource, readable.instrumentation_scope
        severity = record.severity_number
        rows.append(
            (
                nanoseconds(record.timestamp or record.observed_timestamp),
                trace_id(record.trace_id),
                span_id(record.span_id),
                int(record.trace_flags or 0) & 0xFF,
                record.severity_text or "",
                severity.value if severity is not None else 0,
                service_name(resource.attributes),
                body_text(record.body),
                resource.schema_url or "",
                attribute_map(resource.attributes),
                (scope.schema_url if scope else None) or "",
                (scope.name if scope else None) or "",
                (scope.version if scope else None) or "",
                attribute_map(scope.attributes) if scope else {},
                attribute_map(record.attributes),
                record.event_name or "",
            )
        )
    return transposed(rows, len(COLUMNS))


def body_text(body: Any) -> str:
    """The body as text. What OTLP cannot carry is shown by repr(): a line is better than a lost batch."""
    try:
        return as_string(body)
    except NotEncodable:
        return repr(body)
