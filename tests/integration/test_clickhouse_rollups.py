"""The rollups on the real engine: what they say, and that nothing sent again, late or in other batches changes it."""

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from telemetry.clickhouse.direct import DirectWriter
from tests.integration.test_clickhouse_schema import DAY, MIDNIGHT, SECOND, run_spans

HOUR = 3600 * SECOND
YESTERDAY = MIDNIGHT - DAY
TIERS = {"operations_by_minute": "minute", "operations_by_hour": "hour"}
QUANTILES = """
WITH
    sumMap(durations) AS counts,
    arrayCumSum(mapValues(counts)) AS running,
    level -> pow(2, (mapKeys(counts)[arrayFirstIndex(n -> n >= level * running[-1], running)] - 0.5) / 4) AS ms,
    level -> ms(level) / 1000 AS quantile
SELECT quantile(0.5), quantile(0.95), quantile(0.99) FROM operations_by_hour WHERE operation = 'chat'
"""


def refresh(otel: Client) -> None:
    """Now, rather than within 15 seconds."""
    for table in TIERS:
        otel.command(f"SYSTEM REFRESH VIEW {table}_mv")
        otel.command(f"SYSTEM WAIT VIEW {table}_mv")


def rolled_up(reader: Client, table: str) -> list[tuple[object, ...]]:
    columns = "operation, agent_id, name, outcome, sum(calls), sum(duration), sum(input_tokens), sum(cost), sum(priced)"
    return list(reader.query(f"SELECT {columns} FROM {table} GROUP BY 1, 2, 3, 4 ORDER BY 1, 3").result_rows)


def model_calls(durations: list[float], cost: str | None = None) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1", "gen_ai.agent.id": "helper"}
    attributes |= {"llm.cost.total": cost} if cost else {}
    for seconds in durations:
        span = tracer.start_span("chat m-1", attributes=attributes, start_time=YESTERDAY)
        span.end(YESTERDAY + round(seconds * SECOND))
    return list(exporter.get_finished_spans())


def test_what_is_sent_again_changes_no_sum(writer: DirectWriter, otel: Client, reader: Client) -> None:
    first = [span for n in range(3) for span in run_spans(f"run-{n}", YESTERDAY + n * HOUR)]
    second = run_spans("run-3", YESTERDAY + 50 * SECOND)  # in the first's hour, in two minutes of it
    writer.write_spans(first)
    refresh(otel)
    expected = [
        ("chat", "helper", "m-1", "Unset", 3, 3.0, 300, 0.0, 0),
        ("execute_tool", "helper", "add", "Error", 3, 3.0, 0, 0.0, 0),
        ("invoke_agent", "helper", "agent", "completed", 3, 12.0, 300, 0.0, 0),
    ]
    assert [rolled_up(reader, table) for table in TIERS] == [expected, expected]
    for batch in (first, first[2:], first[:4] + second, list(reversed(second)), second[:1]):
        writer.write_spans(batch)
        refresh(otel)
    expected = [(*row[:4], 4, row[5] / 3 * 4, row[6] / 3 * 4, *row[7:]) for row in expected]  # type: ignore[operator]
    assert [rolled_up(reader, table) for table in TIERS] == [expected, expected]
    otel.command("OPTIMIZE TABLE otel_traces FINAL")
    refresh(otel)
    assert [rolled_up(reader, table) for table in TIERS] == [expected, expected]


def test_spans_that_have_gone_are_still_counted(writer: DirectWriter, otel: Client, reader: Client) -> None:
    """A late copy of a span whose day was dropped must not replace the sum of all of them."""
    spans = [span for n in range(3) for span in run_spans(f"run-{n}", YESTERDAY)]
    writer.write_spans(spans)
    refresh(otel)
    before = rolled_up(reader, "operations_by_hour")
    otel.command("TRUNCATE TABLE otel_traces")
    writer.write_spans(spans[:3])
    refresh(otel)
    assert [rolled_up(reader, table) for table in TIERS] == [before, before]


def test_quantiles_are_within_a_bucket_of_the_true_ones(writer: DirectWriter, otel: Client, reader: Client) -> None:
    durations = [1.01**n / 100 for n in range(700)]  # 10 ms to 10 s
    writer.write_spans(model_calls(durations))
    refresh(otel)
    (found,) = reader.query(QUANTILES).result_rows
    for level, quantile in zip((0.5, 0.95, 0.99), found, strict=True):
        assert quantile == pytest.approx(durations[int(level * 700)], rel=0.11)


def test_durations_of_nothing_and_of_days_have_buckets(writer: DirectWriter, otel: Client, reader: Client) -> None:
    writer.write_spans(model_calls([0, 0.001, 0.0011, 400_000]))
    refresh(otel)
    (buckets,) = reader.query("SELECT durations FROM operations_by_hour").result_rows[0]
    assert buckets == {0: 2, 1: 1, 115: 1}


def test_a_cost_that_is_not_known_is_not_zero(writer: DirectWriter, otel: Client, reader: Client) -> None:
    writer.write_spans(model_calls([1], cost="0.25") + model_calls([1]) + model_calls([1], cost="0"))
    refresh(otel)
    assert reader.query("SELECT cost, priced, calls FROM operations_by_hour").result_rows == [(0.25, 2, 3)]
    assert reader.query("SELECT cost FROM model_calls ORDER BY cost").result_rows == [(0.0,), (0.25,), (None,)]


def test_webhooks_are_counted_by_their_decision(writer: DirectWriter, otel: Client, reader: Client) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for decision in ("new", "duplicate", "duplicate"):
        attributes = {"agno.dedup.decision": decision, "agno.delivery.source": "github", "gen_ai.agent.id": "helper"}
        span = tracer.start_span("webhook helper", attributes=attributes, start_time=YESTERDAY)
        span.end(YESTERDAY + SECOND)
    tracer.start_span("GET /health", start_time=YESTERDAY).end(YESTERDAY + SECOND)  # no operation of an agent
    writer.write_spans(exporter.get_finished_spans())
    refresh(otel)
    found = reader.query("SELECT operation, name, outcome, calls FROM operations_by_hour ORDER BY calls").result_rows
    assert found == [("webhook", "github", "new", 1), ("webhook", "github", "duplicate", 2)]
