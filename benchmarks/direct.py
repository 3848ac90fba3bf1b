"""Spans by the direct writer, beside agno's own way into ClickHouse; in turns, out of one process, into one server."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from agno.db.clickhouse import ClickhouseDb
from agno.tracing.exporter import DatabaseSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from benchmarks.figures import Figure
from benchmarks.traffic import Traffic
from stack.home import Home
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter

OURS = 20_000  # spans of a round
THEIRS = 200
BATCH = 5_000  # as many as wait when a busy runtime's writer comes to them
THEIR_BATCH = 512  # OpenTelemetry's batch processor; agno's own default is to export each span when it ends
ROUNDS = 5
QUICK_ROUNDS = 2


def compare(home: Home, quick: bool) -> Iterator[Figure]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    writer = DirectWriter(home.clickhouse_url)
    agno = DatabaseSpanExporter(ClickhouseDb(client=connect(home.clickhouse_url), database="otel_agno"))
    agno.export(make_spans(5))  # makes its tables
    speeds: dict[str, list[float]] = {"ours": [], "theirs": [], "one by one": []}
    for _ in range(rounds):
        speeds["ours"].append(speed(writer.write_spans, make_spans(OURS), BATCH))
        speeds["theirs"].append(speed(agno.export, make_spans(THEIRS), THEIR_BATCH))
        speeds["one by one"].append(speed(agno.export, make_spans(THEIRS), 1))
    stored = stored_spans(home)
    writer.close()
    ours, batched, single = (round(statistics.median(found), 1) for found in speeds.values())
    yield Figure("ingest", "direct_spans_per_second_vs_agno", ours, "span/s", rounds * OURS, single)
    yield Figure("ingest", "direct_spans_per_second_vs_agno_in_batches", ours, "span/s", rounds * OURS, batched)
    yield Figure("ingest", "direct_lost", rounds * OURS - stored[0], "span", rounds * OURS)
    yield Figure("ingest", "agno_lost", rounds * 2 * THEIRS + 5 - stored[1], "span", rounds * 2 * THEIRS)


def speed(send: Callable[[Sequence[ReadableSpan]], object], spans: Sequence[ReadableSpan], batch: int) -> float:
    """Spans per second, all acknowledged."""
    began = time.perf_counter()
    for first in range(0, len(spans), batch):
        send(spans[first : first + batch])
    return len(spans) / (time.perf_counter() - began)


def stored_spans(home: Home) -> tuple[int, int]:
    """Ours of this benchmark, and agno's."""
    client = connect(home.clickhouse_url)
    queries = (
        "SELECT uniqExact(SpanId) FROM otel_traces WHERE ServiceName = 'benchmark-direct'",
        "SELECT uniqExact(span_id) FROM otel_agno.agno_spans",
    )
    found = [int(client.command(query)) for query in queries]
    client.close()
    return found[0], found[1]


def make_spans(count: int) -> Sequence[ReadableSpan]:
    """Runs of five spans with their texts, as benchmarks.traffic has them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "benchmark-direct"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmark")
    traffic = Traffic(1, seed=count)
    runs = traffic.plain_runs()
    for number in range(count // 5):
        (name, attributes), *calls = runs[number % len(runs)]
        root = tracer.start_span(name, attributes=attributes)
        inside = set_span_in_context(root)
        for called, given in calls:
            tracer.start_span(called, inside, attributes=given).end()
        root.end()
    return exporter.get_finished_spans()
