"""The direct writer against the real collector: the same data by both ways, every column of every row compared."""

import logging
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceState

from stack import collector
from stack.alone import wait
from stack.home import Home
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import migrate
from tests.integration.conftest import ClickHouse

AWKWARD: dict[str, Any] = {
    "empty": "",
    "unicode": 'größer 東京 🙂 \u2028 \u0000 \t\n"quoted" <b>&amp;</b> \x7f',
    "long": "x" * 100_000,
    "true": True,
    "zero": 0,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "too large": 2**63,
    "float": 0.1,
    "whole float": 3.0,
    "minus zero": -0.0,
    "1e-7": 1e-7,
    "1.5e-9": 1.5e-9,
    "1e-5": 1e-5,
    "1e16": 1e16,
    "1e20": 123456789e12,
    "1e21": 1e21,
    "1e300": 1.7976931348623157e308,
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "bytes": b"\x00\xff",
    "strings": ["a", "", "<ä>\u2028\b\f\x01"],
    "integers": [1, -2, 2**62],
    "floats": [1.0, 0.5, 1e-7, 1e22],
    "not finite": [1.0, float("nan")],
    "booleans": [True, False],
    "nothing": [],
}
NESTED = {**AWKWARD, "nested": {"z": 1, "a": [{"b": None, "c": [1.0, b"\x01", {"ä": "ö"}]}]}, "none": None}

SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
NOW = time.time_ns()  # not a fixed time: what is older than the retention is dropped at once

RESOURCE = Resource(
    {"service.name": "awkward ä", "deployment.environment.name": "test", "n": 5, "list": ["a", "b"]},
    schema_url="https://opentelemetry.io/schemas/1.40.0",
)


def make_spans() -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1.2", "https://example.org/schema", {"scope": "attribute"})
    plain = provider.get_tracer("no version")
    remote = SpanContext(2**127 + 1, 2**63 + 5, True, SAMPLED, TraceState([("vendor", "a"), ("other", "b")]))
    context = trace.set_span_in_context(NonRecordingSpan(remote))
    links = [Link(remote, {"why": "because", "n": [1, 2]}), Link(SpanContext(7, 9, False))]
    with tracer.start_as_current_span("root", context=context, kind=SpanKind.SERVER, links=links) as root:
        root.set_attributes(AWKWARD)
        root.add_event("first", {"a": 1.0, "b": "x"}, timestamp=NOW + 123_456_789)
        root.add_event("empty")
        root.set_status(Status(StatusCode.OK))
        for kind in SpanKind:
            with plain.start_as_current_span(f"child {kind.name}", kind=kind):
                pass
        try:
            with tracer.start_as_current_span("failing 失敗"):
                raise ValueError("broken <tag>")
        except ValueError:
            pass
    run = {
        "gen_ai.operation.name": "chat",
        "agno.run.id": "run-1",
        "session.id": "session-1",
        "gen_ai.agent.id": "helper",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
    }
    plain.start_span("chat m", attributes=run, start_time=NOW + 1).end(NOW + 1_000_000_003)
    plain.start_span("backwards", start_time=NOW + 1_000_000_000).end(NOW)
    return list(exporter.get_finished_spans())


def make_metrics() -> MetricsData:
    reader = InMemoryMetricReader()
    provider = MeterProvider(
        [reader],
        resource=RESOURCE,
        shutdown_on_exit=False,
        exemplar_filter=AlwaysOnExemplarFilter(),
        views=[View(instrument_name="exponential*", aggregation=ExponentialBucketHistogramAggregation())],
    )
    meter = provider.get_meter("meter", "2", "https://example.org/metrics", {"scope": 1})
    other = provider.get_meter("other")
    attributes = {"agent_id": "ä", "n": 1, "list": ["a"]}
    span = NonRecordingSpan(SpanContext(3, 4, False, SAMPLED))
    in_span = trace.set_span_in_context(span)
    counter = meter.create_counter("counter", "{request}", "How many")
    counter.add(3, attributes, context=in_span)
    counter.add(2**40, {})
    meter.create_counter("counter.float").add(0.1)
    meter.create_up_down_counter("up.down").add(-5, attributes)
    gauge = meter.create_gauge("gauge", "s")
    gauge.set(1.5, attributes, context=in_span)
    meter.create_observable_gauge("observable", [lambda _: [measurement(7, {"a": "b"})]])
    other.create_observable_counter("observable.counter", [lambda _: [measurement(2.5, None)]])
    histogram = meter.create_histogram("histogram", "s", "Seconds", explicit_bucket_boundaries_advisory=[0.1, 1, 10])
    for value in (0.05, 0.5, 5, 50):
        histogram.record(value, attributes, context=in_span)
    other.create_histogram("integers").record(4)
    exponential = meter.create_histogram("exponential", "s")
    for value in (0, 0.001, 1, 1000):
        exponential.record(value, attributes, context=in_span)
    other.create_histogram("exponential.zero").record(0)
    data = reader.get_metrics_data()
    assert data is not None
    provider.shutdown()
    return data


def measurement(value: float, attributes: dict[str, Any] | None) -> Any:
    from opentelemetry.metrics import Observation

    return Observation(value, attributes)


def make_logs() -> list[ReadableLogRecord]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("logs", "3", "https://example.org/logs", {"scope": True})
    bodies = ["text", "", None, 5, 1.0, True, b"\x01", ["a", 1, None], {"z": 1, "a": {"b": [1.5]}}]
    for number, body in enumerate(bodies):
        logger.emit(
            LogRecord(
                timestamp=NOW + number,
                observed_timestamp=NOW + 500,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body=body,
                attributes=NESTED,
                event_name="event",
            )
        )
    span = NonRecordingSpan(SpanContext(5, 6, False, SAMPLED))
    logger.emit(LogRecord(observed_timestamp=NOW + 900, context=trace.set_span_in_context(span), body="bare"))
    return [found for found in exporter.get_finished_logs()]


@pytest.fixture
def collected(
    stack_home: Home, clickhouse_server: Home, collector_binary: Path, tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """OTLP gRPC endpoint of a collector and the URL of the database that it writes to."""
    url = stack_home.clickhouse_url + "_collected"
    migrate(url)
    environment = {
        **collector.environment(stack_home),
        "CLICKHOUSE_DATABASE": "otel_collected",
        "QUEUE_DIRECTORY": str(tmp_path / "queue"),
    }
    log = (tmp_path / "collector.log").open("wb")
    command = [str(collector_binary), "--config", str(collector.CONFIG)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        wait(lambda: collector.check(stack_home), 30, process, tmp_path / "collector.log")
        yield f"http://127.0.0.1:{stack_home.ports['otlp_grpc']}", url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


TABLES = {
    "otel_traces": ("Timestamp, SpanId", 9),
    "otel_traces_trace_id_ts": ("TraceId, Start", 3),
    "otel_logs": ("Timestamp, Body", 10),
    "otel_metrics_gauge": ("MetricName, TimeUnix, toString(Attributes)", 2),
    "otel_metrics_sum": ("MetricName, TimeUnix, toString(Attributes)", 5),
    "otel_metrics_histogram": ("MetricName, TimeUnix", 2),
    "otel_metrics_exponential_histogram": ("MetricName, TimeUnix", 2),
}


def test_the_direct_writer_and_the_collector_write_the_same_rows(
    clickhouse: ClickHouse, collected: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, url = collected
    spans, metrics, logs = make_spans(), make_metrics(), make_logs()
    caplog.set_level(logging.CRITICAL)  # the OTLP exporter logs the attribute that it cannot encode

    traces, points, records = (
        exporter(endpoint=endpoint, insecure=True, timeout=20)
        for exporter in (OTLPSpanExporter, OTLPMetricExporter, OTLPLogExporter)
    )
    assert traces.export(spans).name == "SUCCESS"
    assert points.export(metrics).name == "SUCCESS"
    assert records.export(logs).name == "SUCCESS"
    for exporter in (traces, points, records):
        exporter.shutdown()

    writer = DirectWriter(clickhouse.otel_url)
    writer.write_spans(spans)
    writer.write_metrics(metrics)
    writer.write_logs(logs)
    writer.close()

    for table, (order, expected) in TABLES.items():
        direct = dump(clickhouse.otel_url, table, order)
        deadline = time.monotonic() + 20
        while (by_collector := dump(url, table, order)).count("\n") < direct.count("\n"):
            assert time.monotonic() < deadline, f"{table}: the collector has written {by_collector.count(chr(10))} rows"
            time.sleep(0.2)
        assert direct.count("Row ") == expected, table
        assert by_collector == direct, table


def test_summaries_come_through_the_collector(stack_home: Home, collected: tuple[str, str]) -> None:
    """The Python SDK never makes one, so the direct writer has none to write; other senders may."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="summary")
    point = metric.summary.data_points.add(time_unix_nano=NOW, count=3, sum=6)
    point.quantile_values.add(quantile=0.5, value=2)
    answer = httpx.post(
        f"http://127.0.0.1:{stack_home.ports['otlp_http']}/v1/metrics",
        content=request.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    )
    assert answer.is_success, answer.text
    deadline = time.monotonic() + 20
    while not (found := dump(collected[1], "otel_metrics_summary", "TimeUnix")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    values = dict(line.split(":", 1) for line in found.splitlines() if ":" in line)
    assert values["MetricName"].strip() == "summary" and values["Count"].strip() == "3"
    assert values["ValueAtQuantiles.Quantile"].strip() == "[0.5]"


def dump(url: str, table: str, order: str) -> str:
    """Every column of every row, computed ones too but the time of the insert, one to a line."""
    address = httpx.URL(url)
    answer = httpx.post(
        address.copy_with(path="/"),
        params={"database": address.path.strip("/"), "asterisk_include_materialized_columns": "1", "final": "1"},
        content=f"SELECT * EXCEPT InsertedAt FROM {table} ORDER BY {order} FORMAT Vertical",
        timeout=20,
    )
    assert answer.is_success, answer.text
    return answer.text


def test_what_cannot_be_utf_8_costs_only_itself(clickhouse: ClickHouse) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    tracer.start_span("good", attributes={"text": "ä"}).end()
    tracer.start_span("half \ud800", attributes={"text": "a\udfffb", "other": "kept"}).end()
    writer = DirectWriter(clickhouse.otel_url)
    writer.write_spans(exporter.get_finished_spans())
    writer.close()
    query = "SELECT SpanName, SpanAttributes['text'], SpanAttributes['other'] FROM otel_traces ORDER BY SpanName"
    assert clickhouse.rows(query) == [["good", "ä", ""], ["half ?", "a?b", "kept"]]


def test_times_beyond_64_bits_cost_only_themselves(clickhouse: ClickHouse) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    tracer.start_span("good").end()
    odd = tracer.start_span("odd", start_time=2**63 + 5)
    odd.add_event("event", timestamp=2**64 - 1)
    odd.end(2**63 + 7)
    writer = DirectWriter(clickhouse.otel_url)
    writer.write_spans(exporter.get_finished_spans())
    writer.close()
    assert clickhouse.rows("SELECT SpanName, Duration FROM otel_traces WHERE SpanName = 'odd'") == [["odd", 2]]
    assert clickhouse.rows("SELECT count() FROM otel_traces") == [[2]]


def test_a_refused_write_raises_and_succeeds_when_repeated(clickhouse: ClickHouse, stack_home: Home) -> None:
    spans = make_spans()
    nowhere = DirectWriter("http://otel:wrong@127.0.0.1:1/otel")
    with pytest.raises(Exception, match="Connection refused"):
        nowhere.write_spans(spans)
    writer = DirectWriter(clickhouse.otel_url)
    for batch in (spans, spans, spans[:3], spans[2:]):  # the same batch, and other borders
        writer.write_spans(batch)
    writer.write_spans([])
    writer.close()
    assert clickhouse.rows("SELECT count() FROM otel_traces FINAL") == [[len(spans)]]
    assert clickhouse.rows("SELECT run_id, input_tokens FROM model_calls") == [["run-1", 12]]
