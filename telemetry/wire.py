"""Spans as bytes for another process of the same Python, and back, with all that any destination sends of them."""

import logging
import marshal
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from telemetry import encode, secrets, semconv
from telemetry.content import Content
from telemetry.span import LiveSpan, Record

log = logging.getLogger(__name__)
_SCALARS = frozenset({str, int, float, bool, bytes, NoneType})
_KINDS = {kind.value: kind for kind in SpanKind}
_STATUSES = {code.value: code for code in StatusCode}
_NO_STATE = TraceState()
_SERVER = SpanKind.SERVER.value
INPUT, OUTPUT = semconv.INPUT_VALUE, "output.value"
EVERYTHING = Content()


def pack(spans: Sequence[ReadableSpan | LiveSpan]) -> bytes:
    """Without their resource. Raises an error of any kind when one of them is not what the SDK makes, or we."""
    scopes: dict[int, InstrumentationScope | None] = {
        id(s.instrumentation_scope): s.instrumentation_scope for s in spans
    }
    order = {key: place for place, key in enumerate(scopes)}
    content = (
        [_scope(scope) for scope in scopes.values()],
        [(*(_live_row(s) if isinstance(s, LiveSpan) else _row(s)), order[id(s.instrumentation_scope)]) for s in spans],
    )
    try:
        return marshal.dumps(content)
    except ValueError:  # a name or key of a class that is derived from str
        return marshal.dumps(_plain(content))


def unpack(message: bytes, resource: Resource, content: Content = EVERYTHING) -> list[ReadableSpan]:
    """What was recorded of runs and calls becomes attributes here; `content` says how much of what they said.

    Known secrets are hidden, whatever says them; and in errors what looks like one.
    """
    described, rows = marshal.loads(message)
    if secrets.are_in(message):
        rows = secrets.hide_all(rows)
    scopes = [InstrumentationScope(*scope) if scope else None for scope in described]
    return [_span(resource, content, scopes, *row) for row in rows]


def _scope(scope: InstrumentationScope | None) -> tuple[Any, ...] | None:
    return None if scope is None else (scope.name, scope.version, scope.schema_url, _plain(scope.attributes))


def _live_row(span: LiveSpan) -> tuple[Any, ...]:
    state = tuple(span.trace_state.items()) if span.trace_state else None
    return (
        span.name,
        (span.trace_id, span.span_id, False, 1, state),  # it is kept, so sampled, whatever was decided first
        (span.trace_id, span.parent_id, span.parent_remote, 1, state) if span.parent_id else None,
        _plain(span.attributes) if span.attributes else {},
        0,
        [(name, at, _plain(attributes), 0) for name, at, attributes in span.events] if span.events else None,
        0,
        [(_context(link.context), {}, 0) for link in span.links] if span.links else None,
        0,
        span.kind.value,
        span.status.value,
        span.message,
        span.started,
        span.ended,
        span.record,
    )


def _row(span: ReadableSpan) -> tuple[Any, ...]:
    attributes: dict[str, Any] = span.attributes.copy()  # type: ignore[union-attr]
    if not _SCALARS.issuperset(map(type, attributes.values())):
        attributes = _plain(attributes)
    status, events, links = span.status, span.events, span.links
    return (
        span.name,
        _context(span.context),
        _context(span.parent),
        attributes,
        span.dropped_attributes,
        [(e.name, e.timestamp, _plain(e.attributes), e.dropped_attributes) for e in events] if events else None,
        span.dropped_events,
        [(_context(k.context), _plain(k.attributes), k.dropped_attributes) for k in links] if links else None,
        span.dropped_links,
        span.kind.value,
        status.status_code.value,
        status.description,
        span.start_time,
        span.end_time,
        None,
    )


def _span(
    resource: Resource,
    content: Content,
    scopes: list[InstrumentationScope | None],
    name: str,
    context: tuple[Any, ...] | None,
    parent: tuple[Any, ...] | None,
    attributes: dict[str, Any],
    dropped_attributes: int,
    events: list[tuple[Any, ...]] | None,
    dropped_events: int,
    links: list[tuple[Any, ...]] | None,
    dropped_links: int,
    kind: int,
    status: int,
    description: str | None,
    start_time: int | None,
    end_time: int | None,
    record: Record | None,
    scope: int,
) -> ReadableSpan:
    if record:
        attributes = {**_recorded(record, content), **attributes}
        description = content(description) if description else None
    elif kind == _SERVER and INPUT in attributes:  # a webhook's
        attributes = _requested(attributes, content)
    if description:
        description = secrets.without(description)
        if isinstance(said := attributes.get(OUTPUT), str):  # of what failed it is the error
            attributes = {**attributes, OUTPUT: secrets.without(said)}
    return ReadableSpan(
        name,
        _made_context(context),
        _made_context(parent),
        resource,
        _bounded(attributes, dropped_attributes),
        _listed([Event(e, _bounded(_described(its), n), at) for e, at, its, n in events or ()], dropped_events),
        _listed([Link(_made_context(to), _bounded(its, n)) for to, its, n in links or ()], dropped_links),  # type: ignore[arg-type]
        _KINDS[kind],
        status=Status(_STATUSES[status], description),
        start_time=start_time,
        end_time=end_time,
        instrumentation_scope=scopes[scope],
    )


def _requested(attributes: dict[str, Any], content: Content) -> dict[str, Any]:
    shown = content(attributes[INPUT])
    rest = {key: value for key, value in attributes.items() if key != INPUT}
    return rest if shown is None else {**rest, INPUT: shown}


def _described(attributes: dict[str, Any]) -> dict[str, Any]:
    """Of an event: those are errors, nearly always."""
    return {key: secrets.without(value) if isinstance(value, str) else value for key, value in attributes.items()}


def _recorded(record: Record, content: Content) -> dict[str, Any]:
    try:
        return encode.attributes(record, content)
    except Exception:  # it costs this span its attributes, and no other anything
        log.exception("what was recorded of a %s cannot be encoded", record[0])
        return {}


def _context(context: SpanContext | None) -> tuple[Any, ...] | None:
    if context is None:
        return None
    trace_id, span_id, is_remote, flags, state, _ = context
    return trace_id, span_id, is_remote, int(flags), tuple(state.items()) if state else None


def _made_context(made: tuple[Any, ...] | None) -> SpanContext | None:
    if made is None:
        return None
    trace_id, span_id, is_remote, flags, pairs = made
    return SpanContext(trace_id, span_id, is_remote, TraceFlags(flags), TraceState(pairs) if pairs else _NO_STATE)


def _bounded(attributes: dict[str, Any], dropped: int) -> dict[str, Any] | BoundedAttributes:
    if not dropped:
        return attributes
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _listed(items: list[Any], dropped: int) -> Sequence[Any]:
    if not dropped:
        return items
    bounded = BoundedList.from_seq(None, items)
    bounded.dropped = dropped
    return bounded


def _plain(value: Any) -> Any:
    """Of the very types that `marshal` knows: it takes what is derived from them, such as numpy's, for bytes."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        made = [_plain(item) for item in value]
        return made if isinstance(value, list) else tuple(made)
    return str(value)
