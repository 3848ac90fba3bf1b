"""Spans in agno's own trace tables, in bulk: one round trip per batch, right in any order and however often it is sent.

agno's trace pages take identity, input and output from a span without a parent. A run that a webhook caused has one,
so the top run is stored as a root; the true parent, and all else that agno's columns lose, is in `attributes.otel`,
out of which telemetry.replay makes the span again as it was.
"""

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind

from telemetry import replay, semconv
from telemetry.buffer import Rejected
from telemetry.clickhouse.values import sendable

# A span above the top run (the webhook's) is kept, but below a parent that no page will find.
HIDDEN_PARENT = "0" * 16

_SIMPLE = frozenset({str, int, bool})  # types that JSON gives back as they were
_ESCAPED_NUL = "\\u0000"
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an escaped NUL, not an escaped backslash before "u0000"

# Rows come as one JSON document: to make a Postgres array out of JSON texts escapes each of them once more, in Python.
_TRACES = """
INSERT INTO {schema}.agno_traces AS stored
SELECT * FROM json_populate_recordset(NULL::{schema}.agno_traces, %s::json)
ON CONFLICT (trace_id) DO UPDATE SET
    name = excluded.name, status = excluded.status, start_time = excluded.start_time, end_time = excluded.end_time,
    duration_ms = excluded.duration_ms, run_id = excluded.run_id, session_id = excluded.session_id,
    user_id = excluded.user_id, agent_id = excluded.agent_id, team_id = excluded.team_id,
    workflow_id = excluded.workflow_id
WHERE excluded.run_id IS NOT NULL AND (stored.run_id IS NULL OR stored.end_time <= excluded.end_time)
"""

_SPANS = """
INSERT INTO {schema}.agno_spans
SELECT * FROM json_populate_recordset(NULL::{schema}.agno_spans, %s::json)
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
        try:
            traces, rows = _documents(spans)
        except (RecursionError, OverflowError, OSError) as error:  # nested too deeply; a time of another era
            raise Rejected(f"spans cannot be written as JSON: {type(error).__name__}") from error
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, connect_timeout=3, application_name="telemetry")
            with self._connection.transaction(), self._connection.pipeline():
                self._connection.execute(self._traces, [traces])
                self._connection.execute(self._spans, [rows])
        except psycopg.DataError as error:
            raise Rejected(f"Postgres refused a batch: {error}") from error
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _documents(spans: Sequence[ReadableSpan]) -> tuple[str, str]:
    """The rows of both tables."""
    now = _time(time.time_ns())
    traces = _dumps([{**row, "created_at": now} for row in _trace_rows(spans)])
    known = {id(span.resource): span.resource.attributes for span in spans}
    resources = {key: (dict(resource), replay.survives(resource)) for key, resource in known.items()}
    rows = [{**_span_row(span, *resources[id(span.resource)]), "created_at": now} for span in spans]
    encoded = _encoded(rows)
    if _ESCAPED_NUL in encoded:
        for span, row in zip(spans, rows, strict=True):
            if _ESCAPED_NUL in _encoded(row):
                row["attributes"]["otel"]["exact"] = replay.exact(span)
        encoded = _encoded(rows)
    return traces, _without_nul(encoded)


def _trace_rows(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """One row per trace, described by its latest top run if there is one; sorted, so that writers never deadlock."""
    best: dict[int, ReadableSpan] = {}
    for span in spans:
        trace_id = _context(span).trace_id
        if trace_id not in best or _rank(span) > _rank(best[trace_id]):
            best[trace_id] = span
    return [{"trace_id": f"{trace_id:032x}", **_trace_row(best[trace_id])} for trace_id in sorted(best)]


def _rank(span: ReadableSpan) -> tuple[bool, int]:
    return _is_top_run(span), span.end_time or 0


def _trace_row(span: ReadableSpan) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": span.name,
        "status": "ERROR" if span.status.status_code.name == "ERROR" else "OK",
        "start_time": _time(span.start_time),
        "end_time": _time(span.end_time),
        "duration_ms": _milliseconds(span),
    }
    if _is_top_run(span):
        attributes = span.attributes or {}
        row |= {
            "run_id": attributes.get(semconv.RUN_ID),
            "session_id": attributes.get(semconv.SESSION_ID),
            "user_id": attributes.get(semconv.USER_ID),
            f"{attributes.get(semconv.RUN_KIND)}_id": attributes.get(semconv.AGENT_ID),  # agent_id, team_id, ...
        }
    return row


def _span_row(span: ReadableSpan, resource: Mapping[str, Any], resource_survives: bool) -> dict[str, Any]:
    context = _context(span)
    attributes = dict(span.attributes or {})
    rest = _rest(span, format(span.parent.span_id, "016x") if span.parent else None, resource)
    simple = _SIMPLE.issuperset(map(type, attributes.values())) and "otel" not in attributes
    if not simple or span.events or span.links or not resource_survives:
        if "otel" in attributes or not replay.survives([attributes, rest]):
            rest["exact"] = replay.exact(span)
        attributes = _finite(attributes)
        rest = _finite(rest)
    shown_parent = rest["parent_span_id"]
    if _is_top_run(span):
        shown_parent = None
    elif span.kind is SpanKind.SERVER:
        shown_parent = HIDDEN_PARENT
    return {
        "span_id": f"{context.span_id:016x}",
        "trace_id": f"{context.trace_id:032x}",
        "parent_span_id": shown_parent,
        "name": span.name,
        "span_kind": span.kind.name,
        "status_code": span.status.status_code.name,
        "status_message": span.status.description,
        "start_time": _time(span.start_time),
        "end_time": _time(span.end_time),
        "duration_ms": _milliseconds(span),
        "attributes": {**attributes, "otel": rest},
    }


def _rest(span: ReadableSpan, parent: str | None, resource: Mapping[str, Any]) -> dict[str, Any]:
    """What agno's columns do not hold, so that the span can be sent again from here as it was."""
    return {
        "parent_span_id": parent,
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "trace_state": _context(span).trace_state.to_header() if _context(span).trace_state else "",
        "resource": resource,
        "scope": replay.scope_of(span),
        "events": replay.events_of(span),
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


def _time(nanoseconds: int | None) -> str:
    """Cut off, never rounded: a span is in the same minute here as in a store that has the nanoseconds."""
    seconds, rest = divmod(nanoseconds or 0, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}+00:00"


@lru_cache(64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _dumps(value: Any) -> str:
    return _without_nul(_encoded(value))


def _encoded(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # half of a surrogate pair, an integer of more than 64 bits
        return json.dumps(sendable(value), default=str)


def _without_nul(encoded: str) -> str:
    return _NUL.sub(r"\1", encoded) if _ESCAPED_NUL in encoded else encoded


def _finite(value: Any) -> Any:
    """NaN and infinities as text: JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
