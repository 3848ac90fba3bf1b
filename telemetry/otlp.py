"""Spans as OTLP, the same as the SDK's encoder makes them in ten times as long: in protobuf's own bytes, and what comes
again and again (keys, ids, kinds, models) is encoded once.

Field numbers: opentelemetry/proto/trace/v1/trace.proto, whose fields are never renumbered. A test compares the two.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState

_SHORT = 40  # characters of a text that is likely to come again: an agent's id, a kind, a model, a session
_KINDS = {kind: Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_HAS_REMOTE = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_IS_REMOTE = SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

_double = Struct("<d").pack
_times = Struct("<BQBQ").pack  # fields 7 and 8 of a span
_fixed64 = Struct("<BQ").pack


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """An ExportTraceServiceRequest. Raises TypeError or ValueError for a span that cannot be encoded."""
    groups: dict[tuple[int, Any], list[ReadableSpan]] = {}
    for span in spans:
        groups.setdefault((id(span.resource), span.instrumentation_scope), []).append(span)
    return b"".join(_field(0x0A, _group(group)) for group in groups.values())


def _group(spans: Sequence[ReadableSpan]) -> bytes:
    """ResourceSpans; the SDK knows resources and scopes."""
    first = spans[0]
    bare = ReadableSpan("", first.context, None, first.resource, instrumentation_scope=first.instrumentation_scope)
    resource = encode_spans([bare]).resource_spans[0]
    scope = resource.scope_spans[0]
    of_scope = b"".join(
        (
            _field(0x0A, scope.scope.SerializeToString()),
            *(_field(0x12, _span(span)) for span in spans),
            _field(0x1A, scope.schema_url.encode()),
        )
    )
    of_resource = _field(0x0A, resource.resource.SerializeToString())
    return of_resource + _field(0x12, of_scope) + _field(0x1A, resource.schema_url.encode())


def _span(span: ReadableSpan) -> bytes:
    context, parent, status = span.context, span.parent, span.status
    if context is None:
        raise ValueError("a span without a context")
    parts = [
        *_ids(context),
        b"\x22\x08" + parent.span_id.to_bytes(8, "big") if parent else b"",
        _text(0x2A, span.name),
        b"\x30" + _varint(_KINDS[span.kind]),
        _times(0x39, span.start_time or 0, 0x41, span.end_time or 0),
        *_attributes(0x4A, span.attributes),
        _number(0x50, span.dropped_attributes),
        *(_field(0x5A, _event(event)) for event in span.events),
        _number(0x60, span.dropped_events),
        *(_field(0x6A, _link(link)) for link in span.links),
        _number(0x70, span.dropped_links),
        _field(0x7A, _text(0x12, status.description or "") + _number(0x18, status.status_code.value)),
        b"\x85\x01" + _flags(parent),
    ]
    return b"".join(parts)


def _ids(context: SpanContext) -> tuple[bytes, bytes, bytes]:
    state = _state(context.trace_state) if context.trace_state else b""
    return b"\x0a\x10" + context.trace_id.to_bytes(16, "big"), b"\x12\x08" + context.span_id.to_bytes(8, "big"), state


def _state(state: TraceState) -> bytes:
    return _text(0x1A, ",".join(f"{key}={value}" for key, value in state.items()))


def _flags(context: SpanContext | None) -> bytes:
    return (_HAS_REMOTE | _IS_REMOTE if context and context.is_remote else _HAS_REMOTE).to_bytes(4, "little")


def _event(event: Event) -> bytes:
    dropped = _number(0x20, event.dropped_attributes)
    attributes = b"".join(_attributes(0x1A, event.attributes))
    return _fixed64(0x09, event.timestamp) + _text(0x12, event.name) + attributes + dropped


def _link(link: Link) -> bytes:
    trace_id, span_id, _ = _ids(link.context)  # the SDK sends no state of a link
    attributes = b"".join(_attributes(0x22, link.attributes))
    dropped = _number(0x28, link.dropped_attributes)
    return trace_id + span_id + attributes + dropped + b"\x35" + _flags(link.context)


def _attributes(tag: int, attributes: Mapping[str, Any] | None) -> list[bytes]:
    """KeyValues. A value is looked at by its type: True and 1 are one key of a cache."""
    parts = []
    for key, value in (attributes or {}).items():
        kind = type(value)
        if kind is str and len(value) <= _SHORT:
            parts.append(_short(tag, key, value))
        elif kind is int and -1 < value < 1000:
            parts.append(_small(tag, key, value))
        else:
            parts.append(_field(tag, _key(key) + _field(0x12, _value(value))))
    return parts


def _value(value: Any) -> bytes:
    """AnyValue."""
    if isinstance(value, str):
        return _field(0x0A, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        # what has more than 64 bits the SDK leaves out, and says so in a log
        return b"\x18" + _varint(value) if -(2**63) <= value < 2**63 else _field(0x0A, str(value).encode())
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, bytes):
        return _field(0x3A, value)
    if isinstance(value, Mapping):
        return _field(0x32, b"".join(_field(0x0A, _key(key) + _field(0x12, _value(of))) for key, of in value.items()))
    if isinstance(value, Sequence):
        return _field(0x2A, b"".join(_field(0x0A, _value(item)) for item in value))
    if value is None:
        return b""
    raise TypeError(f"{type(value).__name__} is no attribute's value")


@lru_cache(4096)
def _short(tag: int, key: str, value: str) -> bytes:
    return _field(tag, _key(key) + _field(0x12, _value(value)))


@lru_cache(4096)
def _small(tag: int, key: str, value: int) -> bytes:
    return _field(tag, _key(key) + _field(0x12, _value(value)))


@lru_cache(4096)
def _key(key: str) -> bytes:
    return _field(0x0A, key.encode())


def _text(tag: int, text: str) -> bytes:
    return _field(tag, text.encode()) if text else b""


def _number(tag: int, value: int) -> bytes:
    return bytes((tag,)) + _varint(value) if value else b""


def _field(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes((tag, size)) + content if size < 128 else bytes((tag,)) + _varint(size) + content


def _varint(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    value &= 2**64 - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
