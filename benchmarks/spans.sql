-- {count} spans from number {first} on, in the columns of the collector's exporter. The same number is always the same span.
-- Session s begins at {began} + s * {session_seconds} (Unix seconds); its four runs are 90 s apart.
--
-- A sentence has {sentence} phrases. The eight spans of a run: 0 webhook, 1 run, 2 model, 3 tool, 4 model, 5 retrieval, 6 tool, 7 model.
WITH
    (entity, salt) -> lower(hex(sipHash128(entity, salt))) AS id128,
    (entity, salt) -> lower(hex(sipHash64(entity, salt))) AS id64,
    (key, n) -> arrayStringConcat(arrayMap(q -> joinGet(phrases, 'text', toUInt16(intHash64(key * 256 + q))), range(toUInt8(n * {sentence:UInt8}))), ' ') AS prose,
    ['gpt-5', 'gpt-5-mini', 'claude-sonnet-4-5', 'gemini-2.5-pro'] AS models,
    ['openai', 'openai', 'anthropic', 'google'] AS providers,
    ['lookup_reservation', 'search_flights', 'send_mail', 'query_database', 'read_file', 'calculate'] AS tools,
    number % 8 AS part,
    intDiv(number, 8) AS run,
    run % 4 AS turn,
    intDiv(run, 4) AS session,
    sipHash64(session, 'agent') % 20 AS agent,
    concat('agent-', toString(agent)) AS agent_id,
    1 + agent % 4 AS model_number,
    models[model_number] AS model,
    -- The six messages of a turn: user, call, result, call, result, answer. A result is JSON.
    j -> tools[1 + sipHash64(session, j, 'tool') % 6] AS tool_of,
    j -> concat('{"id":"', substring(id64(session, j), 1, 8), '","limit":', toString(sipHash64(session, j) % 50), '}') AS arguments_of,
    j -> concat('call_', substring(id128(session * 1000 + j, 'call'), 1, 24)) AS call_of,
    j -> multiIf(
        j % 6 = 0, prose(session * 1000 + j, 1 + j % 3),
        j % 6 = 5, prose(session * 1000 + j, 4),
        concat('{"status":"ok","reference":"', id64(session * 7, j), '","amount":', toString(sipHash64(j, session) % 100000 / 100),
            ',"note":"', prose(session * 1000 + j, 5), '"}')
    ) AS text_of,
    turn * 6 AS at,
    multiIf(part = 3, at + 1, part = 6, at + 3, part = 2, at, part = 4, at + 2, at + 4) AS position,
    -- What a model call is given: the system prompt, then the conversation up to here.
    if(part IN (2, 4, 7), range(toUInt64(position + 1)), emptyArrayUInt64()) AS given,
    sipHash64(run, part, 'duration') AS dice,
    multiIf(part = 0, 4000000, part = 1, 9000000000, part = 3 OR part = 6, 120000000, part = 5, 80000000, 1900000000) AS usual,
    toUInt64(usual * exp((dice % 2000) / 1000. - 1)) AS duration,
    sipHash64(run, part, 'error') % 100 < multiIf(part = 1, 2, part IN (3, 6), 3, part IN (2, 4, 7), 1, 0) AS failed,
    500 + 120 * (position + 1) + dice % 300 AS input_tokens,
    30 + dice % 400 AS output_tokens,
    multiIf(part = 0, concat('webhook ', agent_id), part = 1, concat('invoke_agent ', agent_id),
        part IN (3, 6), concat('execute_tool ', tool_of(position)), part = 5, 'retrieval handbook', concat('chat ', model)) AS name,
    concat(substring(id128(run, 'run'), 1, 8), '-', substring(id128(run, 'run'), 9, 4), '-4', substring(id128(run, 'run'), 14, 3), '-a',
        substring(id128(run, 'run'), 18, 3), '-', substring(id128(run, 'run'), 21, 12)) AS run_id,
    concat('session-', id64(session, 'session')) AS session_id,
    concat('msg_', substring(id128(run, 'delivery'), 1, 24)) AS delivery_id,
    if(part = 0, map('agno.delivery.id', delivery_id, 'agno.delivery.source', if(agent % 3 = 0, 'github', 'api'),
            'agno.dedup.decision', 'new', 'gen_ai.agent.id', agent_id, 'agno.run.id', run_id, 'session.id', session_id, 'input.value', text_of(at)),
        map('agno.run.id', run_id, 'agno.run.attempt', '1', 'session.id', session_id, 'gen_ai.conversation.id', session_id,
            'gen_ai.agent.id', agent_id, 'gen_ai.agent.name', concat('Agent ', toString(agent)), 'user.id', concat('user-', toString(session % 5000)),
            'agno.delivery.id', delivery_id, 'agno.delivery.source', if(agent % 3 = 0, 'github', 'api'))) AS identity,
    multiIf(
        part = 1, map('gen_ai.operation.name', 'invoke_agent', 'openinference.span.kind', 'AGENT', 'agno.run.kind', 'agent',
            'agno.run.status', if(failed, 'error', 'completed'), 'agno.queue.wait', toString(0.01 + dice % 500 / 1000),
            'input.value', text_of(at), 'input.mime_type', 'text/plain', 'output.value', text_of(at + 5), 'output.mime_type', 'text/plain',
            'gen_ai.usage.input_tokens', toString(3 * input_tokens), 'gen_ai.usage.output_tokens', toString(3 * output_tokens)),
        part IN (3, 6), map('gen_ai.operation.name', 'execute_tool', 'openinference.span.kind', 'TOOL', 'gen_ai.tool.name', tool_of(position),
            'tool.name', tool_of(position), 'gen_ai.tool.call.id', call_of(position), 'tool.parameters', arguments_of(position),
            'input.value', arguments_of(position), 'input.mime_type', 'application/json', 'output.value', text_of(position + 1),
            'output.mime_type', 'text/plain'),
        part = 5, map('gen_ai.operation.name', 'retrieval', 'openinference.span.kind', 'RETRIEVER', 'input.value', text_of(at),
            'input.mime_type', 'text/plain', 'retrieval.documents.0.document.content', prose(agent * 100 + dice % 100, 12),
            'retrieval.documents.0.document.id', toString(agent * 100 + dice % 100), 'retrieval.documents.0.document.score', toString(dice % 1000 / 1000)),
        part = 0, map('http.request.method', 'POST', 'http.response.status_code', '202'),
        mapConcat(
            map('gen_ai.operation.name', 'chat', 'openinference.span.kind', 'LLM', 'gen_ai.provider.name', providers[model_number],
                'llm.provider', providers[model_number], 'gen_ai.request.model', model, 'gen_ai.response.model', model, 'llm.model_name', model,
                'gen_ai.usage.input_tokens', toString(input_tokens), 'gen_ai.usage.output_tokens', toString(output_tokens),
                'llm.token_count.prompt', toString(input_tokens), 'llm.token_count.completion', toString(output_tokens),
                'llm.token_count.total', toString(input_tokens + output_tokens),
                'gen_ai.usage.cache_read.input_tokens', toString(intDiv(input_tokens, 2)),
                'gen_ai.response.time_to_first_chunk', toString(0.2 + dice % 900 / 1000),
                'llm.input_messages.0.message.role', 'system', 'llm.input_messages.0.message.content', prose(agent, 40)),
            if(model_number = 4, map(), map('llm.cost.total', toString((input_tokens * 1.25 + output_tokens * 10) / 1e6))),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.role'), given),
                arrayMap(j -> multiIf(j % 6 = 0, 'user', j % 6 IN (2, 4), 'tool', 'assistant'), given)),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.content'), arrayFilter(j -> j % 6 NOT IN (1, 3), given)),
                arrayMap(j -> text_of(j), arrayFilter(j -> j % 6 NOT IN (1, 3), given))),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.tool_calls.0.tool_call.id'), arrayFilter(j -> j % 6 IN (1, 3), given)),
                arrayMap(j -> call_of(j), arrayFilter(j -> j % 6 IN (1, 3), given))),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.tool_calls.0.tool_call.function.name'), arrayFilter(j -> j % 6 IN (1, 3), given)),
                arrayMap(j -> tool_of(j), arrayFilter(j -> j % 6 IN (1, 3), given))),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.tool_calls.0.tool_call.function.arguments'), arrayFilter(j -> j % 6 IN (1, 3), given)),
                arrayMap(j -> arguments_of(j), arrayFilter(j -> j % 6 IN (1, 3), given))),
            mapFromArrays(
                arrayMap(j -> concat('llm.input_messages.', toString(j + 1), '.message.tool_call_id'), arrayFilter(j -> j % 6 IN (2, 4), given)),
                arrayMap(j -> call_of(j - 1), arrayFilter(j -> j % 6 IN (2, 4), given))),
            map('llm.output_messages.0.message.role', 'assistant'),
            if(part = 7, map('llm.output_messages.0.message.content', text_of(at + 5)),
                map('llm.output_messages.0.message.tool_calls.0.tool_call.id', call_of(position + 1),
                    'llm.output_messages.0.message.tool_calls.0.tool_call.function.name', tool_of(position + 1),
                    'llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments', arguments_of(position + 1))))
    ) AS details
SELECT
    fromUnixTimestamp64Nano(toInt64(({began:UInt64} + session * {session_seconds:Float64} + turn * 90 + [0., 0.1, 0.2, 2.4, 2.7, 0.15, 5.1, 5.3][part + 1]) * 1e9)
        + toInt64(dice % 1000000)) AS Timestamp,
    id128(run, 'trace') AS TraceId,
    id64(number, 'span') AS SpanId,
    if(part = 0, '', id64(run * 8 + if(part = 1, 0, 1), 'span')) AS ParentSpanId,
    '' AS TraceState,
    name AS SpanName,
    multiIf(part = 0, 'Server', part IN (2, 4, 7), 'Client', 'Internal') AS SpanKind,
    'agent-runtime' AS ServiceName,
    map('service.name', 'agent-runtime', 'service.version', '1.4.2', 'deployment.environment.name', 'production',
        'telemetry.sdk.language', 'python', 'telemetry.sdk.name', 'opentelemetry', 'telemetry.sdk.version', '1.45.0') AS ResourceAttributes,
    'agent-telemetry-stack' AS ScopeName,
    '0.1.0' AS ScopeVersion,
    mapSort(mapConcat(identity, details, if(failed, map('error.type', 'TimeoutError'), map()))) AS SpanAttributes,
    duration AS Duration,
    if(failed, 'Error', 'Ok') AS StatusCode,
    if(failed, 'the upstream service did not answer in time', '') AS StatusMessage
FROM numbers({first:UInt64}, {count:UInt64})
SETTINGS max_block_size = 16384
