"""Spans that went through bytes are what they were, for every destination."""

import enum
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext

from telemetry.wire import pack, unpack
from tests.unit.test_otlp import spans

HERE = Resource({"service.name": "one"}, "https://schema.test")


class Colour(enum.StrEnum):
    RED = "red"


@settings(deadline=None)
@given(st.lists(spans, max_size=4))
def test_it_is_what_the_sdk_would_send(batch: list[ReadableSpan]) -> None:
    for span in batch:
        span._resource = HERE
    assert encode_spans(unpack(pack(batch), HERE)) == encode_spans(batch)


@pytest.mark.parametrize(
    "value",
    [
        "half \ud800",
        2**200,
        -(2**63) - 1,
        float("inf"),
        -0.0,
        b"\x00\xff",
        ("a", None, 1.5),
        {"nested": [{"deep": ("x", 1)}]},
        None,
    ],
)
def test_values_are_unchanged(value: Any) -> None:
    (span,) = unpack(pack([ReadableSpan("half \udfff", SpanContext(1, 2, False), None, HERE, {"it": value})]), HERE)
    assert span.name == "half \udfff"
    assert repr(dict(span.attributes or {})) == repr({"it": value})


def test_not_a_number() -> None:
    (span,) = unpack(pack([ReadableSpan("x", None, None, HERE, {"it": float("nan")})]), HERE)
    assert str((span.attributes or {})["it"]) == "nan"


def test_what_is_derived_from_text_and_numbers_is_text_and_numbers() -> None:
    made = {"enum": Colour.RED, "float": numpy.float64(0.5), Colour.RED: [numpy.float64(1.5), Colour.RED]}
    (span,) = unpack(pack([ReadableSpan("x", None, None, HERE, made)]), HERE)  # type: ignore[arg-type]
    assert repr(dict(span.attributes or {})) == repr({"enum": "red", "float": 0.5, "red": [1.5, "red"]})


def test_what_the_sdk_left_out_is_still_counted() -> None:
    memory = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=1, max_events=1, max_links=1, max_event_attributes=1, max_link_attributes=1)
    provider = TracerProvider(resource=HERE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    links = [Link(SpanContext(5, 6, True), {"a": 1, "b": 2})] * 3
    span = provider.get_tracer("limited").start_span("x", attributes={"a": 1, "b": 2, "c": 3}, links=links)
    for _ in range(4):
        span.add_event("e", {"a": 1, "b": 2})
    span.end()
    ended = memory.get_finished_spans()
    assert (ended[0].dropped_attributes, ended[0].dropped_events, ended[0].dropped_links) == (2, 3, 2)
    assert encode_spans(unpack(pack(ended), HERE)) == encode_spans(ended)
