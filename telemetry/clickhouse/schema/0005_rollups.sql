-- What dashboards sum up over weeks: each operation by minute and by hour. Times of day are UTC, durations seconds.
--
-- A rollup is computed from the table in which each span is once, and computed again for every minute in which spans
-- have arrived since: a span that is sent again, in whatever batch, or days late, changes no count. Sums that
-- are added to at each insert could not promise that. A row replaces the one of its key that counted fewer calls,
-- so what is computed after spans have outlived their retention does not replace what was counted before.
--
-- operation             name              outcome
-- invoke_agent          agent, team       completed, error, cancelled, paused
-- invoke_workflow       workflow          completed, error, cancelled, paused
-- chat                  model             Ok, Error, Unset
-- execute_tool          tool              Ok, Error, Unset
-- retrieval             name of the span  Ok, Error, Unset
-- webhook               source            accepted, duplicate, ...
--
-- Buckets have a logarithmic scale: bucket b counts what took from 2^((b-1)/4) to 2^(b/4) milliseconds (0: up to one),
-- so a quantile read from them is within 9 % of the true one; docs/operations.md says how.
CREATE TABLE IF NOT EXISTS operations_by_minute
(
    minute DateTime CODEC(Delta(4), ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    agent_id LowCardinality(String) CODEC(ZSTD(3)),
    name LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    calls UInt64 CODEC(ZSTD(3)),
    duration Float64 CODEC(ZSTD(3)),
    durations Map(UInt8, UInt64) COMMENT 'Bucket: calls' CODEC(ZSTD(3)),
    first_chunks Map(UInt8, UInt64) COMMENT 'Bucket: calls' CODEC(ZSTD(3)),
    waits Map(UInt8, UInt64) COMMENT 'Of runs, in the queue. Bucket: runs' CODEC(ZSTD(3)),
    input_tokens UInt64 CODEC(ZSTD(3)),
    output_tokens UInt64 CODEC(ZSTD(3)),
    cache_read_tokens UInt64 CODEC(ZSTD(3)),
    cache_write_tokens UInt64 CODEC(ZSTD(3)),
    reasoning_tokens UInt64 CODEC(ZSTD(3)),
    cost Float64 COMMENT 'US dollars of the calls whose cost is known' CODEC(ZSTD(3)),
    priced UInt64 COMMENT 'Calls whose cost is known' CODEC(ZSTD(3)),
    computed_at DateTime CODEC(Delta(4), ZSTD(3))
)
ENGINE = ReplacingMergeTree(calls)
PARTITION BY toDate(minute)
ORDER BY (operation, minute, agent_id, name, outcome, environment)
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS operations_by_hour
(
    hour DateTime CODEC(Delta(4), ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    agent_id LowCardinality(String) CODEC(ZSTD(3)),
    name LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    calls UInt64 CODEC(ZSTD(3)),
    duration Float64 CODEC(ZSTD(3)),
    durations Map(UInt8, UInt64) COMMENT 'Bucket: calls' CODEC(ZSTD(3)),
    first_chunks Map(UInt8, UInt64) COMMENT 'Bucket: calls' CODEC(ZSTD(3)),
    waits Map(UInt8, UInt64) COMMENT 'Of runs, in the queue. Bucket: runs' CODEC(ZSTD(3)),
    input_tokens UInt64 CODEC(ZSTD(3)),
    output_tokens UInt64 CODEC(ZSTD(3)),
    cache_read_tokens UInt64 CODEC(ZSTD(3)),
    cache_write_tokens UInt64 CODEC(ZSTD(3)),
    reasoning_tokens UInt64 CODEC(ZSTD(3)),
    cost Float64 COMMENT 'US dollars of the calls whose cost is known' CODEC(ZSTD(3)),
    priced UInt64 COMMENT 'Calls whose cost is known' CODEC(ZSTD(3)),
    computed_at DateTime CODEC(Delta(4), ZSTD(3))
)
ENGINE = ReplacingMergeTree(calls)
PARTITION BY toYYYYMM(hour)
ORDER BY (operation, hour, agent_id, name, outcome, environment)
SETTINGS ttl_only_drop_parts = 1;

-- Two minutes of overlap: a row's InsertedAt is the beginning of its insert, which is seen only when it ends.
CREATE MATERIALIZED VIEW IF NOT EXISTS operations_by_minute_mv
REFRESH EVERY 15 SECOND APPEND TO operations_by_minute AS
SELECT
    toStartOfMinute(Timestamp) AS minute,
    if(Decision != '', 'webhook', Operation) AS operation,
    AgentId AS agent_id,
    multiIf(
        Operation = 'chat', Model,
        Operation = 'execute_tool', ToolName,
        Operation IN ('invoke_agent', 'invoke_workflow'), RunKind,
        Decision != '', DeliverySource,
        SpanName
    ) AS name,
    multiIf(Decision != '', Decision, RunStatus != '', RunStatus, StatusCode) AS outcome,
    Environment AS environment,
    count() AS calls,
    sum(Duration / 1e9) AS duration,
    sumMap(map(toUInt8(ceil(4 * log2(greatest(Duration / 1e6, 1)))), toUInt64(1))) AS durations,
    sumMapIf(
        map(toUInt8(ceil(4 * log2(greatest(ifNull(TimeToFirstChunk, 0) * 1000, 1)))), toUInt64(1)),
        TimeToFirstChunk IS NOT NULL
    ) AS first_chunks,
    sumMapIf(
        map(toUInt8(ceil(4 * log2(greatest(ifNull(QueueWait, 0) * 1000, 1)))), toUInt64(1)),
        QueueWait IS NOT NULL AND RunStatus != ''
    ) AS waits,
    sum(InputTokens) AS input_tokens,
    sum(OutputTokens) AS output_tokens,
    sum(CacheReadTokens) AS cache_read_tokens,
    sum(CacheWriteTokens) AS cache_write_tokens,
    sum(ReasoningTokens) AS reasoning_tokens,
    ifNull(sum(Cost), 0) AS cost,
    count(Cost) AS priced,
    now() AS computed_at
FROM otel_traces FINAL
WHERE (Operation != '' OR Decision != '') AND (toStartOfHour(Timestamp), toStartOfMinute(Timestamp)) IN (
    SELECT toStartOfHour(Timestamp), toStartOfMinute(Timestamp)
    FROM otel_traces
    WHERE InsertedAt + 120 >= (SELECT max(computed_at) FROM operations_by_minute)
)
GROUP BY minute, operation, agent_id, name, outcome, environment
SETTINGS max_bytes_before_external_group_by = 400000000;

CREATE MATERIALIZED VIEW IF NOT EXISTS operations_by_hour_mv
REFRESH EVERY 15 SECOND DEPENDS ON operations_by_minute_mv APPEND TO operations_by_hour AS
SELECT
    toStartOfHour(minute) AS hour,
    operation,
    agent_id,
    name,
    outcome,
    environment,
    sum(calls) AS calls,
    sum(duration) AS duration,
    sumMap(durations) AS durations,
    sumMap(first_chunks) AS first_chunks,
    sumMap(waits) AS waits,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    sum(cost) AS cost,
    sum(priced) AS priced,
    now() AS computed_at
FROM operations_by_minute FINAL
WHERE toStartOfHour(minute) IN (
    SELECT toStartOfHour(minute)
    FROM operations_by_minute
    WHERE computed_at + 120 >= (SELECT max(computed_at) FROM operations_by_hour)
)
GROUP BY hour, operation, agent_id, name, outcome, environment;

-- From which tier a dashboard reads, by the range that it shows: minutes up to half a day, hours beyond. `time` is the
-- beginning of a row's minute or hour and `seconds` its length.
CREATE VIEW IF NOT EXISTS operations AS
SELECT minute AS time, 60 AS seconds, * EXCEPT minute
FROM operations_by_minute FINAL
WHERE minute >= toStartOfMinute({from:DateTime}) AND minute <= {to:DateTime} AND {to:DateTime} <= {from:DateTime} + 43200
UNION ALL
SELECT hour AS time, 3600 AS seconds, * EXCEPT hour
FROM operations_by_hour FINAL
WHERE hour >= toStartOfHour({from:DateTime}) AND hour <= {to:DateTime} AND {to:DateTime} > {from:DateTime} + 43200;
