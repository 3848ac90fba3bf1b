"""What agno hands over -> span attributes: OpenInference (Phoenix and the AgentOS pages read it) and GenAI conventions.

agno's objects are read with getattr: they are its internals, and a field that moved must cost an attribute, not a run.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from opentelemetry.util.types import AttributeValue

from telemetry import semconv

Attributes = dict[str, AttributeValue]


def text(value: Any) -> str:
    """`value` as people would read it: strings as they are, all else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate would make the whole batch unsendable
    if hasattr(value, "model_dump_json"):
        return str(value.model_dump_json())
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def content(prefix: str, value: Any) -> Attributes:
    """`input.value` or `output.value` with its mime type; nothing for None. `prefix` is "input" or "output"."""
    if value is None:
        return {}
    mime_type = semconv.TEXT if isinstance(value, str) else semconv.JSON
    return {f"{prefix}.value": text(value), f"{prefix}.mime_type": mime_type}


def messages(key: str, conversation: Iterable[Any]) -> Attributes:
    """OpenInference's flattened messages: `{key}.0.message.role`, ... for agno Messages or their like."""
    attributes: Attributes = {}
    for n, message in enumerate(conversation):
        prefix = f"{key}.{n}.message"
        attributes[f"{prefix}.role"] = str(getattr(message, "role", None) or "assistant")
        body = getattr(message, "content", None)
        if body is not None:
            attributes[f"{prefix}.content"] = text(body)
        if call_id := getattr(message, "tool_call_id", None):
            attributes[f"{prefix}.tool_call_id"] = str(call_id)
        attributes.update(tool_calls(prefix, getattr(message, "tool_calls", None) or ()))
    return attributes


def tool_calls(prefix: str, calls: Iterable[Any]) -> Attributes:
    """The tool calls of one message, in the OpenAI shape {"id", "function": {"name", "arguments"}}."""
    attributes: Attributes = {}
    for n, call in enumerate(calls):
        if not isinstance(call, Mapping):
            continue
        function = call.get("function") or {}
        at = f"{prefix}.tool_calls.{n}.tool_call"
        if call.get("id"):
            attributes[f"{at}.id"] = str(call["id"])
        attributes[f"{at}.function.name"] = str(function.get("name", ""))
        attributes[f"{at}.function.arguments"] = text(function.get("arguments", ""))
    return attributes


def usage(metrics: Any) -> Attributes:
    """Token counts in both conventions; what the provider did not report is left out, never zero."""
    if metrics is None:
        return {}
    prompt = int(getattr(metrics, "input_tokens", 0) or 0)
    completion = int(getattr(metrics, "output_tokens", 0) or 0)
    if not prompt and not completion:
        return {}
    attributes: Attributes = {
        semconv.INPUT_TOKENS: prompt,
        semconv.OUTPUT_TOKENS: completion,
        semconv.LLM_PROMPT_TOKENS: prompt,
        semconv.LLM_COMPLETION_TOKENS: completion,
        semconv.LLM_TOTAL_TOKENS: int(getattr(metrics, "total_tokens", 0) or 0) or prompt + completion,
    }
    if cached := getattr(metrics, "cache_read_tokens", 0):
        attributes[semconv.CACHE_READ_TOKENS] = int(cached)
    if reasoning := getattr(metrics, "reasoning_tokens", 0):
        attributes[semconv.REASONING_TOKENS] = int(reasoning)
    return attributes


def run_usage(metrics: Any) -> Attributes:
    """A run's tokens, as agno sums them. Not under OpenInference's names: Phoenix would count them with the calls'."""
    counts = usage(metrics)
    return {key: counts[key] for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS) if key in counts}


def token_counts(metrics: Any) -> dict[str, int]:
    """Tokens by gen_ai.token.type, for the metric; empty when the provider reported none."""
    counts = usage(metrics)
    if not counts:
        return {}
    return {"input": int(str(counts[semconv.INPUT_TOKENS])), "output": int(str(counts[semconv.OUTPUT_TOKENS]))}


def first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)
