"""Recording a metric with three attributes: beside OpenTelemetry's own instruments, the values they export compared.

In turns, in one thread, with a sampled span current, so that there are exemplars; over as many series as a runtime of
fifty agents has. And a line that is logged, beside the SDK's handler.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from benchmarks.figures import Figure
from telemetry import semconv
from telemetry.buffer import Limits
from telemetry.catalogue import BY_NAME
from telemetry.histograms import Scraped
from telemetry.logs import Logs
from telemetry.metrics import Instruments

COST, TOOL = BY_NAME["agno.model.cost"], BY_NAME["gen_ai.execute_tool.duration"]
SERIES = 50
ROUNDS, QUICK_ROUNDS = 41, 7
CALLS = 20_000  # in each round
LINES = 2_000
Call = Callable[[int], None]  # with the number of the call


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    reader, own_reader = InMemoryMetricReader(), Scraped()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("sdk")
    counter = meter.create_counter(COST.name, COST.unit, COST.help)
    histogram = meter.create_histogram(
        TOOL.name, TOOL.unit, TOOL.help, explicit_bucket_boundaries_advisory=TOOL.buckets
    )
    own = Instruments(MeterProvider([own_reader], shutdown_on_exit=False).get_meter("own"))
    own_reader.histograms = own.histograms
    off, off_counter = Instruments(), NoOpMeterProvider().get_meter("off").create_counter(COST.name)
    names = [f"name-{n}" for n in range(SERIES)]

    def sdk_adds(n: int) -> None:
        counter.add(0.25, _cost(names[n % SERIES]))

    def own_adds(n: int) -> None:
        own.model_cost("openai", "gpt", names[n % SERIES], 0.25)

    def sdk_records(n: int) -> None:
        histogram.record(0.001 * (n % 999), _tool(names[n % SERIES]))

    def own_records(n: int) -> None:
        own.tool_finished(names[n % SERIES], 0.001 * (n % 999), "E")

    def off_adds(n: int) -> None:
        off.model_cost("openai", "gpt", names[n % SERIES], 0.25)

    def noop_adds(n: int) -> None:
        off_counter.add(0.25, _cost(names[n % SERIES]))

    span = SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED))
    with trace.use_span(NonRecordingSpan(span)):
        pairs = {"counter": (own_adds, sdk_adds), "histogram": (own_records, sdk_records), "off": (off_adds, noop_adds)}
        for name, (ours, theirs) in pairs.items():
            seconds, baseline = _in_turns((ours, theirs), rounds, CALLS)
            yield Figure("metrics", f"{name}_vs_sdk", _us(seconds), "us", rounds * CALLS, _us(baseline))
        _compare(own_reader, reader)
        yield from _logged(rounds)


def _cost(agent_id: str) -> dict[str, str]:
    return {semconv.PROVIDER_NAME: "openai", semconv.REQUEST_MODEL: "gpt", "agent_id": agent_id}


def _tool(tool: str) -> dict[str, str]:
    return {semconv.OPERATION_NAME: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: tool, semconv.ERROR_TYPE: "E"}


def _in_turns(calls: Sequence[Call], rounds: int, times: int, after: Callable[[], Any] = lambda: None) -> list[float]:
    """Median seconds of each call; of this thread's time, since others may use the machine meanwhile."""
    took: list[list[float]] = [[] for _ in calls]
    for each in range(rounds):
        order = range(len(calls)) if each % 2 else reversed(range(len(calls)))
        for number in order:
            call = calls[number]
            began = time.thread_time()
            for n in range(times):
                call(n)
            took[number].append((time.thread_time() - began) / times)
            after()
    return [statistics.median(each) for each in took]


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _compare(own: InMemoryMetricReader, sdk: InMemoryMetricReader) -> None:
    """Raises when they export anything else than the same, exemplars of histograms included."""
    ours, theirs = _points(own), _points(sdk)
    for name in (COST.name, TOOL.name):
        if len(theirs[name]) != SERIES or ours[name] != theirs[name]:
            raise AssertionError(f"{name}: its points are not those of the SDK")


def _points(reader: InMemoryMetricReader) -> dict[str, dict[Any, Any]]:
    """By instrument and attributes. The SDK gives each exemplar once, so this can be asked once."""
    data = reader.get_metrics_data()
    scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
    return {
        metric.name: {tuple(sorted((p.attributes or {}).items())): _plain(p) for p in metric.data.data_points}
        for scope in scopes
        for metric in scope.metrics
    }


def _plain(point: Any) -> Any:
    if hasattr(point, "value"):
        return point.value
    exemplars = sorted((e.value, e.trace_id, e.span_id) for e in point.exemplars)
    return (
        point.count,
        point.sum,
        point.min,
        point.max,
        list(point.bucket_counts),
        list(point.explicit_bounds),
        exemplars,
    )


def _logged(rounds: int) -> Iterator[Figure]:
    """What a line costs its writer, beside the time of a logger without handlers that do anything."""
    log = logging.getLogger("benchmark")
    log.propagate, log.level = False, logging.INFO
    provider = LoggerProvider(Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(InMemoryLogRecordExporter(), max_queue_size=LINES))
    theirs, nothing = LoggingHandler(logger_provider=provider), logging.NullHandler()
    logs = Logs(Resource({}), lambda records: None, lambda: None, Limits(queue=LINES), lambda outcome, records: None)
    ours = logs._handler

    def through(handler: logging.Handler) -> Call:
        def write(n: int) -> None:
            log.handlers = [handler]
            log.info("looked up %s in %d ms", "x", n)

        return write

    def wait() -> None:
        logs.flush(30)
        provider.force_flush()

    calls = [through(handler) for handler in (ours, theirs, nothing)]
    own, sdk, base = _in_turns(calls, rounds, LINES, wait)
    log.handlers = []
    logs.stop(1)
    provider.shutdown()
    yield Figure("metrics", "log_line_vs_sdk", _us(own - base), "us", rounds * LINES, _us(sdk - base))
