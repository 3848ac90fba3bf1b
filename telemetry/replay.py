"""Spans out of the rows that telemetry.postgres wrote: as they were when they ended, to be sent again."""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

COLUMNS: Final = "span_id, trace_id, name, span_kind, status_code, status_message, attributes::text"

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_BYTES = "\x00bytes"
_LARGEST = 1e15  # Postgres keeps numbers as decimals: from here on a float comes back as an integer


def survives(value: Any) -> bool:
    """Whether jsonb gives `value` back as it was (NUL characters aside): no -0.0, no NaN, no bytes."""
    if value is None or isinstance(value, str | int):
        return True
    if isinstance(value, float):
        return -_LARGEST < value < _LARGEST and (value != 0 or math.copysign(1, value) > 0)
    if isinstance(value, Mapping):
        return all(map(survives, value.values()))
    return isinstance(value, Sequence) and not isinstance(value, bytes) and all(map(survives, value))


def exact(span: ReadableSpan) -> str:
    """JSON, as Python reads it, of what `survives` denies or has a NUL in it. To be kept as a text."""
    content: dict[str, Any] = {
        "name": span.name,
        "description": span.status.description,
        "attributes": dict(span.attributes or {}),
        "resource": dict(span.resource.attributes),
        "scope": scope_of(span),
        "events": events_of(span),
        "links": [dict(link.attributes or {}) for link in span.links],
    }
    return json.dumps(content, default=lambda value: {_BYTES: b64encode(value).decode()})


def scope_of(span: ReadableSpan) -> dict[str, str | None]:
    scope = span.instrumentation_scope
    return {"name": scope.name, "version": scope.version} if scope else {}


def events_of(span: ReadableSpan) -> list[dict[str, Any]]:
    return [{"name": e.name, "ns": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events]


def span_of(row: Sequence[Any]) -> ReadableSpan:
    """`row` has COLUMNS. Raises KeyError, TypeError or ValueError for one that telemetry.postgres did not write."""
    span_id, trace_id, name, kind, status, description, text = row
    attributes = json.loads(text)
    rest = attributes.pop("otel")
    links, events, scope = rest["links"], rest["events"], rest["scope"]
    if "exact" in rest:
        kept = json.loads(rest["exact"], object_hook=_value)
        name, description, attributes = kept["name"], kept["description"], kept["attributes"]
        scope, events = kept["scope"], kept["events"]
        links = [{**link, "attributes": its} for link, its in zip(links, kept["links"], strict=True)]
        made_resource = Resource(kept["resource"])
    else:
        made_resource = _resource(orjson.dumps(rest["resource"]))
    state = TraceState.from_header([rest["trace_state"]]) if rest["trace_state"] else None
    return ReadableSpan(
        name,
        _context(trace_id, span_id, state),
        _context(trace_id, rest["parent_span_id"]) if rest["parent_span_id"] else None,
        made_resource,
        attributes,
        [Event(event["name"], event["attributes"], event["ns"]) for event in events],
        [Link(_context(link["trace_id"], link["span_id"]), link["attributes"]) for link in links],
        SpanKind[kind],
        status=Status(StatusCode[status], description),
        start_time=rest["start_ns"],
        end_time=rest["end_ns"],
        instrumentation_scope=InstrumentationScope(scope["name"], scope["version"]) if scope else None,
    )


def _context(trace_id: str, span_id: str, state: TraceState | None = None) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), False, _SAMPLED, state)


def _value(found: dict[str, Any]) -> Any:
    return b64decode(found[_BYTES]) if found.keys() == {_BYTES} else found


@lru_cache(16)
def _resource(text: bytes) -> Resource:
    """One object for all that are equal: who encodes spans does it once for each."""
    return Resource(json.loads(text))
