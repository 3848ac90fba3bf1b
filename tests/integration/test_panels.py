"""Every panel of every dashboard on the real engine, asked as the page asks it: on nothing, on little, on much."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benchmarks.generated import generate, make_phrases
from benchmarks.panels import panels
from dashboards.viewer.queries import PANEL
from dashboards.viewer.queries import ClickHouse as Page
from telemetry.catalogue import INSTRUMENTS, Instrument
from telemetry.clickhouse.direct import DirectWriter
from tests.integration.conftest import ClickHouse
from tests.integration.test_clickhouse_rollups import refresh

OF_THE_COLLECTOR = (
    Instrument("otelcol_exporter_queue_size", "observable_gauge", "{batch}", "", ("exporter",)),
    Instrument("otelcol_exporter_send_failed_spans", "counter", "{span}", "", ("exporter",)),
)
SPANS = 16_000  # over a day; a run has eight
Answers = dict[str, list[list[Any]]]


@pytest.fixture
def page(clickhouse: ClickHouse) -> Iterator[Page]:
    page = Page(clickhouse.readonly_url)
    yield page
    page.close()


def ask(page: Page, now: int | None = None, only: str = "", **values: str) -> Answers:
    """The rows of every panel by `dashboard: title`."""
    asked = panels({"agent": "agent-0", "run_id": "", **values}, now, only=only)
    return {
        name.removesuffix(" (rollup)"): page.query(sql, parameters, PANEL)["data"] for name, sql, parameters in asked
    }


def with_something(answers: Answers) -> set[str]:
    """The panels that show something: one row without a value is nothing."""
    return {name for name, rows in answers.items() if any(value not in (None, 0) for row in rows for value in row)}


def test_on_nothing_every_panel_answers(page: Page) -> None:
    shown = with_something(ask(page))
    assert shown <= {"storage: ClickHouse", "storage: Tables of ClickHouse"}


def test_on_little_every_panel_shows_it(page: Page, otel: Client, writer: DirectWriter) -> None:
    generated(otel, 1600)
    every_instrument(writer)
    run, trace = newest_run(otel)
    retry(otel, run)
    otel.insert("otel_logs", [[datetime.now(UTC), trace, "hello"]], ["Timestamp", "TraceId", "Body"])
    refresh(otel)
    answers = ask(page, now=int(time.time() * 1000) + 2000, run_id=run)  # ranges end with a whole second
    assert set(answers) - with_something(answers) == set()
    assert ask(page, only="run", run_id=trace)["run: What happened"] == answers["run: What happened"]


def test_on_much_every_panel_stays_within_the_limits_of_the_page(page: Page, otel: Client) -> None:
    generated(otel, SPANS)
    run, _ = newest_run(otel)
    answers = ask(page, run_id=run)
    assert max(map(len, answers.values())) < PANEL.rows
    in_all = otel.query("SELECT count() FROM runs WHERE started_at >= now() - INTERVAL 1 HOUR").result_rows[0][0]
    assert abs(answers["fleet: Runs"][0][0] - in_all) <= 4  # the range begins with a whole minute
    worst = answers["fleet: Agents, the worst first"]
    assert sum(row[2] for row in worst) == answers["fleet: Runs"][0][0]
    assert [row[3] for row in worst] == sorted((row[3] for row in worst), reverse=True)
    assert len(answers["run: What happened"]) == 8


def test_a_counter_goes_on_over_a_restart_and_begins_with_what_the_range_saw(page: Page, writer: DirectWriter) -> None:
    for count in (5, 2):  # processes one after the other; each begins at nothing
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        counter = provider.get_meter("test").create_counter("agno.webhook.requests")
        attributes = {"agent_id": "agent-0", "source": "github", "outcome": "accepted"}
        for _ in range(2):
            counter.add(count, attributes)
            writer.write_metrics(reader.get_metrics_data())  # type: ignore[arg-type]
            time.sleep(0.01)
        provider.shutdown()
    answers = ask(page, int(time.time() * 1000) + 2000, "pipeline")
    assert answers["pipeline: Webhooks"] == [[14, 14]]
    assert answers["pipeline: Sources"] == [["github", 14, 14, 0, 0]]
    later = ask(page, int(time.time() * 1000) + 3_600_000 + 3_000, "pipeline")  # a range that begins after it all
    assert later["pipeline: Sources"] == []


def generated(otel: Client, spans: int) -> None:
    """Of the last day."""
    make_phrases(otel)
    generate(otel, "otel_traces", 0, spans, spans, days=1, sentence=1)
    otel.command("DROP TABLE phrases")
    refresh(otel)


def newest_run(otel: Client) -> tuple[str, str]:
    query = "SELECT run_id, trace_id FROM runs WHERE agent_id = 'agent-0' ORDER BY started_at DESC LIMIT 1"
    run, trace = otel.query(query).result_rows[0]
    return str(run), str(trace)


def retry(otel: Client, run: str) -> None:
    """A second attempt at the run, which fails too; it was said to be slow, and by whom."""
    columns = "Timestamp, TraceId, SpanName, SpanAttributes, Duration, StatusCode, StatusMessage"
    otel.command(
        f"""INSERT INTO otel_traces ({columns}, SpanId)
        SELECT now64(9) - 60 AS Timestamp, TraceId, SpanName, mapUpdate(SpanAttributes, map('agno.run.attempt', '2',
            'agno.run.status', 'error', 'error.type', 'TimeoutError', 'agno.delivery.source', 'github')),
            Duration, 'Error', 'too slow', 'abcdef0123456789'
        FROM otel_traces WHERE RunId = {{run:String}} AND Operation = 'invoke_agent'""",
        parameters={"run": run},
    )
    for part, operation in (("chat", "1"), ("execute_tool", "2")):
        otel.command(
            f"""INSERT INTO otel_traces ({columns}, SpanId)
            SELECT now64(9) - 50 AS Timestamp, TraceId, SpanName,
                mapUpdate(SpanAttributes, map('error.type', 'Refused')), Duration, 'Error', 'no',
                'abcdef012345678{operation}'
            FROM otel_traces WHERE RunId = {{run:String}} AND Operation = '{part}' LIMIT 1""",
            parameters={"run": run},
        )


def every_instrument(writer: DirectWriter) -> None:
    """Each with all its values, seen twice."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    recording = [record_with(provider, instrument) for instrument in (*INSTRUMENTS, *OF_THE_COLLECTOR)]
    for _ in range(2):
        for record in recording:
            record()
        writer.write_metrics(reader.get_metrics_data())  # type: ignore[arg-type]
        time.sleep(0.01)
    provider.shutdown()


def record_with(provider: MeterProvider, instrument: Instrument) -> Any:
    meter = provider.get_meter("test")
    values = max((len(values) for values in instrument.values.values()), default=1)
    attributes = [
        {
            name: instrument.values.get(name, ("agent-0",))[n % len(instrument.values.get(name, ("agent-0",)))]
            for name in instrument.attributes
        }
        for n in range(values)
    ]
    if instrument.kind == "observable_gauge":
        found = [Observation(3, one) for one in attributes]

        def observe(_: CallbackOptions) -> list[Observation]:
            return found

        meter.create_observable_gauge(instrument.name, [observe])
        return lambda: None
    if instrument.kind == "histogram":
        histogram = meter.create_histogram(instrument.name, explicit_bucket_boundaries_advisory=instrument.buckets)
        return lambda: [histogram.record(0.3, one) for one in attributes]
    create = meter.create_counter if instrument.kind == "counter" else meter.create_up_down_counter
    counter = create(instrument.name)
    return lambda: [counter.add(2, one) for one in attributes]
