"""A run of an agent, team or workflow, as a span that continues the trace of the webhook that caused it."""

import time
from functools import cached_property
from typing import Any

from opentelemetry import context as otel
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry import plain, semconv, tokens
from telemetry.metrics import Instruments
from telemetry.operation import CURRENT, Begin
from telemetry.span import Record, Spans, within
from telemetry.span import current as current_span

_RUN_KEY = otel.create_key("agno-run")
_ENDS = ("Completed", "Error", "Cancelled", "Paused")
_STATUS_OF_EVENT = {  # of a run's own events: a team's stream carries its members' too, and a workflow's its steps'
    kind: {f"{prefix}{end}": end.lower() for end in _ENDS}
    for kind, prefix in {"agent": "Run", "team": "TeamRun", "workflow": "Workflow"}.items()
}
_propagator = TraceContextTextMapPropagator()


class Run:
    """A run in progress; everything that its calls inherit. Ids are agno's own."""

    cost: float | None = None  # of its calls so far, in US dollars; None when that of one is unknown
    calls = input_tokens = output_tokens = 0  # of those that have reported their tokens
    error_type: str | None = None  # of its last model call that failed
    status: str | None = None  # as its stream said
    content: Any = None  # of the event that ended its stream: the answer, or what went wrong

    def __init__(
        self, spans: Spans, instruments: Instruments, kind: str, component: Any, arguments: dict[str, Any]
    ) -> None:
        around = CURRENT.get()
        self._spans = spans
        self._instruments = instruments
        self.kind = kind
        self._arguments = arguments
        output = arguments.get("run_response")
        self._output = arguments.get("workflow_run_response") if output is None else output  # agno's RunOutput
        self._run_context = arguments.get("run_context")
        parent: Run | None = around.get(_RUN_KEY)  # type: ignore[assignment]
        self.parent = parent
        name = getattr(component, "name", None)
        self.component_id = str(getattr(component, "id", None) or name or kind)
        self.component_name = str(name or self.component_id)
        if not spans.on:
            self.span: Any = current_span(around)  # of somebody else's tracing, if at all
            self.context = otel.Context({**around, _RUN_KEY: self})
            return
        links = []
        if parent is None and self.ticket and not current_span(around).get_span_context().is_valid:
            around = _propagator.extract(self.ticket, context=around)
            links = [Link(current_span(around).get_span_context())]
        operation = semconv.INVOKE_WORKFLOW if kind == "workflow" else semconv.INVOKE_AGENT
        self.span = spans.start(f"{operation} {self.component_name}", SpanKind.INTERNAL, around)
        if links:
            self.span.links = links
        self.context = within(around, self.span, **{_RUN_KEY: self})
        instruments.run_started(self.component_id, kind)
        self._started = time.perf_counter()

    @cached_property
    def ticket(self) -> dict[str, Any]:
        """Of the webhook that caused it; empty without one."""
        return _ticket(self._run_context, self._output) if self.parent is None else self.parent.ticket

    @cached_property
    def run_id(self) -> str:
        """A workflow's step gets the workflow's run context: its own id is only on its own output."""
        return str(plain.first(getattr(self._output, "run_id", None), getattr(self._run_context, "run_id", None), ""))

    @cached_property
    def session_id(self) -> str:
        found = getattr(self._run_context, "session_id", None)
        return str(plain.first(found, self._arguments.get("session_id"), ""))

    @cached_property
    def user_id(self) -> str | None:
        found = plain.first(getattr(self._run_context, "user_id", None), self._arguments.get("user_id"))
        return str(found) if found else None

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """What every span of this run carries, as telemetry.encode takes it."""
        delivery = self.ticket.get("delivery_id")
        return (
            self.run_id,
            int(self.ticket.get("attempt", 1)),
            self.session_id,
            self.component_id,
            self.component_name,
            self.user_id,
            str(delivery) if delivery else None,
            str(self.ticket.get("source", "")),
        )

    def chunk(self, item: Any) -> None:
        """One event of a stream: the first terminal one decides (a workflow closes its inner stream after it)."""
        event = getattr(item, "event", None)
        if event is None:
            if hasattr(item, "messages"):  # the RunOutput itself
                self._output = item
        elif self.status is None and event in _STATUS_OF_EVENT[self.kind]:
            self.status = _STATUS_OF_EVENT[self.kind][event]
            self.content = getattr(item, "content", None)

    def end(self, result: Any, error: BaseException | None) -> Any:
        if not self._spans.on:
            return result
        self._seconds = time.perf_counter() - self._started
        output = self._output if result is None else result
        self._error = error
        self._said = getattr(output, "status", None)  # now: a run that is continued goes on with the same output
        content = getattr(output, "content", None)
        content = self.content if content is None else content
        self._content = content
        self._answer = plain.value(content) if self.span.verdict.keep else None  # now: it is the user's from here on
        self._metrics = getattr(output, "metrics", None)
        self._spans.end(self)
        return result

    def called(self, usage: tokens.Usage, cost: float | None) -> None:
        """One of its model calls has ended, which is one of the run's that it is part of, too."""
        self.input_tokens += usage[0]
        self.output_tokens += usage[1]
        before = self.cost if self.calls else 0.0
        self.cost = None if cost is None or before is None else before + cost
        self.calls += 1
        if self.parent is not None:
            self.parent.called(usage, cost)

    def measure(self) -> None:
        self._ended_as, self._error_type = self._outcome(), None
        if self._ended_as == "error":
            error = self._error
            self._error_type = self.error_type or "run_error" if error is None else type(error).__name__
            if self.parent is not None:
                self.parent.error_type = self._error_type
            said = str(error) if error is not None else plain.text(plain.first(self.content, self._content, ""))
            self.span.set_status(StatusCode.ERROR, said)
        elif self._ended_as != "cancelled":
            self.span.set_status(StatusCode.OK)
        self._instruments.run_finished(
            self.component_id, self.component_name, self.kind, self._ended_as, self._seconds, self._error_type
        )

    def record(self) -> Record:
        wait = self.ticket.get("wait") if self.parent is None else None
        return (
            "run",
            self.identity,
            self.kind,
            self.parent.run_id if self.parent else None,
            float(wait) if isinstance(wait, int | float) else None,
            self._ended_as,
            self._error_type,
            plain.value(_input(self._arguments, self._output)),
            plain.value(self._content) if self._answer is None else self._answer,
            self._used(),
            plain.first(getattr(self._metrics, "cost", None), self.cost),
        )

    def _used(self) -> tuple[int, int] | None:
        """Input and output tokens of its calls; as agno counts them, for a model whose calls are seen by nobody."""
        if self.calls:
            return self.input_tokens, self.output_tokens
        reported = tokens.reported(self._metrics)
        return None if reported is None else reported[:2]

    def _outcome(self) -> str:
        if self.status is not None:
            return self.status
        said = str(getattr(self._said, "value", "")).lower()
        if said in ("completed", "error", "cancelled", "paused"):
            return said
        if self._error is None:
            return "completed"
        # GeneratorExit: the consumer went away; CancelledError and KeyboardInterrupt are no Exceptions either
        return "error" if isinstance(self._error, Exception) else "cancelled"


def current(around: otel.Context | None = None) -> Run | None:
    """The run whose code is running, or None."""
    run: Run | None = (CURRENT.get() if around is None else around).get(_RUN_KEY)  # type: ignore[assignment]
    return run


def recorder(spans: Spans, instruments: Instruments, kind: str) -> Begin:
    """Begins the record of a run of `kind` (agent, team, workflow) from the arguments of agno's run function."""

    def begin(component: Any, arguments: dict[str, Any]) -> Run:
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
