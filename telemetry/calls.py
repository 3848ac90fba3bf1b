"""Model calls and tool calls, as spans below the run that makes them."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from telemetry import encode, runs, semconv
from telemetry.metrics import Instruments
from telemetry.operation import Begin


@dataclass
class Call:
    """What a model call and a tool call have in common."""

    tracer: Tracer
    instruments: Instruments
    name: str
    kind: SpanKind
    attributes: encode.Attributes
    run: runs.Run | None = field(default_factory=runs.current)
    started: float = field(default_factory=time.perf_counter)
    span: Span = field(init=False)
    context: otel.Context = field(init=False)

    def __post_init__(self) -> None:
        if self.run is not None:
            self.attributes = {**self.run.identity(), **self.attributes}
        self.span = self.tracer.start_span(self.name, kind=self.kind, attributes=self.attributes)
        self.context = trace.set_span_in_context(self.span)

    def chunk(self, item: Any) -> None:
        """A tool's result is not recorded in pieces."""

    def close(self, error_type: str | None, message: str) -> None:
        if error_type:
            self.span.set_attribute(semconv.ERROR_TYPE, error_type)
            self.span.set_status(Status(StatusCode.ERROR, message))
        else:
            self.span.set_status(Status(StatusCode.OK))
        self.span.end()


@dataclass
class ToolCall(Call):
    """One execution of a tool. agno answers a failed tool with status "failure" rather than raising."""

    tool: str = ""

    def end(self, result: Any, error: BaseException | None) -> None:
        seconds = time.perf_counter() - self.started
        failure = getattr(result, "error", None) if getattr(result, "status", None) == "failure" else None
        error_type = type(error).__name__ if error else ("tool_error" if failure is not None else None)
        output = encode.first(failure, getattr(result, "result", None))
        if not isinstance(output, Iterator | AsyncIterator):  # a streaming tool: its answer is yet to come
            self.span.set_attributes(encode.content("output", output))
        self.instruments.tool_finished(self.tool, seconds, error_type)
        self.close(error_type, str(encode.first(error, failure, "")))


@dataclass
class ModelCall(Call):
    """One request to a model, streamed or not. `first_chunk` in seconds from the start."""

    model: str = ""
    provider: str = ""
    assistant: Any = None  # agno's Message that the answer goes into
    first_chunk: float | None = None
    parts: list[str] = field(default_factory=list)
    tool_calls: list[Any] = field(default_factory=list)
    usage: Any = None
    join_tool_calls: Callable[[list[Any]], list[Any]] = list  # providers stream a tool call in fragments

    def chunk(self, item: Any) -> None:
        if self.first_chunk is None:
            self.first_chunk = time.perf_counter() - self.started
        if isinstance(content := getattr(item, "content", None), str):
            self.parts.append(content)
        self.tool_calls.extend(getattr(item, "tool_calls", None) or ())
        self.usage = encode.first(getattr(item, "response_usage", None), self.usage)

    def end(self, result: Any, error: BaseException | None) -> None:
        seconds = time.perf_counter() - self.started
        usage = encode.first(
            getattr(result, "response_usage", None), self.usage, getattr(self.assistant, "metrics", None)
        )
        answer = result if result is not None else self
        if answer is self and self.tool_calls:
            self.tool_calls = self.join_tool_calls(self.tool_calls)
        self.span.set_attributes(encode.messages(semconv.LLM_OUTPUT_MESSAGES, [answer]))
        self.span.set_attributes(encode.usage(usage))
        if self.first_chunk is not None:
            self.span.set_attribute(semconv.TIME_TO_FIRST_CHUNK, self.first_chunk)
        error_type = type(error).__name__ if error else None
        if error_type and self.run is not None:
            self.run.error_type = error_type  # agno turns the exception into a status; the run's span names its type
        self.instruments.model_called(
            self.provider, self.model, seconds, self.first_chunk, encode.token_counts(usage), error_type
        )
        self.close(error_type, str(error or ""))

    # A streamed answer looks like a message to encode.messages:
    role = "assistant"

    @property
    def content(self) -> str:
        return "".join(self.parts)


def model_recorder(tracer: Tracer, instruments: Instruments) -> Begin:
    """Begins the record of a model call from the arguments of Model._invoke_with_retry and its kin."""

    def begin(model: Any, arguments: dict[str, Any]) -> ModelCall | None:
        given = arguments.get("kwargs", arguments)
        if given.get("retry_with_guidance"):  # agno calls itself again: the outer call is being recorded
            return None
        model_id = str(getattr(model, "id", None) or "unknown")
        provider = str(getattr(model, "provider", None) or type(model).__name__).lower()
        attributes: encode.Attributes = {
            semconv.OPERATION_NAME: semconv.CHAT,
            semconv.SPAN_KIND: "LLM",
            semconv.PROVIDER_NAME: provider,
            semconv.REQUEST_MODEL: model_id,
            semconv.LLM_MODEL_NAME: model_id,
            semconv.LLM_PROVIDER: provider,
            # encoded now: agno goes on to append to this list
            **encode.messages(semconv.LLM_INPUT_MESSAGES, given.get("messages") or ()),
        }
        return ModelCall(
            tracer,
            instruments,
            f"{semconv.CHAT} {model_id}",
            SpanKind.CLIENT,
            attributes,
            model=model_id,
            provider=provider,
            assistant=given.get("assistant_message"),
            join_tool_calls=model.parse_tool_calls,
        )

    return begin


def tool_recorder(tracer: Tracer, instruments: Instruments) -> Begin:
    """Begins the record of a tool call from agno's FunctionCall."""

    def begin(call: Any, _: dict[str, Any]) -> ToolCall:
        tool = str(call.function.name)
        arguments = encode.text(call.arguments or {})
        attributes: encode.Attributes = {
            semconv.OPERATION_NAME: semconv.EXECUTE_TOOL,
            semconv.SPAN_KIND: "TOOL",
            semconv.TOOL_NAME: tool,
            semconv.OPENINFERENCE_TOOL_NAME: tool,
            semconv.TOOL_PARAMETERS: arguments,
            semconv.INPUT_VALUE: arguments,
            semconv.INPUT_MIME_TYPE: semconv.JSON,
        }
        if call.call_id:
            attributes[semconv.TOOL_CALL_ID] = str(call.call_id)
        return ToolCall(tracer, instruments, f"{semconv.EXECUTE_TOOL} {tool}", SpanKind.INTERNAL, attributes, tool=tool)

    return begin
