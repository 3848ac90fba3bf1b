-- Spans, one row each. Names and types of the columns that are inserted are those of the OpenTelemetry Collector's
-- ClickHouse exporter (v0.161) and of Grafana's OTel mode; sort key, engine, codecs and typed columns are ours.
--
-- A span that is sent again, in whatever batch, has the same sort key and the same partition, so ReplacingMergeTree
-- keeps one of it and `final = 1` shows one of it before the merge. Retries with the same batch borders are already
-- refused at insert by the deduplication window.
--
-- Nearly all bytes are texts that come again: a model call repeats its agent's prompt and its session's conversation.
-- So agents and sessions lie together, within an hour, and the attributes are compressed in blocks that hold many calls.
-- shard by cityHash64(TraceId)
CREATE TABLE IF NOT EXISTS otel_traces
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(3)),
    TraceId String CODEC(ZSTD(3)),
    SpanId String CODEC(ZSTD(3)),
    ParentSpanId String CODEC(ZSTD(3)),
    TraceState String CODEC(ZSTD(3)),
    SpanName LowCardinality(String) CODEC(ZSTD(3)),
    SpanKind LowCardinality(String) CODEC(ZSTD(3)),
    ServiceName LowCardinality(String) CODEC(ZSTD(3)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    ScopeName String CODEC(ZSTD(3)),
    ScopeVersion String CODEC(ZSTD(3)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(6, 24))
        SETTINGS (min_compress_block_size = 4194304, max_compress_block_size = 4194304),
    Duration UInt64 COMMENT 'Nanoseconds' CODEC(ZSTD(3)),
    StatusCode LowCardinality(String) CODEC(ZSTD(3)),
    StatusMessage String CODEC(ZSTD(3)),
    Events Nested
    (
        Timestamp DateTime64(9),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),
    Links Nested
    (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),

    -- What is asked all the time, out of the attribute map: reading one key of a map reads the whole map.
    Operation LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.operation.name'] CODEC(ZSTD(3)),
    AgentId LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.agent.id'] CODEC(ZSTD(3)),
    RunId String MATERIALIZED SpanAttributes['agno.run.id'] CODEC(ZSTD(3)),
    RunKind LowCardinality(String) MATERIALIZED SpanAttributes['agno.run.kind'] CODEC(ZSTD(3)),
    RunStatus LowCardinality(String) MATERIALIZED SpanAttributes['agno.run.status'] CODEC(ZSTD(3)),
    SessionId String MATERIALIZED SpanAttributes['session.id'] CODEC(ZSTD(3)),
    ToolName LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.tool.name'] CODEC(ZSTD(3)),
    Model LowCardinality(String) MATERIALIZED SpanAttributes['gen_ai.request.model'] CODEC(ZSTD(3)),
    ErrorType LowCardinality(String) MATERIALIZED SpanAttributes['error.type'] CODEC(ZSTD(3)),
    DeliverySource LowCardinality(String) MATERIALIZED SpanAttributes['agno.delivery.source'] CODEC(ZSTD(3)),
    Decision LowCardinality(String) MATERIALIZED SpanAttributes['agno.dedup.decision'] CODEC(ZSTD(3)),
    InputTokens UInt64 MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.input_tokens']) CODEC(ZSTD(3)),
    OutputTokens UInt64 MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens']) CODEC(ZSTD(3)),
    CacheReadTokens UInt64
        MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.cache_read.input_tokens']) CODEC(ZSTD(3)),
    CacheWriteTokens UInt64
        MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.cache_creation.input_tokens']) CODEC(ZSTD(3)),
    ReasoningTokens UInt64
        MATERIALIZED toUInt64OrZero(SpanAttributes['gen_ai.usage.reasoning.output_tokens']) CODEC(ZSTD(3)),
    Cost Nullable(Float64) MATERIALIZED toFloat64OrNull(SpanAttributes['llm.cost.total'])
        COMMENT 'US dollars; NULL: unknown' CODEC(ZSTD(3)),
    TimeToFirstChunk Nullable(Float64)
        MATERIALIZED toFloat64OrNull(SpanAttributes['gen_ai.response.time_to_first_chunk'])
        COMMENT 'Seconds' CODEC(ZSTD(3)),
    UserId String MATERIALIZED SpanAttributes['user.id'] CODEC(ZSTD(3)),
    Attempt UInt32 MATERIALIZED toUInt32OrZero(SpanAttributes['agno.run.attempt']) CODEC(ZSTD(3)),
    QueueWait Nullable(Float64) MATERIALIZED toFloat64OrNull(SpanAttributes['agno.queue.wait'])
        COMMENT 'Seconds' CODEC(ZSTD(3)),
    Environment LowCardinality(String)
        MATERIALIZED ResourceAttributes['deployment.environment.name'] CODEC(ZSTD(3)),
    -- What the rollups have not seen yet is found by it; see 0005_rollups.sql.
    InsertedAt DateTime MATERIALIZED now() CODEC(Delta(4), ZSTD(3)),

    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_run_id RunId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_session_id SessionId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_inserted_at InsertedAt TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(Timestamp)
PRIMARY KEY (toStartOfHour(Timestamp), AgentId, SessionId, TraceId)
ORDER BY (toStartOfHour(Timestamp), AgentId, SessionId, TraceId, toDateTime(Timestamp), SpanId)
SETTINGS index_granularity = 8192, index_granularity_bytes = 4194304, ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 1000;

-- Where in time a trace lies, so that a trace is found by its id without reading every day. A trace that is sent again
-- is here once more, which changes no answer: first and last times are asked for. Every part is looked into, so they are few.
-- shard by cityHash64(TraceId)
CREATE TABLE IF NOT EXISTS otel_traces_trace_id_ts
(
    TraceId String CODEC(ZSTD(3)),
    Start DateTime CODEC(Delta(4), ZSTD(3)),
    End DateTime CODEC(Delta(4), ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toMonday(Start)
ORDER BY TraceId
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel_traces_trace_id_ts_mv TO otel_traces_trace_id_ts AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM otel_traces
WHERE TraceId != ''
GROUP BY TraceId;
