"""Records -> span attributes: OpenInference (Phoenix and the AgentOS pages read it) and the GenAI conventions.

A record is (name of a function below, its arguments ...), made by telemetry.runs, calls and lookups; this is done in
the exporter's process. Content is written once, under OpenInference's names.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.util.types import AttributeValue

from telemetry import semconv
from telemetry.content import Content
from telemetry.plain import Message, Value
from telemetry.span import Record
from telemetry.tokens import Usage

Attributes = dict[str, AttributeValue]


def attributes(record: Record, content: Content) -> Attributes:
    name, *arguments = record
    return _ENCODERS[name](content, *arguments)


def value(content: Content, prefix: str, given: Value | None) -> Attributes:
    """`input.value` or `output.value` with its mime type; nothing for None. `prefix` is "input" or "output"."""
    shown = None if given is None else content(given[0])
    if given is None or shown is None:
        return {}
    return {f"{prefix}.value": shown, f"{prefix}.mime_type": semconv.JSON if given[1] else semconv.TEXT}


def _run(
    content: Content,
    identity: tuple[Any, ...],
    kind: str,
    parent_run_id: str | None,
    wait: float | None,
    status: str,
    error_type: str | None,
    given: Value | None,
    answer: Value | None,
    used: tuple[int, int] | None,
    cost: float | None,
) -> Attributes:
    workflow = kind == "workflow"
    found: Attributes = {
        semconv.OPERATION_NAME: semconv.INVOKE_WORKFLOW if workflow else semconv.INVOKE_AGENT,
        semconv.SPAN_KIND: "CHAIN" if workflow else "AGENT",
        semconv.RUN_KIND: kind,
        **_identity(identity),
        semconv.OPENINFERENCE_AGENT_NAME: identity[4],
        semconv.RUN_STATUS: status,
        **value(content, "input", given),
        **value(content, "output", answer),
    }
    if used is not None:  # not under OpenInference's names: Phoenix would count them with the calls'
        found[semconv.INPUT_TOKENS], found[semconv.OUTPUT_TOKENS] = used
    return _with(
        found,
        (semconv.PARENT_RUN_ID, parent_run_id),
        (semconv.QUEUE_WAIT, wait),
        (semconv.RUN_COST, cost),
        (semconv.ERROR_TYPE, error_type),
    )


def _chat(
    content: Content,
    identity: tuple[Any, ...] | None,
    provider: str,
    model: str,
    given: Sequence[Message],
    answer: Message,
    usage: Usage | None,
    cost: float | None,
    first_chunk: float | None,
    parameters: str | None,
    tools: Sequence[str],
    error_type: str | None,
) -> Attributes:
    found: Attributes = {
        semconv.OPERATION_NAME: semconv.CHAT,
        semconv.SPAN_KIND: "LLM",
        **_identity(identity),
        semconv.PROVIDER_NAME: provider,
        semconv.REQUEST_MODEL: model,
        semconv.LLM_MODEL_NAME: model,
        semconv.LLM_PROVIDER: provider,
    }
    _add_messages(found, content, semconv.LLM_INPUT_MESSAGES, given)
    if error_type is None or answer[1] or answer[3]:
        _add_messages(found, content, semconv.LLM_OUTPUT_MESSAGES, [answer])
    for n, schema in enumerate(tools):
        if (shown := content(schema)) is not None:
            found[f"{semconv.LLM_TOOLS}.{n}.tool.json_schema"] = shown
    if usage is not None:
        _add_usage(found, usage)
    return _with(
        found,
        (semconv.LLM_PARAMETERS, parameters),
        (semconv.COST, cost),
        (semconv.TIME_TO_FIRST_CHUNK, first_chunk),
        (semconv.ERROR_TYPE, error_type),
    )


def _tool(
    content: Content,
    identity: tuple[Any, ...] | None,
    tool: str,
    call_id: str | None,
    description: str | None,
    arguments: str,
    answer: Value | None,
    mcp: bool,
    error_type: str | None,
) -> Attributes:
    found: Attributes = {
        semconv.OPERATION_NAME: semconv.EXECUTE_TOOL,
        semconv.SPAN_KIND: "TOOL",
        **_identity(identity),
        semconv.TOOL_NAME: tool,
        semconv.OPENINFERENCE_TOOL_NAME: tool,
        semconv.TOOL_TYPE: "extension" if mcp else "function",
        **value(content, "input", (arguments, True)),
        **value(content, "output", answer),
    }
    if mcp:
        found["mcp.method.name"] = "tools/call"
    return _with(
        found,
        (semconv.TOOL_CALL_ID, call_id),
        (semconv.TOOL_DESCRIPTION, description),
        (semconv.ERROR_TYPE, error_type),
    )


def _retrieval(
    content: Content,
    identity: tuple[Any, ...] | None,
    operation: str,
    query: Value | None,
    documents: Sequence[tuple[str | None, str, float | None, str | None]],
    error_type: str | None,
) -> Attributes:
    found: Attributes = {
        semconv.OPERATION_NAME: operation,
        semconv.SPAN_KIND: "RETRIEVER",
        **_identity(identity),
        **value(content, "input", query),
    }
    for n, (document_id, body, score, metadata) in enumerate(documents):
        at = f"{semconv.RETRIEVAL_DOCUMENTS}.{n}.document"
        _with(
            found,
            (f"{at}.id", document_id),
            (f"{at}.content", content(body)),
            (f"{at}.score", score),
            (f"{at}.metadata", None if metadata is None else content(metadata)),
        )
    return _with(found, (semconv.ERROR_TYPE, error_type))


def _memory(
    content: Content,
    identity: tuple[Any, ...] | None,
    operation: str,
    given: Value | None,
    answer: Value | None,
    error_type: str | None,
) -> Attributes:
    found: Attributes = {
        semconv.OPERATION_NAME: operation,
        semconv.SPAN_KIND: "CHAIN",
        **_identity(identity),
        **value(content, "input", given),
        **value(content, "output", answer),
    }
    return _with(found, (semconv.ERROR_TYPE, error_type))


def _approval(
    content: Content,
    run_id: str,
    session_id: str | None,
    agent_id: str,
    tool: str,
    approval_id: str,
    decision: str,
    arguments: Value | None,
    answer: Value | None,
) -> Attributes:
    return _with(
        {
            semconv.SPAN_KIND: "CHAIN",
            semconv.RUN_ID: run_id,
            semconv.AGENT_ID: agent_id,
            semconv.TOOL_NAME: tool,
            semconv.APPROVAL_ID: approval_id,
            semconv.APPROVAL_DECISION: decision,
            **value(content, "input", arguments),
            **value(content, "output", answer),
        },
        (semconv.SESSION_ID, session_id),
    )


@lru_cache(2048)
def _identified(
    run_id: str,
    attempt: int,
    session_id: str,
    agent_id: str,
    agent_name: str,
    user_id: str | None,
    delivery_id: str | None,
    source: str,
) -> Attributes:
    found: Attributes = {
        semconv.RUN_ID: run_id,
        semconv.RUN_ATTEMPT: attempt,
        semconv.SESSION_ID: session_id,
        semconv.CONVERSATION_ID: session_id,
        semconv.AGENT_ID: agent_id,
        semconv.AGENT_NAME: agent_name,
    }
    delivered = source if delivery_id is not None else None
    return _with(
        found, (semconv.USER_ID, user_id), (semconv.DELIVERY_ID, delivery_id), (semconv.DELIVERY_SOURCE, delivered)
    )


def _identity(identity: tuple[Any, ...] | None) -> Attributes:
    """What every span of a run carries; nothing outside of one."""
    return {} if identity is None else _identified(*identity)


def _add_messages(found: Attributes, content: Content, key: str, conversation: Sequence[Message]) -> None:
    """OpenInference's flattened messages: `{key}.0.message.role`, ..."""
    for n, (role, body, call_id, calls, reasoning, media) in enumerate(conversation):
        at = f"{key}.{n}.message"
        found[f"{at}.role"] = role
        if body is not None and (shown := content(body)) is not None:
            found[f"{at}.content"] = shown
        if call_id is not None:
            found[f"{at}.tool_call_id"] = call_id
        for m, (tool_call_id, name, arguments) in enumerate(calls):
            call = f"{at}.tool_calls.{m}.tool_call"
            if tool_call_id:
                found[f"{call}.id"] = tool_call_id
            found[f"{call}.function.name"] = name
            if (shown := content(arguments)) is not None:
                found[f"{call}.function.arguments"] = shown
        parts = [("reasoning", reasoning)] if reasoning else []
        for m, (kind, part) in enumerate([*parts, *(("text", one) for one in media)]):
            if (shown := content(part)) is not None:
                found[f"{at}.contents.{m}.message_content.type"] = kind
                found[f"{at}.contents.{m}.message_content.text"] = shown


def _add_usage(found: Attributes, usage: Usage) -> None:
    """Token counts in both conventions; what the provider did not report is left out, never zero."""
    prompt, completion, total, cache_read, cache_write, reasoning = usage
    found[semconv.INPUT_TOKENS] = found[semconv.LLM_PROMPT_TOKENS] = prompt
    found[semconv.OUTPUT_TOKENS] = found[semconv.LLM_COMPLETION_TOKENS] = completion
    found[semconv.LLM_TOTAL_TOKENS] = total
    if cache_read:
        found[semconv.CACHE_READ_TOKENS] = found[semconv.LLM_CACHE_READ_TOKENS] = cache_read
    if cache_write:
        found[semconv.CACHE_WRITE_TOKENS] = found[semconv.LLM_CACHE_WRITE_TOKENS] = cache_write
    if reasoning:
        found[semconv.REASONING_TOKENS] = found[semconv.LLM_REASONING_TOKENS] = reasoning


def _with(found: Attributes, *more: tuple[str, AttributeValue | None]) -> Attributes:
    for key, item in more:
        if item is not None:
            found[key] = item
    return found


_ENCODERS: dict[str, Callable[..., Attributes]] = {
    "run": _run,
    "chat": _chat,
    "tool": _tool,
    "retrieval": _retrieval,
    "memory": _memory,
    "approval": _approval,
}
