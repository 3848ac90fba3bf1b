"""A run of an agent, team or workflow, as a span that continues the trace of the webhook that caused it."""

import time
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry import plain, semconv
from telemetry.metrics import Instruments
from telemetry.operation import Begin
from telemetry.span import LiveSpan, Record, Spans

_RUN_KEY = otel.create_key("agno-run")
_STATUS_OF_EVENT = {"Completed": "completed", "Error": "error", "Cancelled": "cancelled", "Paused": "paused"}
_PREFIX_OF_EVENT = {"agent": "Run", "team": "TeamRun", "workflow": "Workflow"}
_propagator = TraceContextTextMapPropagator()


class Run:
    """A run in progress; everything that its calls inherit. Ids are agno's own."""

    def __init__(
        self,
        spans: Spans,
        instruments: Instruments,
        kind: str,
        component: Any,
        arguments: dict[str, Any],
    ) -> None:
        run_context = arguments.get("run_context")
        output = plain.first(arguments.get("run_response"), arguments.get("workflow_run_response"))
        self.kind = kind
        self.component_id = str(getattr(component, "id", None) or getattr(component, "name", None) or kind)
        self.component_name = str(getattr(component, "name", None) or self.component_id)
        # a workflow's step gets the workflow's run context: its own id is only on its own output
        self.run_id = str(plain.first(getattr(output, "run_id", None), getattr(run_context, "run_id", None), ""))
        self.session_id = str(plain.first(getattr(run_context, "session_id", None), arguments.get("session_id"), ""))
        self.user_id: str | None = plain.first(getattr(run_context, "user_id", None), arguments.get("user_id"))
        self.parent = current()
        self.ticket: dict[str, Any] = self.parent.ticket if self.parent else _ticket(run_context, output)
        self.error_type: str | None = None
        self.cost: float | None = None  # of its calls so far, in US dollars; None when that of one is unknown
        self.calls = 0
        self._spans = spans
        self._instruments = instruments
        self._given = _input(arguments, output)
        self._output = output  # agno's RunOutput
        self._content: Any = None
        self._status: str | None = None
        self._begin()

    def _begin(self) -> None:
        operation = semconv.INVOKE_WORKFLOW if self.kind == "workflow" else semconv.INVOKE_AGENT
        around = otel.get_current()
        parent = trace.get_current_span(around)
        links = []
        if self.parent is None and self.ticket and not parent.get_span_context().is_valid:
            around = _propagator.extract(self.ticket, context=around)
            parent = trace.get_current_span(around)
            links = [Link(parent.get_span_context())]
        self.identity = self._identity()
        self.span: LiveSpan = self._spans.start(f"{operation} {self.component_name}", SpanKind.INTERNAL, parent, around)
        self.span.links = links
        self.context = otel.set_value(_RUN_KEY, self, trace.set_span_in_context(self.span, around))
        self._instruments.run_started(self.component_id, self.kind)
        self._started = time.perf_counter()

    def _identity(self) -> tuple[Any, ...]:
        """What every span of this run carries, as telemetry.encode.identity takes it."""
        delivery = self.ticket.get("delivery_id")
        return (
            self.run_id,
            int(self.ticket.get("attempt", 1)),
            self.session_id,
            self.component_id,
            self.component_name,
            str(self.user_id) if self.user_id else None,
            str(delivery) if delivery else None,
            str(self.ticket.get("source", "")),
        )

    def chunk(self, item: Any) -> None:
        """One event of a stream: the first terminal one decides (a workflow closes its inner stream after it)."""
        if hasattr(item, "status") and hasattr(item, "messages"):  # the RunOutput itself
            self._output = item
        event = str(getattr(item, "event", None) or "")
        # a team's stream carries its members' events and a workflow's its steps': only its own say how it ended
        if self._status is not None or not event.startswith(_PREFIX_OF_EVENT[self.kind]):
            return
        for suffix, status in _STATUS_OF_EVENT.items():
            if event.endswith(suffix):
                self._status = status
                self._content = getattr(item, "content", None)

    def called(self, cost: float | None) -> None:
        """One of its model calls has ended, which is one of the run's that it is part of, too."""
        before = self.cost if self.calls else 0.0
        self.cost = None if cost is None or before is None else before + cost
        self.calls += 1
        if self.parent is not None:
            self.parent.called(cost)

    def end(self, result: Any, error: BaseException | None) -> Any:
        seconds = time.perf_counter() - self._started
        output = plain.first(result, self._output)
        status = self._ended_as(output, error)
        content = plain.first(getattr(output, "content", None), self._content)
        metrics = getattr(output, "metrics", None)
        error_type = message = None
        if status == "error":
            error_type = type(error).__name__ if error is not None else self.error_type or "run_error"
            message = str(error) if error is not None else plain.text(content or "")
            if self.parent is not None:
                self.parent.error_type = error_type

        def record() -> Record:
            wait = self.ticket.get("wait") if self.parent is None else None
            return (
                "run",
                self.identity,
                self.kind,
                self.parent.run_id if self.parent else None,
                float(wait) if isinstance(wait, int | float) else None,
                status,
                error_type,
                plain.value(self._given),
                plain.value(content),
                plain.usage(metrics),
                plain.first(getattr(metrics, "cost", None), self.cost),
            )

        self._instruments.run_finished(self.component_id, self.component_name, self.kind, status, seconds, error_type)
        self._spans.end(self.span, record, message, status != "cancelled")
        return result

    def _ended_as(self, output: Any, error: BaseException | None) -> str:
        if self._status is not None:
            return self._status
        said = str(getattr(getattr(output, "status", None), "value", "")).lower()
        if said in ("completed", "error", "cancelled", "paused"):
            return said
        if error is None:
            return "completed"
        # GeneratorExit: the consumer went away; CancelledError and KeyboardInterrupt are no Exceptions either
        return "error" if isinstance(error, Exception) else "cancelled"


def current() -> Run | None:
    """The run whose code is running, or None."""
    run = otel.get_value(_RUN_KEY)
    return run if isinstance(run, Run) else None


def recorder(spans: Spans, instruments: Instruments, kind: str) -> Begin:
    """Begins the record of a run of `kind` (agent, team, workflow) from the arguments of agno's run function."""

    def begin(instance: Any, arguments: dict[str, Any]) -> Run:
        component = instance if kind == "workflow" else arguments[kind]
        return Run(spans, instruments, kind, component, arguments)

    return begin


def _ticket(run_context: Any, output: Any) -> dict[str, Any]:
    """The webhook's context, which travels in the run's metadata (see semconv.TICKET_CONTEXT)."""
    for source in (run_context, output):
        metadata = getattr(source, "metadata", None)
        if isinstance(metadata, dict) and isinstance(metadata.get(semconv.TICKET_CONTEXT), dict):
            return dict(metadata[semconv.TICKET_CONTEXT])
    return {}


def _input(arguments: dict[str, Any], output: Any) -> Any:
    given = plain.first(arguments.get("execution_input"), getattr(output, "input", None))
    return plain.first(getattr(given, "input_content", None), getattr(given, "input", None), arguments.get("input"))
