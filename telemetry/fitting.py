"""How large a span's content is, and a copy of it that fits: one span with ten megabytes must not stop the others.

A collector refuses requests over a size of its own (4 MiB by default, over gRPC). So the longest texts of a span that
is larger than SPAN_BYTES are shortened, all to the same length, and semconv.CUT_BYTES says how much was left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from telemetry import semconv

SPAN_BYTES = 3 * 2**20
MOST_LEVELS = 20  # of values within values; protobuf reads 100 levels of messages, and each of these is up to three
TOO_DEEP = f"(nested in more than {MOST_LEVELS} levels)"


class Fitted(NamedTuple):
    span: ReadableSpan
    bytes: int
    cut: bool


def fitted(span: ReadableSpan, most: int = SPAN_BYTES) -> Fitted:
    """`span` itself where it fits, as nearly every one does."""
    if (quickly := _quick_size(span)) is not None and 4 * quickly <= most:
        return Fitted(span, quickly, False)
    span = _mended(span)
    lengths = [length for value in _values(span) for length in _lengths(value)]
    total = sum(lengths)
    if total <= most:
        return Fitted(span, total, False)
    longest = _longest(lengths, most)
    attributes = {key: _cut(value, longest) for key, value in (span.attributes or {}).items()}
    attributes[semconv.CUT_BYTES] = total - sum(min(length, longest) for length in lengths)
    return Fitted(
        _copy(
            span,
            attributes,
            [Event(_cut(e.name, longest), _cut(e.attributes, longest), e.timestamp) for e in span.events],
            [Link(link.context, _cut(link.attributes, longest)) for link in span.links],
            longest,
        ),
        most,
        True,
    )


def _quick_size(span: ReadableSpan) -> int | None:
    """Characters; None when there is more to it than texts and numbers."""
    if span.events or span.links:
        return None
    total = len(span.name) + len(span.status.description or "")
    for value in (span.attributes or {}).values():
        if isinstance(value, str) and value.isascii():
            total += len(value)
        elif not isinstance(value, int | float):
            return None
    return total


def _values(span: ReadableSpan) -> Iterator[Any]:
    yield span.name
    yield span.status.description or ""
    yield span.attributes or {}
    for event in span.events:
        yield event.name
        yield event.attributes or {}
    for link in span.links:
        yield link.attributes or {}


def _lengths(value: Any, levels: int = 2 * MOST_LEVELS) -> Iterator[int]:
    if isinstance(value, str):
        yield len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes):
        yield len(value)
    elif isinstance(value, Mapping | Sequence) and levels:
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _lengths(item, levels - 1)
    else:
        yield 9


def _longest(lengths: Sequence[int], most: int) -> int:
    """How long a text may be so that all together are at most `most`: short ones leave their share to long ones."""
    left = sorted(lengths)
    for place, length in enumerate(left):
        share = most // (len(left) - place)
        if length > share:
            return share
        most -= length
    return left[-1]


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        if len(value) * 4 <= longest:
            return value
        return value.encode("utf-8", "surrogatepass")[:longest].decode("utf-8", "ignore")
    if isinstance(value, bytes):
        return value[:longest]
    if isinstance(value, Mapping):
        return {key: _cut(item, longest) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_cut(item, longest) for item in value]
    return value


def _mended(span: ReadableSpan) -> ReadableSpan:
    """What is nested more deeply than anybody reads becomes a text that says so; half a surrogate pair becomes "?"."""
    parts = [span.attributes, *(event.attributes for event in span.events), *(link.attributes for link in span.links)]
    if not any(_is_odd(value, MOST_LEVELS) for part in parts for value in (part or {}).values()):
        return span
    return _copy(
        span,
        _mended_values(span.attributes),
        [Event(event.name, _mended_values(event.attributes), event.timestamp) for event in span.events],
        [Link(link.context, _mended_values(link.attributes)) for link in span.links],
        SPAN_BYTES,
    )


def _is_odd(value: Any, levels: int) -> bool:
    if isinstance(value, str):
        return not value.isascii() and value != _mended_value(value, 0)
    if isinstance(value, bytes | int | float) or not isinstance(value, Mapping | Sequence):
        return False
    items = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_odd(item, levels - 1) for item in items)


def _mended_values(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    mended = {}
    for key, value in (attributes or {}).items():
        try:
            mended[key] = _mended_value(value, MOST_LEVELS)
        except RecursionError:
            mended[key] = TOO_DEEP
    return mended


def _mended_value(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes | int | float) or not isinstance(value, Mapping | Sequence):
        return value
    if levels == 0:
        raise RecursionError
    if isinstance(value, Mapping):
        return {key: _mended_value(item, levels - 1) for key, item in value.items()}
    return [_mended_value(item, levels - 1) for item in value]


def _copy(
    span: ReadableSpan, attributes: dict[str, Any], events: Sequence[Event], links: Sequence[Link], longest: int
) -> ReadableSpan:
    return ReadableSpan(
        _cut(span.name, longest),
        span.context,
        span.parent,
        span.resource,
        attributes,
        events,
        links,
        span.kind,
        status=Status(span.status.status_code, _cut(span.status.description, longest)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
