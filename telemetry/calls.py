"""Model calls and tool calls, as spans below the run that makes them."""

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from telemetry import plain, prices, runs, semconv, tokens
from telemetry.metrics import Instruments
from telemetry.operation import CURRENT, Begin, aiterate, iterate
from telemetry.span import LiveSpan, Record, Spans, within

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
        around = CURRENT.get()
        self.run = runs.current(around)
        self._spans = spans
        self._instruments = instruments
        self.span = spans.start(name, kind, around)
        self.context = within(around, self.span)
        self._started = time.perf_counter()

    def chunk(self, item: Any) -> None:
        """For what is no stream."""

    def end(self, result: Any, error: BaseException | None) -> Any:
        self._seconds = time.perf_counter() - self._started
        self._result = result
        self._error = error
        self._spans.end(self)
        return result

    def measure(self) -> None:
        self._settle(type(self._error).__name__ if isinstance(self._error, Exception) else None, self._error)

    def record(self) -> Record:
        raise NotImplementedError

    @property
    def identity(self) -> tuple[Any, ...] | None:
        return None if self.run is None else self.run.identity

    def _settle(self, error_type: str | None, message: Any) -> None:
        self._error_type = error_type
        if error_type is not None:
            self.span.set_status(StatusCode.ERROR, str(message))
        elif self._error is None:  # else it was cancelled
            self.span.set_status(StatusCode.OK)


class ToolCall(Call):
    """One execution of a tool. agno answers a failed tool with status "failure" rather than raising."""

    def __init__(self, spans: Spans, instruments: Instruments, call: Any) -> None:
        self._call = call
        self._tool = str(call.function.name)
        super().__init__(spans, instruments, f"{semconv.EXECUTE_TOOL} {self._tool}", SpanKind.INTERNAL)
        arguments = call.arguments
        self._arguments = plain.text(arguments or {}) if self.span.verdict.keep else None
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
        answer = getattr(answer, "content", answer)  # agno's ToolResult
        self._given = answer
        self._answer = plain.value(answer) if self.span.verdict.keep else None  # now: agno and the user go on with it
        return super().end(result, error)

    def measure(self) -> None:
        failed = getattr(self._result, "status", None) == "failure"
        failure = getattr(self._result, "error", None) if failed else None
        self._mcp = getattr(self._call.function.entrypoint, "__module__", None) == _MCP
        if self._mcp and isinstance(self._given, str) and self._given.startswith("Error from MCP tool"):
            failure = self._given
        if self._parts is not None:
            self._answer = plain.value("".join(self._parts))
        elif failure is not None:
            self._answer = plain.value(failure)
        error_type = "tool_error" if failure is not None else None
        if isinstance(self._error, Exception):
            error_type = type(self._error).__name__
        self._settle(error_type, plain.first(self._error, failure))
        self._instruments.tool_finished(self._tool, self._seconds, error_type)

    def record(self) -> Record:
        call_id, description = self._call.call_id, self._call.function.description
        return (
            "tool",
            self.identity,
            self._tool,
            str(call_id) if call_id else None,
            str(description) if description else None,
            plain.text(self._call.arguments or {}) if self._arguments is None else self._arguments,
            plain.value(self._given) if self._answer is None else self._answer,
            self._mcp,
            self._error_type,
        )


class ModelCall(Call):
    """One request to a model, streamed or not, with its retries. `first_chunk` in seconds from the start."""

    first_chunk: float | None = None
    _retries = 0
    _parts: list[str] | None = None  # of a stream
    _streamed_usage: Any = None

    def __init__(self, spans: Spans, instruments: Instruments, model: Any, given: dict[str, Any]) -> None:
        self._model = model
        self._given = given
        super().__init__(spans, instruments, f"{semconv.CHAT} {model.id}", SpanKind.CLIENT)
        # now: agno goes on to append to this list, and to change what is in it
        self._messages = plain.messages(given.get("messages") or ()) if self.span.verdict.keep else None

    def chunk(self, item: Any) -> None:
        if self._parts is None or self._retries != self.span.retries:  # a stream that failed begins anew
            self._retries = self.span.retries
            self._parts, self._reasoning, self._tool_calls, self._streamed_usage = [], [], [], None
            self.first_chunk = time.perf_counter() - self._started
        if type(content := getattr(item, "content", None)) is str:
            self._parts.append(content)
        if type(reasoning := getattr(item, "reasoning_content", None)) is str:
            self._reasoning.append(reasoning)
        if calls := getattr(item, "tool_calls", None):
            self._tool_calls.extend(calls)
        if (usage := getattr(item, "response_usage", None)) is not None:
            self._streamed_usage = usage

    def end(self, result: Any, error: BaseException | None) -> Any:
        metrics = self._streamed_usage if result is None else getattr(result, "response_usage", None)
        if metrics is None:
            metrics = getattr(self._given.get("assistant_message"), "metrics", None)
        self._usage, self._cost = tokens.reported(metrics), getattr(metrics, "cost", None)
        if result is not None:
            self._answer: plain.Message | None = plain.message(result) if self.span.verdict.keep else None
        elif self._messages is None and error is not None:
            self._messages = plain.messages(self._given.get("messages") or ())
        return super().end(result, error)

    def measure(self) -> None:
        super().measure()
        model, provider = self._named()
        counts: dict[str, int] = {}
        if self._usage is not None:
            self._usage = tokens.conventional(provider, self._usage)
            given, answered, _, read, written, _ = self._usage
            counts = {"input": given, "output": answered}
            if self._cost is None:
                self._cost = prices.cost(
                    provider,
                    model,
                    input_tokens=given,
                    output_tokens=answered,
                    cache_read_tokens=read,
                    cache_write_tokens=written,
                )
        if self.run is not None:
            if self._usage is not None:
                self.run.called(self._usage, self._cost)
            if self._error_type:
                self.run.error_type = self._error_type  # agno turns it into a status; the run's span names its type
        self._instruments.model_called(provider, model, self._seconds, self.first_chunk, counts, self._error_type)
        if self._cost is not None:
            agent_id = self.run.component_id if self.run else "unknown"
            self._instruments.model_cost(provider, model, agent_id, float(self._cost))

    def record(self) -> Record:
        model, provider = self._named()
        messages, tools = self._messages, self._given.get("tools") or ()
        return (
            "chat",
            self.identity,
            provider,
            model,
            plain.messages(self._given.get("messages") or ()) if messages is None else messages,
            self._answered(),
            self._usage,
            self._cost,
            self.first_chunk,
            self._parameters(),
            tuple(map(plain.text, tools)),
            self._error_type,
        )

    def _named(self) -> tuple[str, str]:
        provider = getattr(self._model, "provider", None) or type(self._model).__name__
        return str(self._model.id or "unknown"), str(provider).lower()

    def _answered(self) -> plain.Message:
        """What streamed is a message like any other; providers stream a tool call in fragments."""
        if self._result is not None:
            return plain.message(self._result) if self._answer is None else self._answer
        if self._parts is None:
            return ("assistant", None, None, (), None, ())
        calls = plain.tool_calls(self._model.parse_tool_calls(self._tool_calls)) if self._tool_calls else ()
        return ("assistant", "".join(self._parts) or None, None, calls, "".join(self._reasoning) or None, ())

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
