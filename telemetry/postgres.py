"""Spans in agno's own trace tables, in bulk: one round trip per batch, right in any order and however often it is sent.

agno's trace pages take identity, input and output from a span without a parent. A run that a webhook caused has one,
so the top run is stored as a root; the true parent, and all else that agno's columns lose, is in `attributes.otel`.
"""

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind
from psycopg.types.json import Jsonb

from telemetry import semconv
from telemetry.buffer import Rejected

# A span above the top run (the webhook's) is kept, but below a parent that no page will find.
HIDDEN_PARENT = "0" * 16

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an escaped NUL, not an escaped backslash before "u0000"

_TRACES = """
INSERT INTO {schema}.agno_traces AS stored
    (trace_id, name, status, start_time, end_time, duration_ms, run_id, session_id, user_id, agent_id, team_id,
     workflow_id, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (trace_id) DO UPDATE SET
    name = excluded.name, status = excluded.status, start_time = excluded.start_time, end_time = excluded.end_time,
    duration_ms = excluded.duration_ms, run_id = excluded.run_id, session_id = excluded.session_id,
    user_id = excluded.user_id, agent_id = excluded.agent_id, team_id = excluded.team_id,
    workflow_id = excluded.workflow_id
WHERE excluded.run_id IS NOT NULL AND (stored.run_id IS NULL OR stored.end_time <= excluded.end_time)
"""

_SPANS = """
INSERT INTO {schema}.agno_spans
    (span_id, trace_id, parent_span_id, name, span_kind, status_code, status_message, start_time, end_time, duration_ms,
     attributes, created_at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::bigint[], %s::jsonb[], %s::text[])
ON CONFLICT (span_id) DO NOTHING
"""


class PostgresSpans:
    """Writes batches on one connection of its own, opened when first needed and again when it broke."""

    def __init__(self, database_url: str, schema: str = "agno") -> None:
        self._url = database_url
        self._traces = _TRACES.format(schema=schema)
        self._spans = _SPANS.format(schema=schema)
        self._connection: psycopg.Connection[Any] | None = None

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """One transaction. Raises psycopg.Error when not committed (sending again changes nothing), or Rejected."""
        now = datetime.now(UTC).isoformat()
        traces = [(*row, now) for row in _trace_rows(spans)]
        columns = [list(column) for column in zip(*((*_span_row(span), now) for span in spans), strict=True)]
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, connect_timeout=3, application_name="telemetry")
            with self._connection.transaction(), self._connection.pipeline():
                cursor = self._connection.cursor()
                cursor.executemany(self._traces, traces)
                cursor.execute(self._spans, columns)
        except psycopg.DataError as error:
            raise Rejected(f"Postgres refused a batch: {error}") from error
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _trace_rows(spans: Sequence[ReadableSpan]) -> list[tuple[Any, ...]]:
    """One row per trace, described by its latest top run if there is one; sorted, so that writers never deadlock."""
    best: dict[str, ReadableSpan] = {}
    for span in spans:
        trace_id = format(_context(span).trace_id, "032x")
        if trace_id not in best or _rank(span) > _rank(best[trace_id]):
            best[trace_id] = span
    return [(trace_id, *_trace_row(best[trace_id])) for trace_id in sorted(best)]


def _rank(span: ReadableSpan) -> tuple[bool, int]:
    return _is_top_run(span), span.end_time or 0


def _trace_row(span: ReadableSpan) -> tuple[Any, ...]:
    attributes = span.attributes or {}
    top = _is_top_run(span)
    kind = attributes.get(semconv.RUN_KIND) if top else None
    component = attributes.get(semconv.AGENT_ID)
    return (
        _clean(span.name),
        "ERROR" if span.status.status_code.name == "ERROR" else "OK",
        _iso(span.start_time),
        _iso(span.end_time),
        _milliseconds(span),
        attributes.get(semconv.RUN_ID) if top else None,
        attributes.get(semconv.SESSION_ID) if top else None,
        attributes.get(semconv.USER_ID) if top else None,
        component if kind == "agent" else None,
        component if kind == "team" else None,
        component if kind == "workflow" else None,
    )


def _span_row(span: ReadableSpan) -> tuple[Any, ...]:
    context = _context(span)
    parent = format(span.parent.span_id, "016x") if span.parent else None
    shown_parent = parent
    if _is_top_run(span):
        shown_parent = None
    elif span.kind is SpanKind.SERVER:
        shown_parent = HIDDEN_PARENT
    return (
        format(context.span_id, "016x"),
        format(context.trace_id, "032x"),
        shown_parent,
        _clean(span.name),
        span.kind.name,
        span.status.status_code.name,
        _clean(span.status.description) if span.status.description else None,
        _iso(span.start_time),
        _iso(span.end_time),
        _milliseconds(span),
        Jsonb({**(span.attributes or {}), "otel": _rest(span, parent)}, dumps=_dumps),
    )


def _rest(span: ReadableSpan, parent: str | None) -> dict[str, Any]:
    """What agno's columns do not hold, so that the span can be sent again from here as it was."""
    scope = span.instrumentation_scope
    return {
        "parent_span_id": parent,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "trace_state": _context(span).trace_state.to_header(),
        "resource": dict(span.resource.attributes),
        "scope": {"name": scope.name, "version": scope.version} if scope else {},
        "events": [{"name": e.name, "ns": e.timestamp, "attributes": dict(e.attributes or {})} for e in span.events],
        "links": [
            {
                "trace_id": format(link.context.trace_id, "032x"),
                "span_id": format(link.context.span_id, "016x"),
                "attributes": dict(link.attributes or {}),
            }
            for link in span.links
        ],
    }


def _is_top_run(span: ReadableSpan) -> bool:
    attributes = span.attributes or {}
    return semconv.RUN_KIND in attributes and semconv.PARENT_RUN_ID not in attributes


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"span {span.name!r} has no context")
    return context


def _milliseconds(span: ReadableSpan) -> int:
    return ((span.end_time or 0) - (span.start_time or 0)) // 1_000_000


def _iso(nanoseconds: int | None) -> str:
    return datetime.fromtimestamp((nanoseconds or 0) / 1e9, tz=UTC).isoformat()


def _dumps(value: Any) -> str:
    """JSON as jsonb takes it: without NUL characters, and with NaN and infinities as text."""
    try:
        encoded = json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        encoded = json.dumps(_finite(value), default=str)
    return _NUL.sub(r"\1", encoded) if "\\u0000" in encoded else encoded


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _clean(value: str) -> str:
    return value.replace("\x00", "")
