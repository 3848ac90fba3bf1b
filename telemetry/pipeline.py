"""Providers and destinations: where spans, metrics and logs go, and how they are flushed before the process ends."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracerProvider, Span

from telemetry import content, logs, metrics, prices, semconv
from telemetry.buffer import Limits
from telemetry.entries import without_secrets
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
        self.exposition = Exposition(None)
        self._stops: list[Callable[[float], None]] = []
        if settings.mode != "off":
            self._start(settings)

    def health(self) -> dict[str, Any]:
        """Per destination: spans queued, exported, dropped, failed since the start, and the last error (None: well)."""
        outbox = self._outbox
        if outbox is None:
            return {}
        return {
            name: {"queued": outbox.queued(name), **known.counts, "last_error": _without_secrets(known.last_error)}
            for name, known in outbox.destinations.items()
        }

    def flush(self, timeout: float) -> bool:
        """Sends all spans that have ended. False when `timeout` (seconds) passed first."""
        self.spans.flush()
        return self._outbox is None or self._outbox.flush(timeout)

    def shutdown(self, timeout: float) -> None:
        """Flushes and stops everything within about `timeout` seconds; what is left then is dropped and counted."""
        deadline = time.monotonic() + timeout
        self.instruments.close()
        self.spans.close()
        while self._stops:
            self._stops.pop()(max(0.1, deadline - time.monotonic()))

    def _start(self, settings: Settings) -> None:
        from telemetry import destinations, signals  # their imports are slow, and `off` needs none of them
        from telemetry.outbox import Outbox

        resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.instance.id": str(uuid.uuid4()),
                "deployment.environment.name": settings.environment,
                semconv.PROJECT_NAME: settings.service_name,
            }
        )
        if settings.redact:
            content.load(settings.redact)  # so that a mistake in it ends the start, here
        prices.use(settings.prices)
        threading.Thread(target=prices.load, name="telemetry-prices", daemon=True).start()
        ways = signals.choose(settings)

        scraped = Scraped()
        readers: list[Scraped | Exported] = [scraped]
        if ways.metrics is not None:
            readers.append(Exported(ways.metrics, export_interval_millis=_interval()))
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self.instruments = metrics.Instruments(meters.get_meter(SCOPE.name))
        for reader in readers:
            reader.histograms = self.instruments.histograms
        self.exposition = Exposition(scraped)
        self._stops.append(lambda seconds: meters.shutdown(timeout_millis=seconds * 1000))

        self._stops.append(logs.Logs(resource, *ways.logs, _limits("OTEL_BLRP"), self.instruments.logs_handled).stop)
        names = list(destinations.spans(settings))
        outbox = self._outbox = Outbox(settings, resource, _limits("OTEL_BSP"), names, self.instruments.spans_handled)
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


def start(settings: Settings) -> Telemetry:
    """Starts threads and connections. Call it in the lifespan, never at import, and `shutdown` when it ends."""
    return Telemetry(settings)


def _limits(prefix: str) -> Limits:
    """The SDK's own variables, with defaults that lose less: OTEL_BSP_MAX_QUEUE_SIZE, ... (delay in ms)."""
    default = Limits()
    return Limits(
        queue=int(os.environ.get(f"{prefix}_MAX_QUEUE_SIZE", default.queue)),
        batch=int(os.environ.get(f"{prefix}_MAX_EXPORT_BATCH_SIZE", default.batch)),
        delay=float(os.environ.get(f"{prefix}_SCHEDULE_DELAY", default.delay * 1000)) / 1000,
    )


def _without_secrets(error: str | None) -> str | None:
    """Clients put the address that they failed at into their errors, and a password may be part of it."""
    return error and without_secrets(error)[:500]


def _interval() -> float:
    return float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", 30_000))
