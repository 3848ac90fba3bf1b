"""Our spans in agno's trace tables, read back through agno's own code."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from agno.db.postgres import PostgresDb
from agno.os.routers.traces.schemas import TraceDetail
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from telemetry import replay, semconv
from telemetry.buffer import Rejected
from telemetry.clickhouse.spans import columns
from telemetry.postgres import PostgresSpans


@pytest.fixture
def agno(postgres: str) -> Iterator[PostgresDb]:
    db = PostgresDb(db_url=postgres.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
    for table in ("traces", "spans"):
        db._get_table(table_type=table, create_table_if_not_found=True)
    yield db
    db.db_engine.dispose()


@pytest.fixture
def exporter(postgres: str, agno: PostgresDb) -> Iterator[PostgresSpans]:
    it = PostgresSpans(postgres)
    yield it
    it.close()


def tracing() -> tuple[InMemorySpanExporter, Tracer]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "agent-runtime"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return memory, provider.get_tracer("test", "1")


def rows(database_url: str) -> dict[str, str]:
    """Each span, made again out of its row."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(f"SELECT {replay.COLUMNS} FROM agno.agno_spans".encode()).fetchall()
    return {row[0]: as_row(replay.span_of(row)) for row in found}


def as_row(span: ReadableSpan) -> str:
    """All that ClickHouse gets of it."""
    return str(columns([span]))


def span_id(span: ReadableSpan) -> str:
    return format(span.context.span_id, "016x")


def webhook_with_run(run_status: StatusCode = StatusCode.OK, **attributes: Any) -> list[ReadableSpan]:
    """A webhook's span, its run, and the run's model call, tool call and nested member run."""
    memory, tracer = tracing()
    identity = {semconv.RUN_ID: "run-1", semconv.SESSION_ID: "session-1", semconv.USER_ID: "ann"}
    run = {**identity, semconv.AGENT_ID: "support", semconv.RUN_KIND: "agent", semconv.SPAN_KIND: "AGENT", **attributes}
    with tracer.start_as_current_span("webhook support", kind=SpanKind.SERVER) as webhook:
        context = webhook.get_span_context()
    with tracer.start_as_current_span(
        "invoke_agent Support",
        context=provider_context(context),
        attributes={**run, "input.value": "where is it?", "output.value": "on its way"},
        links=[Link(context, {"why": "queued"})],
    ) as top:
        with tracer.start_as_current_span("chat offline", attributes={**identity, semconv.SPAN_KIND: "LLM"}) as call:
            call.add_event("first chunk", {"n": 1})
        with tracer.start_as_current_span("execute_tool track", attributes=identity) as tool:
            tool.set_status(Status(StatusCode.ERROR, "no such parcel"))
        nested = {**run, semconv.RUN_ID: "run-2", semconv.AGENT_ID: "member", semconv.PARENT_RUN_ID: "run-1"}
        with tracer.start_as_current_span("invoke_agent Member", attributes=nested):
            pass
        top.set_status(run_status)
    return list(memory.get_finished_spans())


def provider_context(context: Any) -> Any:
    from opentelemetry import trace

    return trace.set_span_in_context(trace.NonRecordingSpan(context))


def trace_id(spans: Sequence[ReadableSpan]) -> str:
    return format(spans[0].context.trace_id, "032x")


def test_agnos_pages_show_the_run(exporter: PostgresSpans, agno: PostgresDb) -> None:
    spans = webhook_with_run()
    exporter.send(spans)

    (trace,), total = agno.get_traces()
    assert total == 1
    assert (trace.run_id, trace.session_id, trace.user_id, trace.agent_id) == ("run-1", "session-1", "ann", "support")
    assert (trace.name, trace.status, trace.total_spans) == ("invoke_agent Support", "OK", 5)
    run = next(span for span in spans if span.name == "invoke_agent Support")
    assert trace.duration_ms == (run.end_time - run.start_time) // 1_000_000
    detail = TraceDetail.from_trace_and_spans(trace, agno.get_spans(trace_id=trace.trace_id))
    assert (detail.input, detail.output) == ("where is it?", "on its way")
    (root,) = detail.tree
    assert root.name == "invoke_agent Support"
    assert {node.name for node in root.spans or []} == {"chat offline", "execute_tool track", "invoke_agent Member"}


@pytest.mark.parametrize("seed", range(5))
def test_any_order_any_batches_sent_twice(exporter: PostgresSpans, agno: PostgresDb, seed: int) -> None:
    spans = webhook_with_run(StatusCode.ERROR)
    shuffled = [*spans, *spans]
    random.Random(seed).shuffle(shuffled)
    for n in range(0, len(shuffled), 3):
        exporter.send(shuffled[n : n + 3])

    (trace,), _ = agno.get_traces()
    assert (trace.run_id, trace.agent_id, trace.status, trace.total_spans) == ("run-1", "support", "ERROR", 5)


@pytest.mark.parametrize("seed", range(4))
def test_one_by_one_from_two_processes_at_once(postgres: str, agno: PostgresDb, seed: int) -> None:
    """Whichever span comes last, the trace is what its run says, and each span is as it was."""
    spans = webhook_with_run()
    run = next(span for span in spans if span.name == "invoke_agent Support")

    def send(order: Sequence[ReadableSpan]) -> None:
        exporter = PostgresSpans(postgres)
        for span in order:
            exporter.send([span])
        exporter.close()

    with ThreadPoolExecutor(2) as senders:
        for n in range(2):
            senders.submit(send, random.Random(10 * seed + n).sample(spans, len(spans)))
    (trace,), total = agno.get_traces()
    assert total == 1
    assert (trace.name, trace.status, trace.total_spans, trace.error_count) == ("invoke_agent Support", "OK", 5, 1)
    assert (trace.run_id, trace.session_id, trace.user_id, trace.agent_id) == ("run-1", "session-1", "ann", "support")
    assert trace.start_time.timestamp() == pytest.approx(run.start_time / 1e9, abs=2e-6)
    assert trace.duration_ms == (run.end_time - run.start_time) // 1_000_000
    assert rows(postgres) == {span_id(span): as_row(span) for span in spans}


@pytest.mark.parametrize("seed", range(4))
def test_the_last_attempt_says_how_it_ended(exporter: PostgresSpans, agno: PostgresDb, seed: int) -> None:
    """Attempts of a run, and what follows a pause, are top runs of one trace."""
    memory, tracer = tracing()
    with tracer.start_as_current_span("webhook support", kind=SpanKind.SERVER):
        for attempt, status in ((1, StatusCode.ERROR), (2, StatusCode.ERROR), (3, StatusCode.OK)):
            run = {semconv.RUN_ID: "run-1", semconv.AGENT_ID: "support", semconv.RUN_KIND: "agent"}
            with tracer.start_as_current_span("invoke_agent Support", attributes=run) as span:
                span.set_status(status)
                time.sleep(0.002 * attempt)
    spans = list(memory.get_finished_spans())
    last = spans[2]
    random.Random(seed).shuffle(spans)
    for span in spans:
        exporter.send([span])
    (trace,), _ = agno.get_traces()
    assert (trace.status, trace.total_spans) == ("OK", 4)
    assert trace.duration_ms == (last.end_time - last.start_time) // 1_000_000
    assert [node.name for node in TraceDetail.from_trace_and_spans(trace, agno.get_spans()).tree] == [last.name] * 3


@pytest.mark.parametrize("kind", ["team", "workflow"])
def test_teams_and_workflows_have_columns_of_their_own(exporter: PostgresSpans, agno: PostgresDb, kind: str) -> None:
    exporter.send(webhook_with_run(**{semconv.RUN_KIND: kind}))
    (trace,), _ = agno.get_traces()
    assert trace.agent_id is None
    assert getattr(trace, f"{kind}_id") == "support"


def test_nothing_of_a_span_is_lost(exporter: PostgresSpans, agno: PostgresDb, postgres: str) -> None:
    spans = webhook_with_run()
    exporter.send(spans)

    with psycopg.connect(postgres) as connection:
        rows = dict(connection.execute("SELECT span_id, attributes->'otel' FROM agno.agno_spans").fetchall())
    for span in spans:
        kept = rows[format(span.context.span_id, "016x")]
        assert (kept["start_ns"], kept["end_ns"]) == (span.start_time, span.end_time)
        assert kept["parent_span_id"] == (format(span.parent.span_id, "016x") if span.parent else None)
        assert kept["resource"]["service.name"] == "agent-runtime"
        assert kept["scope"] == {"name": "test", "version": "1"}
        assert [event["name"] for event in kept["events"]] == [event.name for event in span.events]
        assert len(kept["links"]) == len(span.links)


def test_awkward_text_is_stored(exporter: PostgresSpans, agno: PostgresDb) -> None:
    awkward = 'nul \x00 quote " backslash \\ newline \n emoji \U0001f680 escaped \\u0000'
    exporter.send(webhook_with_run(**{"note": awkward, "list": ["a", "b"], "ratio": float("nan")}))
    (trace,), _ = agno.get_traces()
    assert trace.total_spans == 5
    root = next(span for span in agno.get_spans(trace_id=trace.trace_id) if span.parent_span_id is None)
    assert root.attributes["note"] == awkward.replace("\x00", "")
    assert root.attributes["list"] == ["a", "b"]


def test_what_json_cannot_hold_costs_only_its_own_span(exporter: PostgresSpans, agno: PostgresDb) -> None:
    half, large = webhook_with_run(half="a\ud800b", many=["\udfff"]), webhook_with_run(large=2**70, bytes=b"\x00")
    exporter.send([*half, *large])
    assert {trace.total_spans for trace in agno.get_traces()[0]} == {5}
    notes = [span.attributes for span in agno.get_spans() if "half" in span.attributes]
    assert [(found["half"], found["many"]) for found in notes] == [("a?b", ["?"])] * 2
    deep: Any = 1.0
    for _ in range(300):
        deep = [deep]
    exporter.send(webhook_with_run(deep=deep))
    for _ in range(1000):
        deep = [deep]
    _, tracer = tracing()
    nested = tracer.start_span("nested")
    nested._attributes = {"deep": deep}  # type: ignore[attr-defined]  # the SDK itself refuses it
    ancient = tracer.start_span("from another era", start_time=2**80)
    for refused in (nested, ancient):
        with pytest.raises((Rejected, ValueError)):  # the buffer then sends halves
            exporter.send([half[0], refused])
    exporter.send(webhook_with_run())
    assert agno.get_traces()[1] == 4


def test_a_lost_connection_is_opened_again(exporter: PostgresSpans, agno: PostgresDb, postgres: str) -> None:
    exporter.send(webhook_with_run())
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'telemetry'")
    with pytest.raises(psycopg.Error):
        exporter.send(webhook_with_run())
    exporter.send(webhook_with_run())
    _, total = agno.get_traces()
    assert total == 2


def test_attributes_are_json_that_agno_reads(exporter: PostgresSpans, agno: PostgresDb) -> None:
    exporter.send(webhook_with_run())
    (trace,), _ = agno.get_traces()
    for span in agno.get_spans(trace_id=trace.trace_id):
        assert json.loads(json.dumps(span.attributes))["otel"]["resource"]["service.name"] == "agent-runtime"
