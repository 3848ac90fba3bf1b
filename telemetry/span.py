"""Spans of runs and calls: what is known of them is kept as it is, and made into attributes by the exporter's process.

The SDK's own spans take a lock, a copy and a check of its type for every attribute, on the path of the agent.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

SCOPE = InstrumentationScope("agent-telemetry-stack")

_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)

Record = tuple[Any, ...]  # (name of a function of telemetry.encode, its arguments ...); of types that `marshal` knows


class Verdict:
    """Whether a trace is kept, as far as this process knows: shared by its spans, and true once one of them failed."""

    __slots__ = ("keep",)

    def __init__(self, keep: bool) -> None:
        self.keep = keep


class LiveSpan(trace.Span):
    """Current while its run or call goes on. What users' code sets on it is kept; only its operation ends it."""

    def __init__(
        self, name: str, kind: SpanKind, context: SpanContext, parent: SpanContext | None, verdict: Verdict
    ) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        self.verdict = verdict
        self.links: Sequence[Link] = ()
        self.record: Record = ()
        self.attributes: dict[str, AttributeValue] | None = None
        self.events: list[tuple[str, int, Mapping[str, Any]]] | None = None
        self.status = StatusCode.UNSET
        self.message: str | None = None
        self.retries = 0
        self.ended = 0
        self.instrumentation_scope = SCOPE
        self.started = time.time_ns()

    def get_span_context(self) -> SpanContext:
        return self.context

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


class Spans:
    """Starts and ends them; `put(span)` takes those that are to be kept. Without a provider nothing is."""

    def __init__(
        self, provider: TracerProvider | None = None, put: Callable[[LiveSpan], None] = lambda span: None
    ) -> None:
        self._provider = provider
        self._put = put

    @property
    def on(self) -> bool:
        return self._provider is not None

    def start(self, name: str, kind: SpanKind, parent: trace.Span, context: Context | None = None) -> LiveSpan:
        """`parent` may be invalid: a new trace then. `context`: what the sampler sees of a parent that is not ours."""
        if type(parent) is LiveSpan and self._provider is not None:
            above, verdict = parent.context, parent.verdict
            flags = _SAMPLED if verdict.keep else _NOT_SAMPLED
            own = SpanContext(
                above.trace_id, self._provider.id_generator.generate_span_id(), False, flags, above.trace_state
            )
            return LiveSpan(name, kind, own, above, verdict)
        above = parent.get_span_context()
        if self._provider is None:
            return LiveSpan(name, kind, above, None, Verdict(False))
        ids = self._provider.id_generator
        trace_id = above.trace_id if above.is_valid else ids.generate_trace_id()
        found = self._provider.sampler.should_sample(context, trace_id, name, kind, trace_state=above.trace_state)
        keep = found.decision is Decision.RECORD_AND_SAMPLE
        flags = _SAMPLED if keep else _NOT_SAMPLED
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, found.trace_state)
        return LiveSpan(name, kind, own, above if above.is_valid else None, Verdict(keep))

    def end(self, span: LiveSpan, record: Callable[[], Record], error: str | None, ok: bool = True) -> None:
        """`record` is called for what is kept. A failed span is kept always, and so is what is above it."""
        if self._provider is None:
            return
        span.ended = time.time_ns()
        if error is not None:
            span.status, span.message, span.verdict.keep = StatusCode.ERROR, error, True
        elif ok:
            span.status, span.message = StatusCode.OK, None
        if span.verdict.keep:
            span.record = record()
            self._put(span)
