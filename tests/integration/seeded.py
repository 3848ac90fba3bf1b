"""Spans as the recorder names them, of runs at chosen times: what the tools of agents are asked about."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

SECOND = 10**9


def run(
    agent: str,
    minutes_ago: float,
    tools: Mapping[str, float] | Sequence[tuple[str, float]] = (),
    *,
    id: str = "",
    model: str = "m-1",
    model_s: float = 1.0,
    cost: float | None = None,
    error: str = "",
    user: str = "ann",
    kind: str = "agent",
    text: str = "",
    member: str = "",
) -> list[ReadableSpan]:
    """A webhook's span, the run, a model call, and tool calls of these seconds. `error`: the last tool raises that.
    `member`: the calls are those of this member of the team.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    at = (time.time_ns() - round(minutes_ago * 60 * SECOND)) // SECOND * SECOND + 300_000_000
    ids: dict[str, Any] = {
        "agno.run.id": id or f"{agent}-{minutes_ago}",
        "agno.run.attempt": 1,
        "session.id": "s",
        "user.id": user,
        "gen_ai.agent.id": agent,
        "gen_ai.agent.name": agent.title(),
    }

    def begin(name: str, operation: str, **more: Any) -> Any:
        attributes = {
            **ids,
            "gen_ai.operation.name": operation,
            **{key.replace("__", "."): v for key, v in more.items()},
        }
        return tracer.start_span(name, context, attributes=attributes, start_time=at)

    def fail(span: Any, said: str) -> None:
        span.set_attribute("error.type", "TimeoutError")
        span.set_status(Status(StatusCode.ERROR, said))

    def end(span: Any, seconds: float) -> None:
        nonlocal at
        at += round(seconds * SECOND)
        span.end(at)

    webhook = tracer.start_span(f"webhook {agent}", start_time=at, attributes={"agno.dedup.decision": "new"})
    context = set_span_in_context(webhook)
    top = begin(f"invoke_agent {agent}", "invoke_agent", agno__run__kind=kind, agno__queue__wait=0.5)
    top.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20})
    top.set_attributes({"input.value": f"question {text}", "output.value": f"answer {text}"})
    context = set_span_in_context(top)
    if member:
        ids |= {"gen_ai.agent.id": member, "agno.run.id": f"{member}-{minutes_ago}"}
        inner = begin(f"invoke_agent {member}", "invoke_agent", agno__run__kind="agent", agno__run__status="completed")
        context = set_span_in_context(inner)
    call = begin(f"chat {model}", "chat", gen_ai__request__model=model)
    call.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20})
    if cost is not None:
        call.set_attribute("llm.cost.total", cost)
        top.set_attribute("agno.run.cost", cost)
    end(call, model_s)
    pairs = list(tools.items()) if isinstance(tools, Mapping) else list(tools)
    for number, (tool, seconds) in enumerate(pairs, 1):
        span = begin(f"execute_tool {tool}", "execute_tool", gen_ai__tool__name=tool)
        if error and number == len(pairs):
            fail(span, error)
        end(span, seconds)
    if member:
        end(inner, 0)
    if error:
        fail(top, error)
    top.set_attribute("agno.run.status", "error" if error else "completed")
    end(top, 0)
    webhook.end(at)
    return list(exporter.get_finished_spans())


def trace_of(spans: Sequence[ReadableSpan]) -> str:
    return format(spans[0].context.trace_id, "032x")
