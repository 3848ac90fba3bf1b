"""The whole telemetry package on real stores: an agent runs, everything arrives, nothing waits for anything else."""

import logging
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from agno.agent import Agent
from agno.db.postgres import PostgresDb

from runtime.offline import OfflineModel
from telemetry import pipeline, recorder
from telemetry.pipeline import Settings, Telemetry
from tests.integration.conftest import ClickHouse

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there
Start = Callable[..., Telemetry]


@pytest.fixture
def start(postgres: str) -> Iterator[Start]:
    db = PostgresDb(db_url=postgres.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
    for table in ("traces", "spans"):
        db._get_table(table_type=table, create_table_if_not_found=True)
    db.db_engine.dispose()
    started: list[Telemetry] = []

    def begin(**settings: str | None) -> Telemetry:
        given = {"service_name": "agent-runtime", "environment": "test", "database_url": postgres, **settings}
        telemetry = pipeline.start(Settings(**given))  # type: ignore[arg-type]
        recorder.install(telemetry)
        started.append(telemetry)
        return telemetry

    yield begin
    recorder.uninstall()
    for telemetry in started:
        telemetry.shutdown(1)


def run(session: str = "s1") -> None:
    Agent(id="support", name="Support", model=OfflineModel(latency=0), telemetry=False).run("hello", session_id=session)


def stored(postgres: str) -> int:
    with psycopg.connect(postgres) as connection:
        row = connection.execute("SELECT count(*) FROM agno.agno_spans").fetchone()
    return row[0] if row else 0


def test_direct_mode_fills_postgres_and_clickhouse(start: Start, postgres: str, clickhouse: ClickHouse) -> None:
    telemetry = start(mode="direct", clickhouse_url=clickhouse.otel_url)
    with telemetry.tracer.start_as_current_span("webhook support"):
        logging.getLogger("some.library").warning("careful")
        run()
    assert telemetry.flush(20)
    telemetry.shutdown(20)

    assert stored(postgres) == 3
    spans = clickhouse.rows("SELECT SpanName, TraceId FROM otel_traces FINAL ORDER BY SpanName")
    assert [name for name, _ in spans] == ["chat offline", "invoke_agent Support", "webhook support"]
    (trace_id,) = {trace for _, trace in spans}
    logs = clickhouse.rows("SELECT Body, SeverityText, TraceId FROM otel_logs WHERE Body = 'careful'")
    assert logs == [["careful", "WARN", trace_id]]
    counted = clickhouse.rows("SELECT Value FROM otel_metrics_sum WHERE MetricName = 'agno.agent.runs'")
    assert counted == [[1]]
    (exemplar,) = clickhouse.rows(
        "SELECT Exemplars.TraceId FROM otel_metrics_histogram WHERE MetricName = 'agno.agent.duration'"
    )
    assert exemplar == [[trace_id]]


def test_a_dead_clickhouse_holds_back_neither_runs_nor_postgres(start: Start, postgres: str) -> None:
    telemetry = start(mode="direct", clickhouse_url=f"{NOWHERE}/otel")
    began = time.monotonic()
    for n in range(20):
        run(f"s{n}")
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 20
    while (health := telemetry.health())["postgres"]["exported"] < 40 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stored(postgres) == 40
    assert health["clickhouse"]["queued"] == 40
    assert health["clickhouse"]["last_error"]
    well = {"queued": 0, "exported": 40, "dropped": 0, "failed": 0, "cut": 0, "reasons": {}, "last_error": None}
    assert health["postgres"] == well


def test_a_dead_collector_keeps_the_spans_in_a_bounded_queue_and_shutdown_ends(
    start: Start, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    telemetry = start(mode="collector", otlp_endpoint=NOWHERE)
    for n in range(20):
        run(f"s{n}")
    telemetry.flush(0.1)
    assert telemetry.health()["collector"]["dropped"] > 0
    began = time.monotonic()
    telemetry.shutdown(2)
    assert time.monotonic() - began < 20
    health = telemetry.health()["collector"]
    assert health["exported"] == 0
    assert health["dropped"] == 40


def test_what_is_counted_is_what_api_metrics_shows(start: Start, clickhouse: ClickHouse) -> None:
    telemetry = start(mode="direct", clickhouse_url=clickhouse.otel_url)
    run()
    assert telemetry.flush(20)
    body, content_type = telemetry.exposition.prometheus()
    assert content_type.startswith("text/plain")
    assert 'agno_agent_runs_total{agent_id="support",kind="agent",status="completed"} 1.0' in body.decode()
    assert 'agno_telemetry_spans_total{destination="postgres",outcome="exported"} 2.0' in body.decode()


def test_off_is_off(start: Start, postgres: str) -> None:
    telemetry = start(mode="off")
    run()
    assert telemetry.flush(1)
    assert telemetry.exposition.prometheus()[0] == b""
    assert stored(postgres) == 0
