"""What a run reads and keeps besides: retrievals from knowledge, memories and summaries, as spans below it."""

import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from telemetry import plain, semconv
from telemetry.calls import Call
from telemetry.metrics import Instruments
from telemetry.operation import Begin
from telemetry.span import LiveSpan, Record, Spans


class Lookup(Call):
    """`encoder`: the function of telemetry.encode. What is looked up, or remembered, is `given`."""

    def __init__(
        self, spans: Spans, instruments: Instruments, operation: str, encoder: str, of: str, given: Any
    ) -> None:
        super().__init__(spans, instruments, f"{operation} {of}", SpanKind.INTERNAL)
        self._operation = operation
        self._encoder = encoder
        self._given = plain.messages(given) if isinstance(given, list) else given

    def end(self, result: Any, error: BaseException | None) -> Any:
        self._answer = self._shown(result) if self.span.verdict.keep else None  # now: the user goes on with it
        return super().end(result, error)

    def record(self) -> Record:
        given = plain.value(self._given)
        answer = self._shown(self._result) if self._answer is None else self._answer
        return (self._encoder, self.identity, self._operation, given, answer, self._error_type)

    def _shown(self, result: Any) -> Any:
        return _documents(result) if self._encoder == "retrieval" else plain.value(result)


def retrievals(spans: Spans, instruments: Instruments) -> Begin:
    """From agno's get_relevant_docs_from_knowledge (an agent's or a team's), or Knowledge.search."""

    def begin(asked: Any, arguments: dict[str, Any]) -> Lookup | None:
        current = trace.get_current_span()
        if isinstance(current, LiveSpan) and current.name.startswith(semconv.RETRIEVAL):  # the one by way of the other
            return None
        knowledge = getattr(asked, "knowledge", None) or asked
        of = str(getattr(knowledge, "name", None) or type(knowledge).__name__)
        return Lookup(spans, instruments, semconv.RETRIEVAL, "retrieval", of, arguments.get("query"))

    return begin


def memories(spans: Spans, instruments: Instruments) -> Begin:
    """From the methods of MemoryManager that make memories, and of SessionSummaryManager."""

    def begin(manager: Any, arguments: dict[str, Any]) -> Lookup:
        given = plain.first(arguments.get("message"), arguments.get("messages"), arguments.get("task"))
        return Lookup(spans, instruments, semconv.UPSERT_MEMORY, "memory", type(manager).__name__, given)

    return begin


def in_context(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Around `background_executor`: memories are made in its threads, which agno 3.1.10 starts without a context."""
    executor = wrapped(*args, **kwargs)
    if "submit" not in vars(executor):
        executor.submit = partial(_submit, executor.submit)
    return executor


def _submit(submit: Callable[..., Any], function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return submit(contextvars.copy_context().run, function, *args, **kwargs)


def _documents(found: Any) -> list[tuple[str | None, str, float | None, str | None]]:
    """(id, content, score, metadata) of agno's Documents, or of what was made of them."""
    documents = []
    for one in found or ():
        fields = one if isinstance(one, dict) else getattr(one, "__dict__", {"content": one})
        identity, score = fields.get("id") or fields.get("name"), fields.get("reranking_score")
        meta = fields.get("meta_data")
        documents.append(
            (
                str(identity) if identity else None,
                plain.text(fields.get("content")),
                float(score) if isinstance(score, int | float) else None,
                plain.text(meta) if meta else None,
            )
        )
    return documents
