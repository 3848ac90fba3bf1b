What agents may ask of the telemetry (runtime/analytics.py), on ClickHouse. Every value is a bound parameter; a window is
the last {minutes:UInt32} minutes. An empty {agent:String} is every agent. Durations are seconds, costs US dollars.

-- overview --
SELECT
    AgentId AS agent_id,
    anyIf(RunKind, Operation != 'chat') AS kind,
    countIf(Operation != 'chat') AS runs,
    countIf(RunStatus = 'error') AS errors,
    quantileIf(0.5)(Duration, Operation != 'chat') / 1e9 AS p50_s,
    quantileIf(0.95)(Duration, Operation != 'chat') / 1e9 AS p95_s,
    maxIf(Duration, Operation != 'chat') / 1e9 AS slowest_s,
    argMaxIf(TraceId, Duration, Operation != 'chat') AS slowest_trace_id,
    sumIf(InputTokens + OutputTokens, Operation = 'chat') AS tokens,
    sum(Cost) AS cost_usd,
    max(Timestamp) AS last_at,
    count() OVER () AS agents
FROM otel_traces FINAL
WHERE Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AND Operation IN ('invoke_agent', 'invoke_workflow', 'chat')
GROUP BY agent_id
HAVING runs > 0
ORDER BY
    multiIf({order:String} = 'slowest', p95_s, {order:String} = 'failing', toFloat64(errors), {order:String} = 'dearest', ifNull(cost_usd, -1), 0) DESC,
    runs DESC
LIMIT 20

-- runs --
-- Chosen by columns of their own: the attributes are read of those only that are shown.
WITH chosen AS
(
    SELECT RunId
    FROM otel_traces FINAL
    WHERE Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AND Operation IN ('invoke_agent', 'invoke_workflow', 'chat')
        AND ({agent:String} = '' OR AgentId = {agent:String})
    GROUP BY RunId
    HAVING countIf(Operation != 'chat' AND ({status:String} = 'any' OR RunStatus = {status:String})) > 0
    ORDER BY
        multiIf({order:String} = 'slowest', toFloat64(maxIf(Duration, Operation != 'chat')), {order:String} = 'dearest', ifNull(sum(Cost), -1), 0) DESC,
        max(Timestamp) DESC
    LIMIT {limit:UInt8}
)
SELECT
    RunId AS run_id,
    AgentId AS agent_id,
    RunStatus AS status,
    Timestamp AS started_at,
    Duration / 1e9 AS duration_s,
    toFloat64OrNull(SpanAttributes['agno.queue.wait']) AS queue_wait_s,
    InputTokens + OutputTokens AS tokens,
    toFloat64OrNull(SpanAttributes['agno.run.cost']) AS cost_usd,
    ErrorType AS error_type,
    StatusMessage AS error_text,
    TraceId AS trace_id
FROM otel_traces FINAL
WHERE Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AND Operation IN ('invoke_agent', 'invoke_workflow')
    AND RunId IN (SELECT RunId FROM chosen) AND ({status:String} = 'any' OR RunStatus = {status:String})
ORDER BY
    multiIf({order:String} = 'slowest', duration_s, {order:String} = 'dearest', ifNull(cost_usd, -1), 0) DESC,
    started_at DESC
LIMIT {limit:UInt8}

-- run --
SELECT
    RunId AS run_id,
    toUInt32OrZero(SpanAttributes['agno.run.attempt']) AS attempt,
    AgentId AS agent_id,
    RunKind AS kind,
    RunStatus AS status,
    Timestamp AS started_at,
    Duration / 1e9 AS duration_s,
    toFloat64OrNull(SpanAttributes['agno.queue.wait']) AS queue_wait_s,
    SpanAttributes['agno.delivery.source'] AS source,
    SessionId AS session_id,
    SpanAttributes['user.id'] AS user_id,
    InputTokens AS input_tokens,
    OutputTokens AS output_tokens,
    toFloat64OrNull(SpanAttributes['agno.run.cost']) AS cost_usd,
    ErrorType AS error_type,
    StatusMessage AS error_text,
    substringUTF8(SpanAttributes['input.value'], 1, 1000) AS input_text,
    substringUTF8(SpanAttributes['output.value'], 1, 1000) AS output_text,
    TraceId AS trace_id
FROM otel_traces FINAL
WHERE RunId = {run:String} AND Operation IN ('invoke_agent', 'invoke_workflow')
ORDER BY started_at DESC
LIMIT 1

-- spans --
WITH
    (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = {trace:String}) AS first_at,
    (SELECT max(End) FROM otel_traces_trace_id_ts WHERE TraceId = {trace:String}) AS last_at
SELECT
    SpanId AS span_id,
    ParentSpanId AS parent_span_id,
    Timestamp AS started_at,
    Duration / 1e9 AS duration_s,
    SpanName AS name,
    Operation AS operation,
    AgentId AS agent_id,
    if(RunStatus != '', RunStatus, if(StatusCode = 'Error', 'error', 'ok')) AS status,
    ErrorType AS error_type,
    StatusMessage AS error_text,
    InputTokens + OutputTokens AS tokens,
    Cost AS cost_usd,
    count() OVER () AS spans
FROM otel_traces FINAL
-- Not `<`: ClickHouse 26.9 takes "before second n" for "up to second n - 1" when it leaves out parts.
WHERE TraceId = {trace:String} AND Timestamp >= first_at AND Timestamp <= last_at + INTERVAL 1 SECOND
ORDER BY started_at, span_id
LIMIT 1000

-- errors --
SELECT
    AgentId AS agent_id,
    multiIf(Operation = 'chat', 'model', Operation = 'execute_tool', 'tool',
        Operation IN ('invoke_agent', 'invoke_workflow'), 'run', Operation != '', Operation, 'other') AS what,
    multiIf(Operation = 'chat', Model, Operation = 'execute_tool', ToolName, '') AS name,
    if(ErrorType != '', ErrorType, 'unknown') AS error_type,
    count() AS errors,
    min(Timestamp) AS first_at,
    max(Timestamp) AS last_at,
    argMax(StatusMessage, Timestamp) AS example_text,
    argMax(TraceId, Timestamp) AS example_trace_id
FROM otel_traces FINAL
WHERE Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AND StatusCode = 'Error'
    AND ({agent:String} = '' OR AgentId = {agent:String})
GROUP BY agent_id, what, name, error_type
ORDER BY errors DESC, last_at DESC
LIMIT 20

-- durations --
SELECT
    if(Timestamp >= now() - toIntervalMinute({minutes:UInt32}), 'now', 'before') AS window,
    any(RunKind) AS kind,
    count() AS runs,
    countIf(RunStatus = 'error') AS errors,
    avg(Duration) / 1e9 AS mean_s,
    quantile(0.5)(Duration) / 1e9 AS p50_s,
    quantile(0.95)(Duration) / 1e9 AS p95_s,
    max(Duration) / 1e9 AS slowest_s,
    argMax(TraceId, Duration) AS slowest_trace_id,
    avg(toFloat64OrNull(SpanAttributes['agno.queue.wait'])) AS mean_queue_wait_s
FROM otel_traces FINAL
WHERE Timestamp >= now() - toIntervalMinute(2 * {minutes:UInt32})
    AND Operation IN ('invoke_agent', 'invoke_workflow') AND AgentId = {agent:String}
GROUP BY window

-- runs_compared --
WITH runs AS
(
    SELECT TraceId, Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AS is_now
    FROM otel_traces FINAL
    WHERE Timestamp >= now() - toIntervalMinute(2 * {minutes:UInt32})
        AND Operation IN ('invoke_agent', 'invoke_workflow') AND AgentId = {agent:String}
),
calls AS
(
    SELECT Operation, Model, ToolName, SpanName, AgentId, Duration, StatusCode,
        TraceId IN (SELECT TraceId FROM runs WHERE is_now) AS is_now
    FROM otel_traces FINAL
    WHERE Timestamp >= now() - toIntervalMinute(2 * {minutes:UInt32}) AND Operation IN ('chat', 'execute_tool', 'retrieval')
        AND TraceId IN (SELECT TraceId FROM runs)

-- parts_summed --
)
SELECT
    multiIf(Operation = 'chat', 'model', Operation = 'execute_tool', 'tool', Operation) AS what,
    multiIf(Operation = 'chat', Model, Operation = 'execute_tool', ToolName, SpanName) AS name,
    AgentId AS by_agent,
    sumIf(Duration, is_now) / 1e9 AS now_s,
    sumIf(Duration, NOT is_now) / 1e9 AS before_s,
    countIf(is_now) AS calls_now,
    countIf(NOT is_now) AS calls_before,
    countIf(is_now AND StatusCode = 'Error') AS errors_now
FROM calls
GROUP BY what, name, by_agent
ORDER BY greatest(now_s, before_s) DESC
LIMIT 15

-- parts --
{runs_compared}
    AND AgentId = {agent:String}
{parts_summed}

-- parts_of_members --
{runs_compared}
{parts_summed}

-- costs --
SELECT
    if(of = '', '(unknown)', of) AS name,
    sumIf(Cost, is_now) AS cost_usd,
    sumIf(Cost, NOT is_now) AS cost_before_usd,
    countIf(is_now) AS calls,
    countIf(NOT is_now) AS calls_before,
    countIf(is_now AND Cost IS NULL) AS calls_of_unknown_cost,
    sumIf(InputTokens, is_now) AS input_tokens,
    sumIf(OutputTokens, is_now) AS output_tokens,
    sumIf(CacheReadTokens, is_now) AS cached_input_tokens,
    sum(cost_usd) OVER () AS total_usd,
    sum(cost_before_usd) OVER () AS total_before_usd,
    sum(calls) OVER () AS total_calls
FROM otel_traces FINAL
WHERE Timestamp >= now() - toIntervalHour(2 * {hours:UInt32}) AND Operation = 'chat'
    AND ({agent:String} = '' OR AgentId = {agent:String})
GROUP BY of
ORDER BY cost_usd DESC, input_tokens + output_tokens DESC
LIMIT 20

-- cost_by_agent --
WITH Timestamp >= now() - toIntervalHour({hours:UInt32}) AS is_now, AgentId AS of
{costs}

-- cost_by_model --
WITH Timestamp >= now() - toIntervalHour({hours:UInt32}) AS is_now, Model AS of
{costs}

-- cost_by_user --
WITH Timestamp >= now() - toIntervalHour({hours:UInt32}) AS is_now, SpanAttributes['user.id'] AS of
{costs}

-- gauges --
SELECT
    MetricName AS metric,
    arrayStringConcat(mapValues(Attributes), ' ') AS of,
    -- Every process sees the same queue, and each has runs and spans of its own.
    if(metric IN ('agno.agent.in_progress', 'agno.telemetry.queue.size'), sum(last), max(last)) AS value,
    any(unit) AS unit,
    max(at) AS at
FROM
(
    SELECT MetricName, Attributes, any(MetricUnit) AS unit, argMax(Value, TimeUnix) AS last, max(TimeUnix) AS at
    FROM
    (
        SELECT MetricName, MetricUnit, Attributes, ResourceAttributes, Value, TimeUnix FROM otel_metrics_gauge FINAL
        WHERE TimeUnix >= now() - INTERVAL 3 MINUTE AND MetricName IN {metrics:Array(String)}
        UNION ALL
        SELECT MetricName, MetricUnit, Attributes, ResourceAttributes, Value, TimeUnix FROM otel_metrics_sum FINAL
        WHERE TimeUnix >= now() - INTERVAL 3 MINUTE AND MetricName IN {metrics:Array(String)} AND NOT IsMonotonic
    )
    GROUP BY MetricName, Attributes, ResourceAttributes
)
GROUP BY metric, of
ORDER BY value = 0, metric, value DESC
LIMIT 40

-- counters --
SELECT metric, of, sum(increase) AS value
FROM
(
    SELECT
        MetricName AS metric,
        arrayStringConcat(mapValues(Attributes), ' ') AS of,
        max(Value) - if(min(StartTimeUnix) < now() - toIntervalMinute({minutes:UInt32}), min(Value), 0) AS increase
    FROM otel_metrics_sum FINAL
    WHERE TimeUnix >= now() - toIntervalMinute({minutes:UInt32}) AND IsMonotonic
        AND MetricName IN {metrics:Array(String)} AND Attributes['outcome'] NOT IN ('exported', 'ok')
    GROUP BY metric, of, SeriesHash, StartTimeUnix
)
GROUP BY metric, of
HAVING value > 0
ORDER BY value DESC
LIMIT 20

-- logs --
SELECT
    SeverityText AS severity,
    count() AS records,
    max(Timestamp) AS last_at,
    argMax(substringUTF8(Body, 1, 1000), Timestamp) AS example_text
FROM otel_logs FINAL
WHERE Timestamp >= now() - toIntervalMinute({minutes:UInt32}) AND SeverityNumber >= 17
GROUP BY severity, ScopeName
ORDER BY records DESC
LIMIT 5
