"""One run: everything in its trace, what was said, and what its session did besides."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source import boards
from dashboards.source.panels import (
    OPENS,
    RUN,
    STATUS,
    TO_AGENT,
    TO_RUN,
    TO_TRACE,
    logs,
    mapped,
    table,
    unit,
    waterfall,
    wide,
)

ID = "${run_id:singlequote}"
# A run is looked up by its own id or by its trace's. When the trace was is known, so that only those hours are read.
TRACE = f"""WITH
    (SELECT any(TraceId) FROM otel_traces WHERE RunId = {ID} AND {ID} != '' AND $__timeFilter(Timestamp)) AS of_run,
    if(of_run != '', of_run, {ID}) AS trace,
    (SELECT (min(Start), max(End) + 1) FROM otel_traces_trace_id_ts WHERE TraceId = trace) AS lasted"""
NONE = "Nothing is known of this run: enter a run's id or a trace's id, or choose a run on another dashboard."

PANELS = (
    table(
        "Runs of this trace",
        "A team's members and a workflow's steps have runs of their own; another attempt is another row.",
        f"""
        {TRACE}
        SELECT {RUN}, kind, agent_id AS agent, status, attempt, started_at AS started, duration,
            queue_wait AS waited, input_tokens AS input, output_tokens AS output, cost, session_id AS session,
            user_id AS user, error_type AS error, substring(error_message, 1, 300) AS message,
            {OPENS}
        FROM runs
        WHERE trace_id = trace AND trace != '' AND started_at >= lasted.1 AND started_at <= lasted.2
        ORDER BY started_at
        """,
        width=24,
        height=6,
        empty=NONE,
        columns={
            **TO_RUN,
            **TO_TRACE,
            "agent": [TO_AGENT],
            "status": STATUS,
            "started": unit("dateTimeAsIso"),
            "duration": unit("s"),
            "waited": unit("s"),
            "input": unit("short"),
            "output": unit("short"),
            "cost": unit("currencyUSD"),
        },
    ),
    waterfall(
        "What happened",
        "The trace, from the webhook to the last call. Texts are cut after 2,000 characters.",
        f"""
        {TRACE}
        SELECT TraceId AS traceID, SpanId AS spanID, ParentSpanId AS parentSpanID, ServiceName AS serviceName,
            SpanName AS operationName, toUnixTimestamp64Nano(Timestamp) / 1e6 AS startTime, Duration / 1e6 AS duration,
            arrayMap(
                key -> map('key', key, 'value', substring(SpanAttributes[key], 1, 2000)),
                arraySort(mapKeys(SpanAttributes))
            ) AS tags,
            arrayMap(key -> map('key', key, 'value', ResourceAttributes[key]), mapKeys(ResourceAttributes))
                AS serviceTags,
            if(StatusCode = 'Error', 2, 0) AS statusCode, StatusMessage AS statusMessage
        FROM otel_traces
        WHERE TraceId = trace AND trace != '' AND Timestamp >= lasted.1 AND Timestamp <= lasted.2
        ORDER BY Timestamp
        LIMIT 2000
        """,
        width=24,
        height=14,
        empty=NONE,
    ),
    table(
        "What was said",
        "The messages of its model calls, each once, in their order.",
        f"""
        {TRACE}
        SELECT started_at AS at, agent_id AS agent, role, content,
            arrayStringConcat(arrayMap(call -> concat(call.2, '(', call.3, ')'), tool_calls), '\\n') AS calls
        FROM messages
        WHERE trace_id = trace AND trace != '' AND started_at >= lasted.1 AND started_at <= lasted.2
        ORDER BY started_at, direction, position
        LIMIT 1 BY role, content, calls
        LIMIT 500
        """,
        width=24,
        height=12,
        empty="No message is known: the run called no model, or contents are not exported (TELEMETRY_CONTENT).",
        columns={
            "at": [*unit("dateTimeAsIso"), wide(180)],
            "agent": [TO_AGENT, wide(120)],
            "role": [*mapped(system="purple", user="blue", assistant="green", tool="orange"), wide(90)],
            "content": [],
            "calls": [wide(360)],
        },
    ),
    logs(
        "Logs",
        "What its processes logged within this trace.",
        f"""
        {TRACE}
        SELECT Timestamp AS timestamp, Body AS body, lower(SeverityText) AS level, LogAttributes AS labels,
            TraceId AS traceID
        FROM otel_logs
        WHERE TraceId = trace AND trace != '' AND Timestamp >= lasted.1 - 60 AND Timestamp <= lasted.2 + 60
        ORDER BY Timestamp
        LIMIT 500
        """,
        width=12,
        height=10,
        empty="Nothing was logged within this trace.",
    ),
    table(
        "Its session",
        "The other runs of the session, the newest first.",
        f"""
        {TRACE}
        SELECT {RUN}, agent_id AS agent, status, duration, started_at AS started
        FROM runs
        WHERE $__timeFilter(started_at) AND session_id != '' AND session_id IN (
            SELECT SessionId FROM otel_traces
            WHERE TraceId = trace AND trace != '' AND Timestamp >= lasted.1 AND Timestamp <= lasted.2
        )
        ORDER BY started_at DESC
        LIMIT 50
        """,
        width=12,
        height=10,
        empty="No run of its session is known.",
        columns={
            **TO_RUN,
            "agent": [TO_AGENT],
            "status": STATUS,
            "duration": unit("s"),
            "started": unit("dateTimeFromNow"),
        },
    ),
)


def dashboard() -> Dashboard:
    return boards.board(
        "run",
        "Run",
        "One run: everything in its trace, what was said, and what its session did besides.",
        PANELS,
        variables=(boards.typed("run_id", "Run or trace"),),
        since="now-7d",
        refresh="",
    )
