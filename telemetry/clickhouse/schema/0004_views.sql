-- Runs, model calls and tool calls as they are spoken of. FINAL is in the views, so nobody who reads them counts a
-- span twice, whatever the reader's settings. Times of day are UTC, durations seconds.

-- One row for each attempt of a run of an agent, a team or a workflow.
CREATE VIEW IF NOT EXISTS runs AS
SELECT
    RunId AS run_id,
    toUInt32OrZero(SpanAttributes['agno.run.attempt']) AS attempt,
    SpanAttributes['agno.run.kind'] AS kind,
    AgentId AS agent_id,
    SpanAttributes['gen_ai.agent.name'] AS agent_name,
    RunStatus AS status,
    SpanAttributes['error.type'] AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    toFloat64OrNull(SpanAttributes['agno.queue.wait']) AS queue_wait,
    SessionId AS session_id,
    SpanAttributes['user.id'] AS user_id,
    SpanAttributes['agno.delivery.id'] AS delivery_id,
    SpanAttributes['agno.delivery.source'] AS source,
    InputTokens AS input_tokens,
    OutputTokens AS output_tokens,
    ServiceName AS service,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation IN ('invoke_agent', 'invoke_workflow');

CREATE VIEW IF NOT EXISTS model_calls AS
SELECT
    RunId AS run_id,
    toUInt32OrZero(SpanAttributes['agno.run.attempt']) AS attempt,
    AgentId AS agent_id,
    SpanAttributes['gen_ai.provider.name'] AS provider,
    Model AS model,
    SpanAttributes['gen_ai.response.model'] AS response_model,
    StatusCode = 'Error' AS failed,
    SpanAttributes['error.type'] AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    toFloat64OrNull(SpanAttributes['gen_ai.response.time_to_first_chunk']) AS time_to_first_chunk,
    InputTokens AS input_tokens,
    OutputTokens AS output_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.cache_read.input_tokens']) AS cache_read_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.reasoning.output_tokens']) AS reasoning_tokens,
    SessionId AS session_id,
    ServiceName AS service,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation = 'chat';

CREATE VIEW IF NOT EXISTS tool_calls AS
SELECT
    RunId AS run_id,
    toUInt32OrZero(SpanAttributes['agno.run.attempt']) AS attempt,
    AgentId AS agent_id,
    ToolName AS tool,
    SpanAttributes['gen_ai.tool.call.id'] AS call_id,
    StatusCode = 'Error' AS failed,
    SpanAttributes['error.type'] AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    SessionId AS session_id,
    ServiceName AS service,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation = 'execute_tool';
