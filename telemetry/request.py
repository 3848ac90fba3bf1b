"""Spans of HTTP requests that come by the thousand: made whole once the request is answered.

The SDK's own take four times as long, with a lock and a check of its type for every attribute that is set.
"""

import time
from collections.abc import Callable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.span import SCOPE

_OK = Status(StatusCode.OK)
_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_propagator = TraceContextTextMapPropagator()

Attribute = str | bool | int | float


class RequestSpan:
    """Set `attributes` until `end`. For one thread.

    `otel` is the context to be in meanwhile: spans below, logs and exemplars then belong to it.
    """

    __slots__ = ("_end", "_started", "attributes", "context", "name", "otel", "parent")

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        end: "Callable[[RequestSpan, int, Status], None]",
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.otel: Context = trace.set_span_in_context(NonRecordingSpan(context), Context())
        self.attributes: dict[str, Attribute] = {}
        self._end = end
        self._started = time.time_ns()

    @property
    def trace_id(self) -> str | None:
        return f"{self.context.trace_id:032x}" if self.context.is_valid else None

    def carrier(self) -> dict[str, str]:
        """W3C `traceparent` and `tracestate`, for what this request causes; empty when there is no trace."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self.otel)
        return carrier

    def end(self, error: str | None = None) -> None:
        self._end(self, self._started, _OK if error is None else Status(StatusCode.ERROR, error))


class RequestSpans:
    """Starts them. Without a provider (telemetry is off) they go nowhere and have their parent's trace, or none."""

    def __init__(
        self,
        provider: TracerProvider | None = None,
        put: Callable[[ReadableSpan], None] = lambda span: None,
    ) -> None:
        self._provider = provider
        self._put = put

    def start(self, name: str, headers: Mapping[str, str]) -> RequestSpan:
        """Goes on in the trace of `traceparent`, and is sampled then: who sends does not hide what it causes."""
        parent = _parent(headers) if "traceparent" in headers else None
        if self._provider is None:
            return RequestSpan(name, parent or trace.INVALID_SPAN_CONTEXT, None, self._end)
        ids = self._provider.id_generator
        if parent is not None:
            context = SpanContext(parent.trace_id, ids.generate_span_id(), False, _SAMPLED, parent.trace_state)
        else:
            trace_id = ids.generate_trace_id()
            decision = self._provider.sampler.should_sample(None, trace_id, name, SpanKind.SERVER).decision
            flags = _SAMPLED if decision is Decision.RECORD_AND_SAMPLE else _NOT_SAMPLED
            context = SpanContext(trace_id, ids.generate_span_id(), False, flags)
        return RequestSpan(name, context, parent, self._end)

    def _end(self, span: RequestSpan, started: int, status: Status) -> None:
        if self._provider is None or not (span.context.trace_flags.sampled or status is not _OK):
            return
        self._put(
            ReadableSpan(
                span.name,
                _sampled(span.context),
                span.parent,
                self._provider.resource,
                span.attributes,
                kind=SpanKind.SERVER,
                status=status,
                start_time=started,
                end_time=time.time_ns(),
                instrumentation_scope=SCOPE,
            )
        )


def _sampled(context: SpanContext) -> SpanContext:
    """A request that failed is kept always."""
    if context.trace_flags.sampled:
        return context
    return SpanContext(context.trace_id, context.span_id, False, _SAMPLED, context.trace_state)


def _parent(headers: Mapping[str, str]) -> SpanContext | None:
    found = trace.get_current_span(_propagator.extract(headers, Context())).get_span_context()
    if not found.is_valid:
        return None
    return SpanContext(found.trace_id, found.span_id, True, _SAMPLED, found.trace_state)
