"""Spans as rows of otel_traces: the columns that the collector's ClickHouse exporter (v0.161) inserts, in its order."""

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from telemetry.clickhouse.values import (
    STRING_MAP,
    attribute_map,
    nanoseconds,
    service_name,
    span_id,
    trace_id,
    transposed,
)

TABLE: Final = "otel_traces"
COLUMNS: Final = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "TraceState": "String",
    "SpanName": "LowCardinality(String)",
    "SpanKind": "LowCardinality(String)",
    "ServiceName": "LowCardinality(String)",
    "ResourceAttributes": STRING_MAP,
    "ScopeName": "String",
    "ScopeVersion": "String",
    "SpanAttributes": STRING_MAP,
    "Duration": "UInt64",
    "StatusCode": "LowCardinality(String)",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": f"Array({STRING_MAP})",
    "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)",
    "Links.TraceState": "Array(String)",
    "Links.Attributes": f"Array({STRING_MAP})",
}

# ptrace.SpanKind.String and ptrace.StatusCode.String
KINDS: Final = {
    SpanKind.INTERNAL: "Internal",
    SpanKind.SERVER: "Server",
    SpanKind.CLIENT: "Client",
    SpanKind.PRODUCER: "Producer",
    SpanKind.CONSUMER: "Consumer",
}
STATUSES: Final = {StatusCode.UNSET: "Unset", StatusCode.OK: "Ok", StatusCode.ERROR: "Error"}


def columns(spans: Sequence[ReadableSpan]) -> list[list[Any]]:
    """One list for each of COLUMNS; times in Unix nanoseconds. Spans without a context are left out."""
    resources: dict[int, tuple[str, dict[str, str]]] = {}
    rows = []
    for span in spans:
        context = span.get_span_context()
        if context is None:
            continue
        known = resources.get(id(span.resource))
        if known is None:
            attributes = span.resource.attributes
            known = resources[id(span.resource)] = (service_name(attributes), attribute_map(attributes))
        scope = span.instrumentation_scope
        start = span.start_time or 0
        events, links = span.events, span.links
        rows.append(
            (
                nanoseconds(start),
                trace_id(context.trace_id),
                span_id(context.span_id),
                span_id(span.parent.span_id) if span.parent else "",
                ",".join(f"{key}={value}" for key, value in context.trace_state.items()),
                span.name,
                KINDS[span.kind],
                known[0],
                known[1],
                (scope.name if scope else None) or "",
                (scope.version if scope else None) or "",
                attribute_map(span.attributes),
                # unsigned there: a span that ends before it starts wraps around
                ((span.end_time or 0) - start) % 2**64,
                STATUSES[span.status.status_code],
                span.status.description or "",
                [nanoseconds(event.timestamp) for event in events],
                [event.name for event in events],
                [attribute_map(event.attributes) for event in events],
                [trace_id(link.context.trace_id) for link in links],
                [span_id(link.context.span_id) for link in links],
                [""] * len(links),  # the Python OTLP encoder sends no trace state with links
                [attribute_map(link.attributes) for link in links],
            )
        )
    return transposed(rows, len(COLUMNS))
