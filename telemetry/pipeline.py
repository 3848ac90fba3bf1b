"""Providers and destinations: where spans, metrics and logs go, and how they are flushed before the process ends."""

import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracerProvider, Span

from telemetry import content, environment, logs, metrics, prices, secrets, semconv
from telemetry.exposition import Exposition
from telemetry.histograms import Exported, Scraped
from telemetry.request import RequestSpans
from telemetry.settings import Settings as Settings
from telemetry.span import SCOPE, Spans

if TYPE_CHECKING:
    from telemetry.outbox import Outbox


class _Ended(SpanProcessor):
    def __init__(self, put: Callable[[ReadableSpan], None]) -> None:
        self._put = put

    def on_start(self, span: Span, parent_context: Context | None = None) -> None: ...

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._put(span)


class Telemetry:
    """What the runtime holds of this package. Made by `start`, ended by `shutdown`."""

    def __init__(self, settings: Settings) -> None:
        self.tracer: trace.Tracer = NoOpTracerProvider().get_tracer(SCOPE.name)
        self.requests = RequestSpans()
        self.spans = Spans()
        self.instruments = metrics.Instruments()
        self._outbox: Outbox | None = None
        self._logs: logs.Logs | None = None
        self._meters: MeterProvider | None = None
        self.exposition = Exposition(None)
        self._stops: list[Callable[[float], None]] = []
        if settings.mode != "off" and not environment.is_disabled():
            self._start(settings)
            _all.add(self)

    def health(self) -> dict[str, Any]:
        """Per destination of spans, and for logs: how many are queued, exported, dropped and failed since the start,
        how many were cut (telemetry.fitting), the reasons of those that are lost, and the last error (None: well)."""
        outbox = self._outbox
        found = {name: (outbox.queued(name), known) for name, known in outbox.destinations.items()} if outbox else {}
        if self._logs is not None:
            found["logs"] = self._logs.state()
        return {
            name: {
                "queued": queued,
                **known.counts,
                "cut": known.cut,
                "reasons": dict(known.reasons),
                "last_error": _without_secrets(known.last_error),
            }
            for name, (queued, known) in found.items()
        }

    def flush(self, timeout: float) -> bool:
        """Sends all spans that have ended. False when `timeout` (seconds) passed first."""
        self.spans.flush()
        return self._outbox is None or self._outbox.flush(timeout)

    def shutdown(self, timeout: float) -> None:
        """Flushes and stops everything within about `timeout` seconds; what is left then is dropped and counted.

        Spans and logs at once, since one that is stuck would use up the time of the other; then the metrics, which
        count what became of the spans.
        """
        deadline = time.monotonic() + timeout
        self.instruments.close()
        self.spans.flush()
        stops, self._stops = self._stops, []
        _at_once([partial(stop, 0.7 * timeout) for stop in stops], deadline - 0.1 * timeout)
        if self._meters is not None:
            left = max(0.1, deadline - time.monotonic())
            _at_once([partial(self._meters.shutdown, timeout_millis=1000 * left)], time.monotonic() + left)
            self._meters = None

    def after_fork(self) -> None:
        """In a forked child nothing is recorded nor sent: threads, connections and spans are its parent's."""
        self.tracer = NoOpTracerProvider().get_tracer(SCOPE.name)
        self.spans.after_fork()
        self.instruments.after_fork()
        self._stops = []
        self._outbox = self._meters = None
        if self._logs is not None:
            self._logs.after_fork()
            self._logs = None

    def _start(self, settings: Settings) -> None:
        from telemetry import destinations, signals  # their imports are slow, and `off` needs none of them
        from telemetry.outbox import Outbox

        # first what a mistake in the settings ends: nothing has been started yet
        if settings.redact:
            content.load(settings.redact)
        prices.use(settings.prices)
        names = list(destinations.spans(settings))
        limits = environment.limits("OTEL_BSP")
        resource = _resource(settings)
        ways = signals.choose(settings)

        scraped = Scraped()
        readers: list[Scraped | Exported] = [scraped]
        if ways.metrics is not None:
            readers.append(Exported(ways.metrics, export_interval_millis=environment.metric_interval()))
        meters = self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self.instruments = metrics.Instruments(meters.get_meter(SCOPE.name))
        for reader in readers:
            reader.histograms = self.instruments.histograms
        self.exposition = Exposition(scraped)

        if ways.logs is not None:
            self._logs = logs.Logs(resource, *ways.logs, environment.limits("OTEL_BLRP"), self.instruments.logs_handled)
            self._stops.append(self._logs.stop)
        outbox = self._outbox = Outbox(settings, resource, limits, names, self.instruments.spans_handled)
        self._stops.append(outbox.stop)
        self.instruments.observe(
            "agno.telemetry.queue.size", lambda: [(outbox.queued(name), {"destination": name}) for name in names]
        )
        tracers = TracerProvider(
            resource=resource,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attributes=SpanLimits.UNSET),
        )
        tracers.add_span_processor(_Ended(outbox.put))
        trace.set_tracer_provider(tracers)  # so that the spans of users' libraries nest below ours
        self.tracer = tracers.get_tracer(SCOPE.name)
        self.requests = RequestSpans(tracers, outbox.put)
        self.spans = Spans(tracers, outbox.put)
        outbox.gather = self.spans.flush


def start(settings: Settings) -> Telemetry:
    """Starts threads and connections. Call it in the lifespan, never at import, and `shutdown` when it ends."""
    return Telemetry(settings)


def _resource(settings: Settings) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over the settings."""
    attributes: dict[str, Any] = {
        "service.name": settings.service_name,
        "service.instance.id": str(uuid.uuid4()),
        "deployment.environment.name": settings.environment,
        **OTELResourceDetector().detect().attributes,
    }
    return Resource.create({**attributes, semconv.PROJECT_NAME: attributes["service.name"]})


def _at_once(calls: Iterable[Callable[[], None]], deadline: float) -> None:
    """Each in a thread of its own, which is left behind when it is not done by then."""
    threads = [threading.Thread(target=call, name="telemetry-shutdown", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))


def _without_secrets(error: str | None) -> str | None:
    """Clients put the address that they failed at into their errors, and a password may be part of it."""
    return error and secrets.without(error)[:500]


def _after_fork() -> None:
    for telemetry in list(_all):
        telemetry.after_fork()


_all: "weakref.WeakSet[Telemetry]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
