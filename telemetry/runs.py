"""A run of an agent, team or workflow, as a span that continues the trace of the webhook that caused it."""

import time
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry import encode, semconv
from telemetry.metrics import Instruments
from telemetry.operation import Begin

_RUN_KEY = otel.create_key("agno-run")
_STATUS_OF_EVENT = {"Completed": "completed", "Error": "error", "Cancelled": "cancelled", "Paused": "paused"}


@dataclass
class Run:
    """A run in progress; everything that its calls inherit. Ids are agno's own."""

    kind: str
    component_id: str
    component_name: str
    run_id: str
    session_id: str
    user_id: str | None
    ticket: dict[str, Any]
    parent: "Run | None"
    tracer: Tracer
    instruments: Instruments
    error_type: str | None = None
    content: Any = None
    status: str | None = None
    output: Any = None  # agno's RunOutput
    started: float = field(default_factory=time.perf_counter)
    span: Span = field(init=False)
    context: otel.Context = field(init=False)

    def start(self, given: Any) -> None:
        operation = semconv.INVOKE_WORKFLOW if self.kind == "workflow" else semconv.INVOKE_AGENT
        parent = otel.get_current()
        links: list[Link] = []
        if self.parent is None and self.ticket and not trace.get_current_span().get_span_context().is_valid:
            parent = TraceContextTextMapPropagator().extract(self.ticket, context=parent)
            links = [Link(trace.get_current_span(parent).get_span_context())]
        attributes: encode.Attributes = {
            semconv.OPERATION_NAME: operation,
            semconv.SPAN_KIND: "CHAIN" if self.kind == "workflow" else "AGENT",
            semconv.RUN_KIND: self.kind,
            **self.identity(),
            **encode.content("input", given),
        }
        if self.parent is not None:
            attributes[semconv.PARENT_RUN_ID] = self.parent.run_id
        elif isinstance(wait := self.ticket.get("wait"), int | float):
            attributes[semconv.QUEUE_WAIT] = float(wait)
        name = f"{operation} {self.component_name}"
        self.span = self.tracer.start_span(name, parent, SpanKind.INTERNAL, attributes, links)
        self.context = otel.set_value(_RUN_KEY, self, trace.set_span_in_context(self.span, parent))
        self.instruments.run_started(self.component_id, self.kind)

    def identity(self) -> encode.Attributes:
        """The attributes that every span of this run carries."""
        attributes: encode.Attributes = {
            semconv.RUN_ID: self.run_id,
            semconv.RUN_ATTEMPT: int(self.ticket.get("attempt", 1)),
            semconv.SESSION_ID: self.session_id,
            semconv.CONVERSATION_ID: self.session_id,
            semconv.AGENT_ID: self.component_id,
            semconv.AGENT_NAME: self.component_name,
        }
        if self.user_id:
            attributes[semconv.USER_ID] = self.user_id
        if self.ticket.get("delivery_id"):
            attributes[semconv.DELIVERY_ID] = str(self.ticket["delivery_id"])
            attributes[semconv.DELIVERY_SOURCE] = str(self.ticket.get("source", ""))
        return attributes

    def chunk(self, item: Any) -> None:
        """One event of a stream: the first terminal one decides (a workflow closes its inner stream after it)."""
        if hasattr(item, "status") and hasattr(item, "messages"):  # the RunOutput itself
            self.output = item
        event = str(getattr(item, "event", "") or "")
        if not _is_own(event, self.kind):
            return
        for suffix, status in _STATUS_OF_EVENT.items():
            if event.endswith(suffix) and self.status is None:
                self.status = status
                self.content = getattr(item, "content", None)

    def end(self, result: Any, error: BaseException | None) -> None:
        seconds = time.perf_counter() - self.started
        output = encode.first(result, self.output)
        status = self._status(output, error)
        content = encode.first(getattr(output, "content", None), self.content)
        self.span.set_attribute(semconv.RUN_STATUS, status)
        self.span.set_attributes(encode.content("output", content))
        self.span.set_attributes(encode.run_usage(getattr(output, "metrics", None)))
        error_type = None
        if status == "error":
            error_type = type(error).__name__ if error is not None else self.error_type or "run_error"
            message = str(error) if error is not None else encode.text(content or "")
            self.span.set_attribute(semconv.ERROR_TYPE, error_type)
            self.span.set_status(Status(StatusCode.ERROR, message))
            if self.parent is not None:
                self.parent.error_type = error_type
        elif status != "cancelled":
            self.span.set_status(Status(StatusCode.OK))
        self.instruments.run_finished(self.component_id, self.component_name, self.kind, status, seconds, error_type)
        self.span.end()

    def _status(self, output: Any, error: BaseException | None) -> str:
        said = str(getattr(getattr(output, "status", None), "value", "")).lower()
        if self.status is not None:
            return self.status
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


def recorder(tracer: Tracer, instruments: Instruments, kind: str) -> Begin:
    """Begins the record of a run of `kind` (agent, team, workflow) from the arguments of agno's run function."""

    def begin(instance: Any, arguments: dict[str, Any]) -> Run:
        component = instance if kind == "workflow" else arguments[kind]
        run_context = arguments.get("run_context")
        output = encode.first(arguments.get("run_response"), arguments.get("workflow_run_response"))
        parent = current()
        component_id = str(getattr(component, "id", None) or getattr(component, "name", None) or kind)
        run = Run(
            kind=kind,
            component_id=component_id,
            component_name=str(getattr(component, "name", None) or component_id),
            # a workflow's step gets the workflow's run context: its own id is only on its own output
            run_id=str(encode.first(getattr(output, "run_id", None), getattr(run_context, "run_id", None), "")),
            session_id=str(encode.first(getattr(run_context, "session_id", None), arguments.get("session_id"), "")),
            user_id=encode.first(getattr(run_context, "user_id", None), arguments.get("user_id")),
            ticket=parent.ticket if parent else _ticket(run_context, output),
            parent=parent,
            tracer=tracer,
            instruments=instruments,
            output=output,
        )
        run.start(_input(arguments, output))
        return run

    return begin


def _ticket(run_context: Any, output: Any) -> dict[str, Any]:
    """The webhook's context, which travels in the run's metadata (see semconv.TICKET_CONTEXT)."""
    for source in (run_context, output):
        metadata = getattr(source, "metadata", None)
        if isinstance(metadata, dict) and isinstance(metadata.get(semconv.TICKET_CONTEXT), dict):
            return dict(metadata[semconv.TICKET_CONTEXT])
    return {}


def _input(arguments: dict[str, Any], output: Any) -> Any:
    given = encode.first(arguments.get("execution_input"), getattr(output, "input", None))
    return encode.first(getattr(given, "input_content", None), getattr(given, "input", None), arguments.get("input"))


def _is_own(event: str, kind: str) -> bool:
    """A team's stream carries its members' events and a workflow's its steps': only its own say how it ended."""
    prefix = {"agent": "Run", "team": "TeamRun", "workflow": "Workflow"}[kind]
    return event.startswith(prefix)
