"""The schema on the real engine: migrations, retention, and that nothing is counted twice."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from telemetry.clickhouse.client import connect
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import RETENTION, SCHEMA, MigrationError, migrate
from tests.integration.conftest import ClickHouse

DAY = 86_400 * 10**9
SECOND = 10**9
MIDNIGHT = time.time_ns() // DAY * DAY


@pytest.fixture
def otel(clickhouse: ClickHouse) -> Iterator[Client]:
    """The writing user, without final: it sees what is stored."""
    client = connect(clickhouse.otel_url)
    yield client
    client.close()


@pytest.fixture
def reader(clickhouse: ClickHouse) -> Iterator[Client]:
    client = connect(clickhouse.readonly_url)
    yield client
    client.close()


@pytest.fixture
def writer(clickhouse: ClickHouse) -> Iterator[DirectWriter]:
    direct = DirectWriter(clickhouse.otel_url)
    yield direct
    direct.close()


def run_spans(run: str, start: int) -> list[ReadableSpan]:
    """A run with a model call and a failed tool call, as the recorder names them; `start` in Unix nanoseconds."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    ids = {"agno.run.id": run, "agno.run.attempt": 1, "session.id": "s", "gen_ai.agent.id": "helper"}

    def attributes(operation: str, **more: Any) -> dict[str, Any]:
        return {**ids, "gen_ai.operation.name": operation, **{key.replace("__", "."): v for key, v in more.items()}}

    tokens = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20}
    outcome = {"agno.run.status": "completed", "agno.run.kind": "agent", "agno.queue.wait": 0.25, **tokens}
    root = tracer.start_span("invoke_agent", attributes={**attributes("invoke_agent"), **outcome}, start_time=start)
    inside = set_span_in_context(root)
    model = {**attributes("chat", gen_ai__request__model="m-1"), **tokens}
    tracer.start_span("chat m-1", inside, attributes=model, start_time=start + SECOND).end(start + 2 * SECOND)
    tool = tracer.start_span(
        "execute_tool add",
        inside,
        attributes=attributes("execute_tool", gen_ai__tool__name="add", error__type="ValueError"),
        start_time=start + 2 * SECOND,
    )
    tool.set_status(Status(StatusCode.ERROR, "broken"))
    tool.end(start + 3 * SECOND)
    root.end(start + 4 * SECOND)
    return list(exporter.get_finished_spans())


def count(client: Client, table: str) -> int:
    return int(client.command(f"SELECT count() FROM {table}"))


def test_runs_and_calls_read_well_and_are_counted_once(
    writer: DirectWriter, otel: Client, reader: Client, clickhouse: ClickHouse
) -> None:
    first, second = run_spans("run-1", MIDNIGHT), run_spans("run-2", MIDNIGHT)
    writer.write_spans(first + second)
    writer.write_spans(first[1:] + second)  # a retry with other borders
    writer.write_spans(first)
    writer.write_spans(first)  # a retry with the same borders
    assert count(reader, "otel_traces") == 6
    for client in (otel, reader):  # the views need no setting
        assert count(client, "runs") == 2 and count(client, "model_calls") == 2 and count(client, "tool_calls") == 2
        run = "run_id, attempt, kind, agent_id, status, duration, queue_wait, session_id, input_tokens, output_tokens"
        rows = client.query(f"SELECT {run} FROM runs ORDER BY run_id").result_rows
        assert rows[0] == ("run-1", 1, "agent", "helper", "completed", 4.0, 0.25, "s", 100, 20)
        calls = client.query("SELECT model, duration, sum(input_tokens) FROM model_calls GROUP BY ALL").result_rows
        assert calls == [("m-1", 1.0, 200)]
        tools = client.query("SELECT tool, failed, error_type, error_message FROM tool_calls LIMIT 1").result_rows
        assert tools == [("add", 1, "ValueError", "broken")]
    assert count(otel, "otel_traces") > 6  # as stored, before a merge
    otel.command("OPTIMIZE TABLE otel_traces FINAL")
    assert count(otel, "otel_traces") == 6


def test_a_batch_over_midnight_and_its_copies_meet(writer: DirectWriter, reader: Client) -> None:
    spans = run_spans("run-1", MIDNIGHT - 2 * SECOND)
    for batch in (spans, spans[:2], spans[1:], list(reversed(spans))):
        writer.write_spans(batch)
    assert count(reader, "otel_traces") == 3
    days = reader.query("SELECT toDate(Timestamp) AS day, count() FROM otel_traces GROUP BY day ORDER BY day")
    assert [number for _, number in days.result_rows] == [2, 1]


def test_grafanas_lookup_of_a_trace_by_its_id(writer: DirectWriter, reader: Client) -> None:
    spans = run_spans("run-1", MIDNIGHT)
    for batch in (spans, spans[:1], spans):
        writer.write_spans(batch)
    trace_id = f"{spans[0].context.trace_id:032x}"
    query = f"""
        WITH '{trace_id}' AS trace_id,
            (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_start,
            (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_end
        SELECT SpanName FROM otel_traces
        WHERE TraceId = trace_id AND Timestamp >= trace_start AND Timestamp <= trace_end
        ORDER BY Timestamp"""
    names = [row[0] for row in reader.query(query).result_rows]
    assert names == ["invoke_agent", "chat m-1", "execute_tool add"]


def some_metrics() -> MetricsData:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("test")
    for agent in ("a", "b"):
        meter.create_counter("requests").add(2, {"agent_id": agent})
        meter.create_histogram("duration").record(0.5, {"agent_id": agent})
        meter.create_gauge("depth").set(7, {"agent_id": agent})
    data = reader.get_metrics_data()
    assert data is not None
    provider.shutdown()
    return data


def some_logs() -> list[ReadableLogRecord]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("test")
    for number in range(5):  # at one nanosecond: only the text tells them apart
        logger.emit(LogRecord(timestamp=MIDNIGHT, body=f"line {number}"))
    return list(exporter.get_finished_logs())


def test_metrics_and_logs_sent_again_are_counted_once(writer: DirectWriter, reader: Client) -> None:
    data, logs = some_metrics(), some_logs()
    for batch in (logs, logs[:3], logs[2:], logs):
        writer.write_metrics(data)
        writer.write_logs(batch)
    assert count(reader, "otel_logs") == 5
    assert reader.query("SELECT count(), sum(Value) FROM otel_metrics_sum").result_rows == [(2, 4.0)]
    assert reader.query("SELECT count(), sum(Count) FROM otel_metrics_histogram").result_rows == [(2, 2)]
    assert count(reader, "otel_metrics_gauge") == 2


def test_a_batch_with_wrong_clocks_is_stored(writer: DirectWriter, reader: Client) -> None:
    """More days in one batch than the server's default limit of partitions, in the future because of the retention."""
    spans = [span for day in range(150) for span in run_spans(f"run-{day}", MIDNIGHT + day * DAY)]
    writer.write_spans(spans)
    assert count(reader, "otel_traces") == len(spans)


def test_what_is_older_than_the_retention_goes(writer: DirectWriter, otel: Client, clickhouse: ClickHouse) -> None:
    writer.write_spans(run_spans("old", MIDNIGHT - 10 * DAY) + run_spans("new", MIDNIGHT))
    assert count(otel, "runs") == 2
    migrate(clickhouse.otel_url, retention_days=5)
    otel.command("OPTIMIZE TABLE otel_traces FINAL")
    assert otel.query("SELECT run_id FROM runs").result_rows == [("new",)]
    engines = dict(
        otel.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()").result_rows
    )
    for table, column in RETENTION.items():
        assert f"TTL toDateTime({column}) + toIntervalDay(5)" in engines[table]
    with pytest.raises(MigrationError, match="1 to 3650 days"):
        migrate(clickhouse.otel_url, retention_days=0)


def test_migrations_run_once_and_are_never_edited(clickhouse: ClickHouse, tmp_path: Path) -> None:
    url, files = clickhouse.otel_url, tmp_path / "schema"
    shutil.copytree(SCHEMA, files)
    assert migrate(url, directory=files) == []
    number = len(list(files.iterdir())) + 1
    (files / f"{number:04d}_more.sql").write_text(
        "-- one; two\nCREATE TABLE IF NOT EXISTS more (a UInt8) ENGINE = Log;\n"
    )
    assert migrate(url, directory=files) == [f"{number:04d}_more"]
    assert migrate(url, directory=files) == []
    with pytest.raises(MigrationError, match=f"does not know: {number:04d}_more"):
        migrate(url)
    with (files / f"{number:04d}_more.sql").open("a") as file:
        file.write("-- edited\n")
    with pytest.raises(MigrationError, match=r"_more.sql was edited after it had been applied"):
        migrate(url, directory=files)


def test_the_command(clickhouse: ClickHouse) -> None:
    def run(url: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "CLICKHOUSE_URL"}
        environment |= {"CLICKHOUSE_URL": url} if url else {}
        command = [sys.executable, "-m", "telemetry.clickhouse", "migrate", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    again = run(clickhouse.otel_url)
    assert (again.returncode, again.stdout) == (0, "the schema is up to date\n")
    unset = run(None)
    assert unset.returncode == 2 and "CLICKHOUSE_URL is not set" in unset.stderr
    wrong = run(clickhouse.otel_url.replace(clickhouse.password, "wrong"))
    assert wrong.returncode == 1 and "Authentication failed" in wrong.stderr and "Traceback" not in wrong.stderr
