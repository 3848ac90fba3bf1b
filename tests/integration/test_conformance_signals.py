"""What arrives in ClickHouse of what was sent: by our runtime, by telemetrygen, and of each kind of metric of OTLP.

tests/integration/test_direct.py compares every column of awkward spans, points and records with the direct writer's.
"""

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from agno.agent import Agent
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from runtime.offline import OfflineModel
from stack.home import Home
from telemetry import pipeline, recorder
from telemetry.pipeline import Settings
from tests.integration import telemetrygen
from tests.integration.collectors import PROTOBUF, Collector, collecting, toward
from tests.integration.conftest import ClickHouse
from tests.integration.runtimes import until

pytestmark = pytest.mark.timeout(180)
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@pytest.fixture
def collector(own_home: Home, clickhouse: ClickHouse, collector_binary: Path) -> Iterator[Collector]:
    with collecting(own_home, collector_binary, **toward(clickhouse)) as running:
        yield running


def lookup(city: str) -> str:
    """Looks a city up."""
    logging.getLogger("an.application").warning("looking for %s", city)
    return f"{city}: sunny"


def test_runs_of_the_runtime_arrive_as_postgres_has_them(
    collector: Collector, clickhouse: ClickHouse, migrated: str
) -> None:
    endpoint = f"http://127.0.0.1:{collector.home.ports['otlp_grpc']}"
    telemetry = pipeline.start(
        Settings("agent-runtime", "test", "collector", otlp_endpoint=endpoint, database_url=migrated)
    )
    recorder.install(telemetry)
    agent = Agent(id="weather", name="Weather", model=OfflineModel(latency=0), tools=[lookup], telemetry=False)
    agent.run("[tool lookup] Oslo", run_id="r1", session_id="s1", user_id="ann")
    agent.run("[fail] now", run_id="r2", session_id="s1")
    recorder.uninstall()
    telemetry.shutdown(30)

    with psycopg.connect(migrated) as connection:
        columns = "trace_id, span_id, coalesce(parent_span_id, ''), name"
        kept = connection.execute(f"SELECT {columns} FROM agno.agno_spans ORDER BY span_id".encode()).fetchall()
    arrived = "SELECT TraceId, SpanId, ParentSpanId, SpanName FROM otel_traces FINAL ORDER BY SpanId"
    until(lambda: len(clickhouse.rows(arrived)) == len(kept), 60)
    assert clickhouse.rows(arrived) == [list(row) for row in kept]
    runs = "SELECT run_id, kind, agent_id, status, session_id, user_id, duration > 0 FROM runs ORDER BY run_id"
    assert clickhouse.rows(runs) == [
        ["r1", "agent", "weather", "completed", "s1", "ann", 1],
        ["r2", "agent", "weather", "error", "s1", "", 1],
    ]
    assert clickhouse.rows("SELECT run_id, tool, failed FROM tool_calls") == [["r1", "lookup", 0]]
    calls = "SELECT run_id, count(), min(input_tokens) > 0, max(failed) FROM model_calls GROUP BY 1 ORDER BY 1"
    assert [row[0] for row in clickhouse.rows(calls)] == ["r1", "r2"]

    counted = "SELECT Attributes['status'], Value FROM otel_metrics_sum WHERE MetricName = 'agno.agent.runs' ORDER BY 1"
    until(lambda: len(clickhouse.rows(counted)) == 2, 60)
    assert clickhouse.rows(counted) == [["completed", 1], ["error", 1]]
    lasted = "SELECT sum(Count) FROM otel_metrics_histogram WHERE MetricName = 'agno.agent.duration'"
    assert clickhouse.rows(lasted) == [[2]]
    logged = "SELECT Body, SeverityText, LogAttributes['agno.run.id'], TraceId IN (SELECT TraceId FROM otel_traces)"
    until(lambda: clickhouse.rows("SELECT count() FROM otel_logs WHERE Body LIKE 'looking%'") == [[1]], 60)
    assert clickhouse.rows(f"{logged} FROM otel_logs WHERE Body LIKE 'looking%'")[0][1:] == ["WARN", "r1", 1]


def test_every_kind_of_metric_arrives_as_it_was_sent(collector: Collector, clickhouse: ClickHouse) -> None:
    now = time.time_ns()
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "sender"
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = "scope", "1"

    def add(kind: str) -> Metric:
        return scope.metrics.add(name=kind, unit="s", description=f"a {kind}")

    times = {"start_time_unix_nano": now - 1_000_000_007, "time_unix_nano": now}
    gauge = add("gauge").gauge.data_points.add(as_int=-3, flags=1, **times)
    gauge.attributes.add(key="n").value.int_value = 5
    total = add("sum")
    total.sum.data_points.add(as_double=2.5, **times)
    total.sum.aggregation_temporality, total.sum.is_monotonic = CUMULATIVE, True
    bars = add("histogram")
    bars.histogram.aggregation_temporality = DELTA
    counts = {"bucket_counts": [1, 2], "explicit_bounds": [0.5]}
    point = bars.histogram.data_points.add(count=3, sum=4.5, min=0.1, max=3, **counts, **times)
    point.exemplars.add(as_double=3, time_unix_nano=now, trace_id=b"t" * 16, span_id=b"s" * 8)
    exponential = add("exponential")
    exponential.exponential_histogram.aggregation_temporality = CUMULATIVE
    scaled = exponential.exponential_histogram.data_points.add(count=6, sum=1, scale=2, zero_count=1, **times)
    scaled.positive.offset, scaled.negative.offset = -1, 4
    scaled.positive.bucket_counts.extend([2, 1])
    scaled.negative.bucket_counts.extend([2])
    summed = add("summary").summary.data_points.add(count=3, sum=6, **times)
    summed.quantile_values.add(quantile=0.99, value=2)

    answer = httpx.post(f"{collector.url}/v1/metrics", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200, answer.text
    bounds = "Count, Sum, Min, Max, AggregationTemporality"
    expected = {
        "gauge": ("Value, Flags, Attributes", [-3, 1, {"n": "5"}]),
        "sum": ("Value, AggregationTemporality, IsMonotonic", [2.5, 2, True]),
        "histogram": (
            f"{bounds}, BucketCounts, ExplicitBounds, Exemplars.Value, Exemplars.TraceId, Exemplars.SpanId",
            [3, 4.5, 0.1, 3, 1, [1, 2], [0.5], [3], ["74" * 16], ["73" * 8]],
        ),
        "exponential_histogram": (
            "Count, Sum, Scale, ZeroCount, PositiveOffset, PositiveBucketCounts, NegativeOffset, NegativeBucketCounts",
            [6, 1, 2, 1, -1, [2, 1], 4, [2]],
        ),
        "summary": ("Count, Sum, ValueAtQuantiles.Quantile, ValueAtQuantiles.Value", [3, 6, [0.99], [2]]),
    }
    common = f"ServiceName, ScopeName, ScopeVersion, MetricName, MetricUnit, MetricDescription, {unix('StartTimeUnix')}"
    for kind, (columns, values) in expected.items():
        query = f"SELECT {common}, {unix('TimeUnix')}, {columns} FROM otel_metrics_{kind}"
        until(lambda query=query: clickhouse.rows(query), 60)  # type: ignore[misc]
        name = kind.split("_")[0]
        described = ["sender", "scope", "1", name, "s", f"a {name}", str(now - 1_000_000_007), str(now)]
        assert clickhouse.rows(query) == [[*described, *values]]


def unix(column: str) -> str:
    return f"toString(toUnixTimestamp64Nano({column}))"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_telemetrygen_sends_arrives(protocol: str, collector: Collector, clickhouse: ClickHouse) -> None:
    resource = ["--otlp-attributes", 'deployment.environment.name="stranger"', "--telemetry-attributes", "n=5"]
    port = collector.home.ports["otlp_grpc" if protocol == "grpc" else "otlp_http"]
    common = ["--otlp-insecure", "--otlp-endpoint", f"127.0.0.1:{port}", "--rate", "0", "--workers", "1", *resource]
    if protocol == "http":
        common.append("--otlp-http")

    def generate(signal: str, *arguments: str) -> None:
        argv = [str(telemetrygen.path()), signal, *arguments, *common]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    generate("traces", "--traces", "20", "--child-spans", "4", "--status-code", "Error", "--span-duration", "5ms")
    generate("logs", "--logs", "20", "--body", "a line", "--severity-number", "13", "--severity-text", "Warn")
    for kind in ("Gauge", "Sum", "Histogram", "ExponentialHistogram"):
        generate("metrics", "--metrics", "20", "--metric-type", kind, "--otlp-metric-name", kind)

    environment = "ResourceAttributes['deployment.environment.name'] = 'stranger'"
    rows = {
        f"SELECT uniqExact(TraceId), uniqExact(SpanId) FROM otel_traces WHERE {environment} AND StatusCode = 'Error' "
        "AND Duration >= 5000000 AND SpanAttributes['n'] = '5'": [20, 100],
        f"SELECT count(), any(Body), any(SeverityText), any(SeverityNumber) FROM otel_logs WHERE {environment} "
        "AND LogAttributes['n'] = '5'": [20, "a line", "Warn", 13],
        "SELECT count(), min(Value), max(Value) FROM otel_metrics_gauge WHERE MetricName = 'Gauge'": [20, 0, 19],
        "SELECT count(), max(IsMonotonic) FROM otel_metrics_sum WHERE MetricName = 'Sum'": [20, True],
        "SELECT count(), min(Count > 0) FROM otel_metrics_histogram": [20, 1],
        "SELECT count(), min(Count > 0) FROM otel_metrics_exponential_histogram": [20, 1],
    }
    for query, row in rows.items():
        until(lambda query=query: int(str(clickhouse.rows(query)[0][0])) >= 20, 60)  # type: ignore[misc]
        assert clickhouse.rows(query) == [row]
