"""Spans of runs and calls. On the path of an agent only times, ids and references are taken; another thread makes
metrics and records of them, and the exporter's process makes attributes of the records.

The SDK's own spans take a lock, a copy and a check of its type for every attribute, on the path of the agent.
"""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation import _SPAN_KEY  # where get_current_span looks; a copy less than by its function
from opentelemetry.util.types import Attributes, AttributeValue

SCOPE = InstrumentationScope("agent-telemetry-stack")
MOST_ENDED = 20_000  # operations that wait for `flush`; beyond that they are finished on their own path

_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
log = logging.getLogger(__name__)

Record = tuple[Any, ...]  # (name of a function of telemetry.encode, its arguments ...); of types that `marshal` knows


class Verdict:
    """Whether a trace is kept, as far as this process knows: shared by its spans, and true once one of them failed."""

    __slots__ = ("keep",)

    def __init__(self, keep: bool) -> None:
        self.keep = keep


class LiveSpan(trace.Span):
    """Current while its run or call goes on. What users' code sets on it is kept; only its operation ends it.

    Times are Unix nanoseconds. `parent_id` is 0 for a root.
    """

    instrumentation_scope = SCOPE
    parent_remote = False
    links: Sequence[Link] = ()
    attributes: dict[str, AttributeValue] | None = None
    events: list[tuple[str, int, Mapping[str, Any]]] | None = None
    status = StatusCode.UNSET
    message: str | None = None
    retries = 0
    ended = 0
    record: Record = ()
    _context: SpanContext | None = None

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        span_id: int,
        parent_id: int,
        trace_state: TraceState | None,
        verdict: Verdict,
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.trace_state = trace_state
        self.verdict = verdict
        self.started = time.time_ns()

    def get_span_context(self) -> SpanContext:
        flags = _SAMPLED if self.verdict.keep else _NOT_SAMPLED
        if self._context is None or self._context.trace_flags is not flags:
            self._context = SpanContext(self.trace_id, self.span_id, False, flags, self.trace_state)
        return self._context

    def is_recording(self) -> bool:
        return not self.ended

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        if self.attributes is None:
            self.attributes = {}
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        if self.events is None:
            self.events = []
        self.events.append((name, timestamp or time.time_ns(), dict(attributes or {})))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        described = {
            "exception.type": type(exception).__name__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
        }
        self.add_event("exception", {**described, **(attributes or {})}, timestamp)

    def update_name(self, name: str) -> None:
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """What the operation finds at its end wins."""
        code = status if isinstance(status, StatusCode) else status.status_code
        self.status = code
        self.message = description if isinstance(status, StatusCode) else status.description

    def end(self, end_time: int | None = None) -> None:
        """Whoever has it as the current span does not own it."""


class Ended(Protocol):
    """What a span is of. After its end `measure` is called, in another thread, and `record` if its span is kept."""

    span: LiveSpan
    context: Context

    def measure(self) -> None:
        """Metrics, and the span's status: a failed span is kept always, and what is above it."""

    def record(self) -> Record: ...


class Spans:
    """Starts and ends them; without a provider nothing is recorded.

    Somebody has to call `flush` now and then, in a thread of its own: `put(span)` takes what is to be kept.
    """

    def __init__(
        self, provider: TracerProvider | None = None, put: Callable[[LiveSpan], None] = lambda span: None
    ) -> None:
        self._provider = provider
        self._put = put
        self._ended: deque[Ended] = deque()
        self._drains = threading.Lock()

    @property
    def on(self) -> bool:
        return self._provider is not None

    def start(self, name: str, kind: SpanKind, around: Context) -> LiveSpan:
        """Below the span that is current in `around`, or a new trace."""
        if self._provider is None:
            outer = current(around).get_span_context()
            return LiveSpan(name, kind, outer.trace_id, outer.span_id, 0, None, Verdict(False))
        span_id = self._provider.id_generator.generate_span_id()
        above = around.get(_SPAN_KEY)
        if type(above) is LiveSpan:
            return LiveSpan(name, kind, above.trace_id, span_id, above.span_id, above.trace_state, above.verdict)
        parent = current(around).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else self._provider.id_generator.generate_trace_id()
        found = self._provider.sampler.should_sample(around, trace_id, name, kind, trace_state=parent.trace_state)
        verdict = Verdict(found.decision is Decision.RECORD_AND_SAMPLE)
        span = LiveSpan(name, kind, trace_id, span_id, parent.span_id, found.trace_state, verdict)
        span.parent_remote = parent.is_remote
        return span

    def end(self, operation: Ended) -> None:
        operation.span.ended = time.time_ns()
        if self._provider is not None:
            self._ended.append(operation)
            if len(self._ended) > MOST_ENDED:
                self.flush()

    def keep(self, span: LiveSpan, record: Record) -> None:
        """For a span that is no operation's, and went well."""
        span.ended = time.time_ns()
        if span.verdict.keep and self._provider is not None:
            span.status, span.record = StatusCode.OK, record
            self._put(span)

    def flush(self) -> None:
        """What has ended until now is measured and put."""
        with self._drains:
            for _ in range(len(self._ended)):
                self._finish(self._ended.popleft())

    def after_fork(self) -> None:
        """In a forked child, whose parent records what it began: nothing more is."""
        self._provider = None
        self._ended = deque()
        self._drains = threading.Lock()

    def _finish(self, operation: Ended) -> None:
        token = otel.attach(operation.context)  # for the exemplars
        try:
            operation.measure()
            span = operation.span
            if span.status is StatusCode.ERROR:
                span.verdict.keep = True
            if span.verdict.keep:
                span.record = operation.record()
                self._put(span)
        except Exception:  # it reads what is agno's, and users': it costs this span, and no other
            log.exception("the end of an operation could not be recorded")
        finally:
            otel.detach(token)


def current(around: Context) -> trace.Span:
    """As trace.get_current_span, with three calls less."""
    span = around.get(_SPAN_KEY)
    return span if isinstance(span, trace.Span) else trace.INVALID_SPAN


def within(around: Context, span: LiveSpan, **more: Any) -> Context:
    """`around` with `span` as the current one."""
    return Context({**around, _SPAN_KEY: span, **more})
