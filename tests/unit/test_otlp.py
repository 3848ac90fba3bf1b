"""OTLP as the SDK itself encodes it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from telemetry.otlp import encode

RESOURCES = [Resource({"service.name": name}, "https://schema.test") for name in ("one", "two")]
SCOPES = [InstrumentationScope("ours", "1"), InstrumentationScope("others", attributes={"a": 1}), None]

contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    st.sampled_from([TraceState(), TraceState([("vendor", "x"), ("other", "y")])]),
)
scalars = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
attributes = st.dictionaries(
    st.text(min_size=1), scalars | st.lists(st.text()) | st.lists(st.integers(0, 9)) | st.binary(), max_size=6
)
statuses = st.sampled_from(
    [Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "it broke"), Status(StatusCode.ERROR)]
)
spans = st.builds(
    ReadableSpan,
    st.text(),
    contexts,
    st.none() | contexts,
    st.sampled_from(RESOURCES),
    attributes,
    st.lists(st.builds(Event, st.text(), attributes, st.integers(0, 2**60)), max_size=1),
    st.lists(st.builds(Link, contexts, attributes), max_size=1),
    st.sampled_from(SpanKind),
    status=statuses,
    start_time=st.integers(0, 2**60),
    end_time=st.integers(0, 2**60),
    instrumentation_scope=st.sampled_from(SCOPES),
)


def grouped(request: Any) -> list[tuple[bytes, bytes, list[bytes]]]:
    """What it says, without the order of groups."""
    found: dict[tuple[bytes, bytes], list[bytes]] = {}
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            key = resource_spans.resource.SerializeToString(), scope_spans.scope.SerializeToString()
            found.setdefault(key, []).extend(span.SerializeToString() for span in scope_spans.spans)
    return sorted((*key, its) for key, its in found.items())


@settings(deadline=None)
@given(st.lists(spans, max_size=4))
def test_it_is_what_the_sdk_would_send(batch: list[ReadableSpan]) -> None:
    assert grouped(ExportTraceServiceRequest.FromString(encode(batch))) == grouped(encode_spans(batch))


def test_a_text_that_is_no_text_is_an_error() -> None:
    span = ReadableSpan("x", SpanContext(1, 1, False), None, RESOURCES[0], {"half": "\ud800"})
    with pytest.raises((TypeError, ValueError)):
        encode([span])
