-- Runs, model calls, tool calls, retrievals and messages as they are spoken of. FINAL is in the views, so nobody who reads
-- them counts a span twice, whatever the reader's settings. Times of day are UTC, durations seconds, costs US dollars;
-- a cost that is not known is NULL.

-- One row for each attempt of a run of an agent, a team or a workflow.
CREATE VIEW IF NOT EXISTS runs AS
SELECT
    RunId AS run_id,
    Attempt AS attempt,
    RunKind AS kind,
    AgentId AS agent_id,
    SpanAttributes['gen_ai.agent.name'] AS agent_name,
    RunStatus AS status,
    ErrorType AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    QueueWait AS queue_wait,
    SessionId AS session_id,
    UserId AS user_id,
    SpanAttributes['agno.delivery.id'] AS delivery_id,
    DeliverySource AS source,
    InputTokens AS input_tokens,
    OutputTokens AS output_tokens,
    toFloat64OrNull(SpanAttributes['agno.run.cost']) AS cost,
    ServiceName AS service,
    Environment AS environment,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation IN ('invoke_agent', 'invoke_workflow');

CREATE VIEW IF NOT EXISTS model_calls AS
SELECT
    RunId AS run_id,
    Attempt AS attempt,
    AgentId AS agent_id,
    SpanAttributes['gen_ai.provider.name'] AS provider,
    Model AS model,
    SpanAttributes['gen_ai.response.model'] AS response_model,
    StatusCode = 'Error' AS failed,
    ErrorType AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    TimeToFirstChunk AS time_to_first_chunk,
    InputTokens AS input_tokens,
    OutputTokens AS output_tokens,
    CacheReadTokens AS cache_read_tokens,
    CacheWriteTokens AS cache_write_tokens,
    ReasoningTokens AS reasoning_tokens,
    Cost AS cost,
    SessionId AS session_id,
    UserId AS user_id,
    ServiceName AS service,
    Environment AS environment,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation = 'chat';

CREATE VIEW IF NOT EXISTS tool_calls AS
SELECT
    RunId AS run_id,
    Attempt AS attempt,
    AgentId AS agent_id,
    ToolName AS tool,
    SpanAttributes['gen_ai.tool.call.id'] AS call_id,
    StatusCode = 'Error' AS failed,
    ErrorType AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    SessionId AS session_id,
    UserId AS user_id,
    ServiceName AS service,
    Environment AS environment,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation = 'execute_tool';

CREATE VIEW IF NOT EXISTS retrievals AS
SELECT
    RunId AS run_id,
    Attempt AS attempt,
    AgentId AS agent_id,
    SpanAttributes['input.value'] AS query,
    toUInt32(arrayCount(
        key -> key LIKE 'retrieval.documents.%.document.content', mapKeys(SpanAttributes)
    )) AS documents,
    StatusCode = 'Error' AS failed,
    ErrorType AS error_type,
    StatusMessage AS error_message,
    Timestamp AS started_at,
    Duration / 1e9 AS duration,
    SessionId AS session_id,
    UserId AS user_id,
    ServiceName AS service,
    Environment AS environment,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id
FROM otel_traces FINAL
WHERE Operation = 'retrieval';

-- One row for each message that a model call was given or answered, in their order. Ask for a run, a session or a trace:
-- texts are large. tool_calls: (id, name, arguments as JSON) each.
CREATE VIEW IF NOT EXISTS messages AS
SELECT
    RunId AS run_id,
    AgentId AS agent_id,
    Model AS model,
    message.1 AS direction,
    message.2 AS position,
    SpanAttributes[concat(prefix, 'role')] AS role,
    SpanAttributes[concat(prefix, 'content')] AS content,
    SpanAttributes[concat(prefix, 'tool_call_id')] AS tool_call_id,
    arrayMap(
        n -> (
            SpanAttributes[concat(prefix, 'tool_calls.', toString(n), '.tool_call.id')],
            SpanAttributes[concat(prefix, 'tool_calls.', toString(n), '.tool_call.function.name')],
            SpanAttributes[concat(prefix, 'tool_calls.', toString(n), '.tool_call.function.arguments')]
        ),
        range(arrayCount(
            key -> startsWith(key, concat(prefix, 'tool_calls.')) AND endsWith(key, '.tool_call.function.name'),
            mapKeys(SpanAttributes)
        ))
    ) AS tool_calls,
    Timestamp AS started_at,
    SessionId AS session_id,
    TraceId AS trace_id,
    SpanId AS span_id,
    concat('llm.', message.1, '_messages.', toString(message.2), '.message.') AS prefix
FROM otel_traces FINAL
ARRAY JOIN arraySort(arrayMap(
    key -> (extract(key, '^llm\\.(input|output)_'), toUInt32OrZero(extract(key, '_messages\\.(\\d+)\\.'))),
    arrayFilter(key -> match(key, '^llm\\.(input|output)_messages\\.\\d+\\.message\\.role$'), mapKeys(SpanAttributes))
)) AS message
WHERE Operation = 'chat';
