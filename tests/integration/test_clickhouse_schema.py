"""The schema on the real engine: migrations, retention, and that nothing is counted twice."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from telemetry.clickhouse.cluster import Cluster
from telemetry.clickhouse.direct import DirectWriter
from telemetry.clickhouse.migrate import RETENTION, ROLLUPS, SCHEMA, MigrationError, applied_table, migrate, read
from tests.integration.conftest import ClickHouse

DAY = 86_400 * 10**9
SECOND = 10**9
MIDNIGHT = time.time_ns() // DAY * DAY


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
    assert "TTL toDateTime(hour) + toIntervalDay(400)" in engines["operations_by_hour"]
    with pytest.raises(MigrationError, match="1 to 3650 days"):
        migrate(clickhouse.otel_url, retention_days=0)
    with pytest.raises(MigrationError, match="1 to 3650 days"):
        migrate(clickhouse.otel_url, rollup_days=0)


HOSTILE = {
    "empty": "",
    "nul": "a\x00b\x00",
    "emoji": "👩‍👩‍👧‍👦 \U0010ffff e\u0301 \u202e",
    "quotes": "'; DROP TABLE otel_traces; -- \\N \\ \t\r\n\"`{}[]",
    "large": "0123456789abcdef" * 655_360,  # 10 MB
    "": "a key without a name",
    "key \x00 \n 👩": "a key of all sorts",
    "llm.input_messages.0.message.role.llm.input_messages.99999999999999999999.message.role": "no message",
    **{f"attribute.{n}": str(n) * (n % 7) for n in range(2_000)},
}


def test_whatever_is_in_a_span_comes_back(writer: DirectWriter, otel: Client, reader: Client) -> None:
    exporter = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=5_000)
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    span = tracer.start_span("\x00 👩", start_time=MIDNIGHT, attributes=HOSTILE)
    span.add_event("\x00", {"text": HOSTILE["emoji"]}, timestamp=MIDNIGHT + 1)
    span.set_status(Status(StatusCode.ERROR, HOSTILE["quotes"]))
    span.end(MIDNIGHT + 7)
    for n in range(100):  # neighbours in its block
        attributes = {"gen_ai.agent.id": "helper", "session.id": f"s-{n % 3}", "text": f"{n} \x00" * n}
        tracer.start_span("other", start_time=MIDNIGHT + n, attributes=attributes).end(MIDNIGHT + 2 * n)
    spans = exporter.get_finished_spans()
    writer.write_spans(spans)
    writer.write_spans(spans[:1])
    otel.command("OPTIMIZE TABLE otel_traces FINAL")
    columns = "SpanName, SpanAttributes, Events.Name, Events.Attributes, StatusMessage, Duration, SpanId"
    rows = {row[-1]: row[:-1] for row in reader.query(f"SELECT {columns} FROM otel_traces").result_rows}
    assert len(rows) == 101
    name, attributes, events, of_events, message, duration = rows[f"{spans[0].context.span_id:016x}"]
    assert attributes == {key: value for key, value in HOSTILE.items() if key}  # OpenTelemetry knows no empty key
    assert (name, events, of_events) == ("\x00 👩", ["\x00"], [{"text": HOSTILE["emoji"]}])
    assert (message, duration) == (HOSTILE["quotes"], 7)
    for span in spans[1:]:
        assert rows[f"{span.context.span_id:016x}"][1] == dict(span.attributes or {})
    assert count(reader, "messages") == 0


def test_messages_and_retrievals_read_well(writer: DirectWriter, reader: Client) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    call = "llm.output_messages.0.message.tool_calls.0.tool_call"
    chat = {
        "gen_ai.operation.name": "chat",
        "agno.run.id": "run-1",
        "gen_ai.usage.cache_creation.input_tokens": 7,
        **{f"llm.input_messages.{n}.message.role": "user" for n in range(12)},
        **{f"llm.input_messages.{n}.message.content": f"text {n}" for n in range(12)},
        "llm.output_messages.0.message.role": "assistant",
        f"{call}.id": "c1",
        f"{call}.function.name": "add",
        f"{call}.function.arguments": '{"a":1}',
    }
    retrieval = {
        "gen_ai.operation.name": "retrieval",
        "input.value": "who?",
        **{f"retrieval.documents.{n}.document.content": "text" for n in range(3)},
    }
    for attributes in (chat, retrieval):
        tracer.start_span("span", start_time=MIDNIGHT, attributes=attributes).end(MIDNIGHT + SECOND)
    writer.write_spans(exporter.get_finished_spans())
    writer.write_spans(exporter.get_finished_spans()[:1])
    query = "SELECT direction, position, role, content, tool_calls FROM messages WHERE run_id = 'run-1'"
    rows = reader.query(f"{query} ORDER BY direction, position").result_rows
    assert rows[:12] == [("input", n, "user", f"text {n}", []) for n in range(12)]
    assert rows[12:] == [("output", 0, "assistant", "", [("c1", "add", '{"a":1}')])]
    assert reader.query("SELECT cache_write_tokens, cost FROM model_calls").result_rows == [(7, None)]
    assert reader.query("SELECT query, documents, duration FROM retrievals").result_rows == [("who?", 3, 1.0)]


def test_the_engine_can_read_every_statement_for_a_cluster(otel: Client) -> None:
    """It has no cluster to run them on."""
    cluster = Cluster("main", "otel")
    statements = [statement for migration in read() for statement in migration.statements(cluster)]
    for statement in [applied_table(cluster), *statements]:
        assert "ON CLUSTER 'main'" in statement and otel.command(f"EXPLAIN AST {statement}")
    tables = {name for name in re.findall(r"TABLE IF NOT EXISTS (\w+)", " ".join(statements))}
    assert {f"{table}_local" for table in {**RETENTION, **ROLLUPS}} | {*RETENTION, *ROLLUPS} == tables
    for statement in statements:
        views_of_all = statement.startswith("CREATE VIEW") or "ENGINE = Distributed(" in statement
        assert views_of_all or not re.search(r"FROM (?!\w+_local)\w", statement), statement
        assert "ENGINE = ReplacingMergeTree" not in statement and "non_replicated" not in statement


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
