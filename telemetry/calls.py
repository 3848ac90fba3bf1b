"""Model calls and tool calls, as spans below the run that makes them."""

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from telemetry import plain, prices, runs, semconv
from telemetry.metrics import Instruments
from telemetry.operation import Begin, aiterate, iterate
from telemetry.span import LiveSpan, Record, Spans

# Fields of agno's models which say how an answer is asked for
_PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "reasoning_effort",
    "verbosity",
)
_MCP = "agno.utils.mcp"  # where the functions are from that call tools of an MCP server


class Call:
    """What a model call, a tool call and all else within a run have in common."""

    def __init__(self, spans: Spans, instruments: Instruments, name: str, kind: SpanKind) -> None:
        around = otel.get_current()
        self.run = runs.current()
        self.identity = self.run.identity if self.run else None
        self._spans = spans
        self._instruments = instruments
        self.span = spans.start(name, kind, trace.get_current_span(around), around)
        self.context = trace.set_span_in_context(self.span, around)
        self._started = time.perf_counter()

    def chunk(self, item: Any) -> None:
        """For what is no stream."""


class ToolCall(Call):
    """One execution of a tool. agno answers a failed tool with status "failure" rather than raising."""

    def __init__(self, spans: Spans, instruments: Instruments, call: Any) -> None:
        self._call = call
        self._tool = str(call.function.name)
        super().__init__(spans, instruments, f"{semconv.EXECUTE_TOOL} {self._tool}", SpanKind.INTERNAL)
        self._arguments = plain.text(call.arguments or {}) if self.span.verdict.keep else None
        self._parts: list[str] | None = None  # of a streaming tool

    def chunk(self, item: Any) -> None:
        if self._parts is not None:
            said = item if isinstance(item, str) else getattr(item, "content", None)
            if said is not None:
                self._parts.append(plain.text(said))

    def end(self, result: Any, error: BaseException | None) -> Any:
        answer = getattr(result, "result", None)
        if self._parts is None and isinstance(answer, Iterator | AsyncIterator):  # it works while it is read
            self._parts = []
            observed = iterate(answer, self) if isinstance(answer, Iterator) else aiterate(answer, self)
            self._call.result = result.result = observed
            return result
        seconds = time.perf_counter() - self._started
        failure = getattr(result, "error", None) if getattr(result, "status", None) == "failure" else None
        mcp = getattr(self._call.function.entrypoint, "__module__", None) == _MCP
        answer = getattr(answer, "content", answer)  # agno's ToolResult
        if mcp and isinstance(answer, str) and answer.startswith("Error from MCP tool"):
            failure = answer
        output = "".join(self._parts) if self._parts is not None else plain.first(failure, answer)
        error_type = None
        if isinstance(error, Exception):
            error_type = type(error).__name__
        elif failure is not None:
            error_type = "tool_error"

        def record() -> Record:
            call_id, description = self._call.call_id, self._call.function.description
            return (
                "tool",
                self.identity,
                self._tool,
                str(call_id) if call_id else None,
                str(description) if description else None,
                plain.text(self._call.arguments or {}) if self._arguments is None else self._arguments,
                plain.value(output),
                mcp,
                error_type,
            )

        self._instruments.tool_finished(self._tool, seconds, error_type)
        message = None if error_type is None else str(plain.first(error, failure, ""))
        self._spans.end(self.span, record, message, error is None)
        return result


class ModelCall(Call):
    """One request to a model, streamed or not, with its retries. `first_chunk` in seconds from the start."""

    def __init__(self, spans: Spans, instruments: Instruments, model: Any, given: dict[str, Any]) -> None:
        self._model = model
        self.model_id = str(getattr(model, "id", None) or "unknown")
        self.provider = str(getattr(model, "provider", None) or type(model).__name__).lower()
        super().__init__(spans, instruments, f"{semconv.CHAT} {self.model_id}", SpanKind.CLIENT)
        self._given = given.get("messages") or ()
        # now: agno goes on to append to this list, and to change what is in it
        self._messages = plain.messages(self._given) if self.span.verdict.keep else None
        self._tools = given.get("tools")
        self._assistant = given.get("assistant_message")  # agno's Message that the answer goes into
        self._retries = 0
        self._forget()

    def _forget(self) -> None:
        self.first_chunk: float | None = None
        self._parts: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: list[Any] = []
        self._usage: Any = None

    def chunk(self, item: Any) -> None:
        if self._retries != self.span.retries:  # a stream that failed begins anew
            self._retries = self.span.retries
            self._forget()
        if self.first_chunk is None:
            self.first_chunk = time.perf_counter() - self._started
        if isinstance(content := getattr(item, "content", None), str):
            self._parts.append(content)
        if isinstance(reasoning := getattr(item, "reasoning_content", None), str):
            self._reasoning.append(reasoning)
        if calls := getattr(item, "tool_calls", None):
            self._tool_calls.extend(calls)
        self._usage = plain.first(getattr(item, "response_usage", None), self._usage)

    def end(self, result: Any, error: BaseException | None) -> Any:
        seconds = time.perf_counter() - self._started
        metrics = plain.first(
            getattr(result, "response_usage", None), self._usage, getattr(self._assistant, "metrics", None)
        )
        usage = plain.usage(metrics)
        own = getattr(metrics, "cost", None)
        cost = self._cost(usage) if own is None else float(own)
        error_type = type(error).__name__ if isinstance(error, Exception) else None
        if cost is not None:
            self._instruments.model_cost(
                self.provider, self.model_id, self.run.component_id if self.run else "unknown", cost
            )
        if self.run is not None:
            if usage is not None:
                self.run.called(cost)
            if error_type:
                self.run.error_type = (
                    error_type  # agno turns the exception into a status; the run's span names its type
                )

        def record() -> Record:
            return (
                "chat",
                self.identity,
                self.provider,
                self.model_id,
                plain.messages(self._given) if self._messages is None else self._messages,
                self._streamed() if result is None else plain.message(result),
                usage,
                cost,
                self.first_chunk,
                self._parameters(),
                tuple(map(plain.text, self._tools or ())),
                error_type,
            )

        self._instruments.model_called(
            self.provider, self.model_id, seconds, self.first_chunk, plain.token_counts(usage), error_type
        )
        self._spans.end(self.span, record, None if error_type is None else str(error), error is None)
        return result

    def _streamed(self) -> plain.Message:
        """What streamed is a message like any other; providers stream a tool call in fragments."""
        calls = plain.tool_calls(self._model.parse_tool_calls(self._tool_calls)) if self._tool_calls else ()
        return ("assistant", "".join(self._parts) or None, None, calls, "".join(self._reasoning) or None, ())

    def _cost(self, usage: plain.Usage | None) -> float | None:
        if usage is None:
            return None
        given, answered, _, read, written, reasoning = usage
        return prices.cost(
            self.provider,
            self.model_id,
            input_tokens=given,
            output_tokens=answered,
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
        )

    def _parameters(self) -> str | None:
        fields = vars(self._model)
        found = {name: fields[name] for name in _PARAMETERS if fields.get(name) is not None}
        return plain.text(found) if found else None


def model_recorder(spans: Spans, instruments: Instruments) -> Begin:
    """Begins the record of a model call from the arguments of Model._invoke_with_retry and its kin."""

    def begin(model: Any, arguments: dict[str, Any]) -> ModelCall | None:
        given = arguments.get("kwargs", arguments)
        if given.get("retry_with_guidance"):  # agno calls itself again: the outer call is being recorded
            return None
        return ModelCall(spans, instruments, model, given)

    return begin


def tool_recorder(spans: Spans, instruments: Instruments) -> Begin:
    """Begins the record of a tool call from agno's FunctionCall."""

    def begin(call: Any, _: dict[str, Any]) -> ToolCall:
        return ToolCall(spans, instruments, call)

    return begin


def note_retry(wrapped: Callable[..., float], _: Any, args: Any, kwargs: Any) -> float:
    """Around Model._get_retry_delay, which agno 3.1.10 calls in the handler of the error that it tries again after.

    A call is one span with all of its retries, as the GenAI conventions want it; each is an event of that span.
    """
    seconds = wrapped(*args, **kwargs)
    span = trace.get_current_span()
    if isinstance(span, LiveSpan):
        span.retries += 1
        error_type = type(sys.exception()).__name__
        span.add_event("retry", {semconv.ERROR_TYPE: error_type, semconv.RETRY_DELAY: float(seconds)})
    return seconds
