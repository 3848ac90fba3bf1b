-- The queries that the dashboards need, one panel each: `-- board: name (rollup)` says from which tier it reads.
-- {run}, {trace}, {session} and {agent} are values of the data; ranges end now.

-- fleet: runs by status, 7 days (rollup)
SELECT hour, outcome, sum(calls) FROM operations_by_hour
WHERE operation IN ('invoke_agent', 'invoke_workflow') AND hour >= now() - INTERVAL 7 DAY
GROUP BY hour, outcome ORDER BY hour;

-- fleet: errors by agent, 24 hours (rollup)
SELECT agent_id, sumIf(calls, outcome = 'error') AS errors, sum(calls) AS runs FROM operations_by_hour
WHERE operation IN ('invoke_agent', 'invoke_workflow') AND hour >= now() - INTERVAL 1 DAY
GROUP BY agent_id ORDER BY errors DESC;

-- fleet: duration quantiles by agent, 7 days (rollup)
WITH
    sumMap(durations) AS counts,
    arrayCumSum(mapValues(counts)) AS running,
    level -> pow(2, (mapKeys(counts)[arrayFirstIndex(n -> n >= level * running[-1], running)] - 0.5) / 4) / 1000 AS quantile
SELECT agent_id, quantile(0.5) AS p50, quantile(0.95) AS p95, quantile(0.99) AS p99 FROM operations_by_hour
WHERE operation = 'invoke_agent' AND hour >= now() - INTERVAL 7 DAY
GROUP BY agent_id ORDER BY agent_id;

-- fleet: runs by minute, 6 hours (rollup)
SELECT minute, outcome, sum(calls) FROM operations_by_minute
WHERE operation IN ('invoke_agent', 'invoke_workflow') AND minute >= now() - INTERVAL 6 HOUR
GROUP BY minute, outcome ORDER BY minute;

-- agent: duration quantiles by minute, 6 hours (rollup)
WITH
    sumMap(durations) AS counts,
    arrayCumSum(mapValues(counts)) AS running,
    level -> pow(2, (mapKeys(counts)[arrayFirstIndex(n -> n >= level * running[-1], running)] - 0.5) / 4) / 1000 AS quantile
SELECT minute, quantile(0.5) AS p50, quantile(0.95) AS p95, quantile(0.99) AS p99 FROM operations_by_minute
WHERE operation = 'invoke_agent' AND agent_id = {agent:String} AND minute >= now() - INTERVAL 6 HOUR
GROUP BY minute ORDER BY minute;

-- agent: slowest runs, 24 hours
SELECT run_id, started_at, duration, status, trace_id FROM runs
WHERE agent_id = {agent:String} AND started_at >= now() - INTERVAL 1 DAY
ORDER BY duration DESC LIMIT 20;

-- fleet: failed runs, 24 hours
SELECT run_id, agent_id, started_at, duration, error_type, error_message, trace_id FROM runs
WHERE status = 'error' AND started_at >= now() - INTERVAL 1 DAY
ORDER BY started_at DESC LIMIT 50;

-- agent: sessions that took most tokens, 24 hours
SELECT session_id, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(cost) AS usd, count() AS calls FROM model_calls
WHERE agent_id = {agent:String} AND started_at >= now() - INTERVAL 1 DAY
GROUP BY session_id ORDER BY input + output DESC LIMIT 20;

-- models and cost: tokens and cost by model, 7 days (rollup)
SELECT hour, name AS model, sum(input_tokens), sum(output_tokens), if(sum(priced) > 0, sum(cost), NULL) FROM operations_by_hour
WHERE operation = 'chat' AND hour >= now() - INTERVAL 7 DAY
GROUP BY hour, model ORDER BY hour;

-- models and cost: cost by agent, 7 days (rollup)
SELECT agent_id, sum(cost), sum(calls) - sum(priced) AS unpriced FROM operations_by_hour
WHERE operation = 'chat' AND hour >= now() - INTERVAL 7 DAY
GROUP BY agent_id ORDER BY 2 DESC;

-- models and cost: time to first chunk by model, 7 days (rollup)
WITH
    sumMap(first_chunks) AS counts,
    arrayCumSum(mapValues(counts)) AS running,
    level -> pow(2, (mapKeys(counts)[arrayFirstIndex(n -> n >= level * running[-1], running)] - 0.5) / 4) / 1000 AS quantile
SELECT name AS model, quantile(0.5) AS p50, quantile(0.95) AS p95 FROM operations_by_hour
WHERE operation = 'chat' AND hour >= now() - INTERVAL 7 DAY
GROUP BY model;

-- models and cost: failed calls by type, 24 hours
SELECT model, error_type, count() FROM model_calls
WHERE failed AND started_at >= now() - INTERVAL 1 DAY
GROUP BY model, error_type ORDER BY count() DESC;

-- tools: calls, errors, duration, 7 days (rollup)
SELECT name AS tool, sum(calls), sumIf(calls, outcome = 'Error') AS errors, sum(duration) / sum(calls) AS mean FROM operations_by_hour
WHERE operation = 'execute_tool' AND hour >= now() - INTERVAL 7 DAY
GROUP BY tool ORDER BY errors DESC;

-- tools: calls by minute, 6 hours (rollup)
SELECT minute, name AS tool, sum(calls) FROM operations_by_minute
WHERE operation = 'execute_tool' AND minute >= now() - INTERVAL 6 HOUR
GROUP BY minute, tool ORDER BY minute;

-- pipeline: webhook decisions by hour, 7 days (rollup)
SELECT hour, name AS source, outcome AS decision, sum(calls) FROM operations_by_hour
WHERE operation = 'webhook' AND hour >= now() - INTERVAL 7 DAY
GROUP BY hour, source, decision ORDER BY hour;

-- run: its spans
SELECT SpanName, Timestamp, Duration, StatusCode, SpanId, ParentSpanId FROM otel_traces
WHERE RunId = {run:String} AND Timestamp >= now() - INTERVAL 7 DAY
ORDER BY Timestamp;

-- run: its messages
SELECT direction, position, role, content, tool_calls FROM messages
WHERE run_id = {run:String} AND started_at >= now() - INTERVAL 7 DAY
ORDER BY started_at, direction, position;

-- run: the others of its session
SELECT run_id, started_at, duration, status FROM runs
WHERE session_id = {session:String} AND started_at >= now() - INTERVAL 7 DAY
ORDER BY started_at;
